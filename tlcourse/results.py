"""Results of long experiments: made by `experiments/`, stored in `data/results/`, read by chapters.

A script declares a `Study`: its settings, its assets and its jobs. Jobs run in parallel, one thread each, and every
finished job is kept, so an interrupted study goes on where it stopped. The results file carries a fingerprint of the
script, the settings and the assets; `stale()` lists the files whose fingerprint no longer fits.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tlcourse import assets, metrics, runtime

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "experiments"
WORK = ROOT / "_build" / "experiments"
Job = tuple[Callable[..., dict], dict[str, Any]]


def folder() -> Path:
    """Where results files live: `data/results` of a checkout, or the copy inside an installed package."""
    checkout = ROOT / "data" / "results"
    return checkout if checkout.is_dir() else Path(__file__).resolve().parent / "data" / "results"


def recipe_text(source: str, *, without: Sequence[str] = ()) -> str:
    """Python source without comments, docstrings and layout, and without the named top-level functions."""
    tree = ast.parse(source)
    tree.body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name in without)]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def digest(*parts: Any) -> str:
    """sha256 over JSON of the parts, keys sorted."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def asset_hashes(names: Sequence[str]) -> dict[str, str]:
    """One hash an asset, from the registry: over the sha256 of each of its files."""
    return {name: digest([[f.name, f.sha256] for f in assets.get(name).files]) for name in names}


@dataclass(frozen=True)
class Study:
    """One experiment: `name` as in `experiments/<name>.py`, JSON settings, the assets it reads.

    `plan` names the functions of the script that only choose which jobs run: changing them keeps finished jobs.
    """

    name: str
    settings: Mapping[str, Any]
    assets: Sequence[str]
    plan: Sequence[str] = ("main", "plan", "plan_tuning")
    script: Path = field(default=Path())

    def __post_init__(self):
        if self.script == Path():
            object.__setattr__(self, "script", SCRIPTS / f"{self.name}.py")
        if not self.script.is_file():
            raise FileNotFoundError(
                f"no experiment {self.name!r}: {self.script.name} is not under experiments/"
            )

    @property
    def fingerprint(self) -> str:
        """Of the whole script, the settings and the assets."""
        return digest(recipe_text(self.script.read_text()), dict(self.settings), asset_hashes(self.assets))

    @property
    def recipe(self) -> str:
        """Like the fingerprint, without the functions that only choose which jobs run."""
        source = recipe_text(self.script.read_text(), without=self.plan)
        return digest(source, dict(self.settings), asset_hashes(self.assets))

    def run(
        self, jobs: Mapping[str, Job], *, workers: int = 2, say: Callable[[str], None] = print
    ) -> dict[str, dict]:
        """Run the jobs that have no stored outcome, `workers` at a time with one thread each; name → record.

        Each record is the job's dict plus `arguments`, `seconds` by the clock and `cpu_seconds`, which other work
        on the machine does not change. A failed job stops those not yet begun.
        """
        recipe, kept = self.recipe, WORK / self.name
        kept.mkdir(parents=True, exist_ok=True)
        places = {key: kept / f"{digest(recipe, key, kw)[:24]}.json" for key, (_, kw) in jobs.items()}
        for key, record in self._stored(recipe).items():
            if key not in jobs or places[key].exists():
                continue
            wanted = json.loads(json.dumps(jobs[key][1]))  # tuples are lists in a file
            if record["arguments"] == wanted:
                _write(places[key], record)
        todo = {key: jobs[key] for key, place in places.items() if not place.exists()}
        say(f"{self.name}: {len(jobs)} jobs, {len(jobs) - len(todo)} done before")
        with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker) as pool:
            running = {pool.submit(_keep, places[key], *job): key for key, job in todo.items()}
            try:
                for count, future in enumerate(as_completed(running), 1):
                    say(f"{count}/{len(todo)} {running[future]} {future.result():.0f} s")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return {key: json.loads(place.read_text()) for key, place in places.items()}

    def _stored(self, recipe: str) -> dict[str, dict]:
        """The records of the results file where the same recipe made them: a study can go on from a fresh clone."""
        path = folder() / f"{self.name}.json"
        body = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return body["runs"] if body.get("recipe") == recipe else {}

    def write(self, records: Mapping[str, dict], **more: Any) -> Path:
        """Store the records with the recipe's fingerprint, versions and time; the path of the results file."""
        path = folder() / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        body = {
            "experiment": self.name,
            "command": f"make experiment NAME={self.name}",
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "settings": dict(self.settings),
            "assets": asset_hashes(self.assets),
            "environment": runtime.environment(),
            "worker_seconds": round(sum(r["seconds"] for r in records.values())),
            "cpu_seconds": round(sum(r.get("cpu_seconds", r["seconds"]) for r in records.values())),
            **more,
            "runs": dict(records),
        }
        _write(path, body)
        return path


def _start_worker() -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    one_thread()


def _end_with_the_parent() -> None:
    """A study that is killed leaves no worker behind; one that waits for its next job would wait forever."""
    parent_process().join()
    os._exit(1)


def one_thread() -> None:
    """From now on this process computes with one thread, as the jobs of every study do: its sums are then the same."""
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    torch.set_num_threads(1)


def _keep(place: Path, function: Callable[..., dict], arguments: dict[str, Any]) -> float:
    """Do a job and store its record at once, so that nothing that ended is lost; its seconds."""
    start, cpu = time.monotonic(), time.process_time()
    record = function(**arguments)
    seconds = round(time.monotonic() - start, 1)
    used = {"seconds": seconds, "cpu_seconds": round(time.process_time() - cpu, 1)}
    _write(place, {**record, "arguments": arguments, **used})
    return seconds


def _write(path: Path, body: Mapping[str, Any]) -> None:
    """JSON, of a results file one record a line; atomic: a reader sees the old file or the whole new one."""
    runs = body.get("runs")
    if not isinstance(runs, Mapping):
        text = json.dumps(body, ensure_ascii=False)
    else:
        text = json.dumps({k: v for k, v in body.items() if k != "runs"}, indent=1, ensure_ascii=False)
        lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in runs.items())
        text = f'{text[:-2]},\n "runs": {{\n{lines}\n }}\n}}'
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)


@dataclass(frozen=True)
class Results:
    """A loaded results file. `runs` are dicts; `body` is everything else."""

    body: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]

    def select(self, **wanted: Any) -> list[Mapping[str, Any]]:
        """Runs whose fields equal `wanted`, ordered by seed. Raises KeyError when there is none."""
        found = [r for r in self.runs if all(k in r and r[k] == v for k, v in wanted.items())]
        if not found:
            raise KeyError(
                f"no run with {wanted}; the file has {len(self.runs)} runs, e.g. {_fields(self.runs[:1])}"
            )
        return sorted(found, key=lambda r: r.get("seed", 0))

    def values(self, field_name: str, **wanted: Any) -> list[Any]:
        """One field of the selected runs, ordered by seed."""
        return [r[field_name] for r in self.select(**wanted)]


def _fields(runs: Sequence[Mapping]) -> dict:
    return {k: v for r in runs for k, v in r.items() if isinstance(v, str | int) and len(str(v)) < 20}


def load(name: str) -> Results:
    """The stored results of an experiment. Raises FileNotFoundError naming the command that makes them."""
    path = folder() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no results of {name!r}; make them with: make experiment NAME={name}")
    body = json.loads(path.read_text(encoding="utf-8"))
    runs = [run for record in body["runs"].values() for run in record.get("runs", [record])]
    return Results({k: v for k, v in body.items() if k != "runs"}, tuple(runs))


def difference(a: Sequence[Mapping], b: Sequence[Mapping], **options: Any) -> metrics.Interval:
    """How much more often `a` is right than `b`, in percentage points, with an interval over seeds and test groups.

    a, b: runs of two arms on the same splits, with the fields seed, right ("1011…", one digit a test item) and groups.
    options go to `metrics.seeds_and_groups_bootstrap`. Raises ValueError where the seeds do not match.
    """
    if [r["seed"] for r in a] != [r["seed"] for r in b]:
        raise ValueError(
            f"seeds {[r['seed'] for r in a]} and {[r['seed'] for r in b]} cannot be paired; select both alike"
        )
    gains = [100 * (correct(x) - correct(y)) for x, y in zip(a, b, strict=True)]
    return metrics.seeds_and_groups_bootstrap(gains, [np.asarray(r["groups"]) for r in a], **options)


def accuracy(runs: Sequence[Mapping], **options: Any) -> metrics.Interval:
    """Percent right, with an interval over seeds and test groups."""
    return metrics.seeds_and_groups_bootstrap(
        [100 * correct(r) for r in runs], [np.asarray(r["groups"]) for r in runs], **options
    )


def auc(runs: Sequence[Mapping], **options: Any) -> metrics.Interval:
    """Mean area under the ROC curve, with an interval over seeds and test groups.

    runs: with the fields scores, labels ("1011…", one digit a test item) and groups. options go to
    `metrics.seeds_and_groups_statistic`.
    """
    return metrics.seeds_and_groups_statistic(
        [_auc(r) for r in runs], [np.asarray(r["groups"]) for r in runs], **options
    )


def auc_difference(a: Sequence[Mapping], b: Sequence[Mapping], **options: Any) -> metrics.Interval:
    """How much larger the area under the ROC curve of `a` is, with an interval over seeds and test groups.

    a, b: runs of two arms on the same splits, as in `auc`. Raises ValueError where seeds or test items do not match.
    """
    for x, y in zip(a, b, strict=False):
        if (x["seed"], x["labels"], x["groups"]) != (y["seed"], y["labels"], y["groups"]):
            raise ValueError(
                f"seeds {x['seed']} and {y['seed']} have other test items; select both arms alike"
            )
    if len(a) != len(b):
        raise ValueError(f"{len(a)} runs and {len(b)} runs cannot be paired; select both arms alike")
    pairs = [(_auc(x), _auc(y)) for x, y in zip(a, b, strict=True)]
    return metrics.seeds_and_groups_statistic(
        [lambda w, p=p: p[0](w) - p[1](w) for p in pairs], [np.asarray(r["groups"]) for r in a], **options
    )


def _auc(run: Mapping) -> Callable[[np.ndarray], float]:
    return metrics.weighted_auc(run["scores"], [int(y) for y in run["labels"]])


def correct(run: Mapping) -> np.ndarray:
    """The field `right` as numbers, (N,) of 0.0 and 1.0."""
    return np.frombuffer(run["right"].encode(), dtype=np.uint8).astype(float) - ord("0")


def guesses(run: Mapping) -> np.ndarray:
    """What a run with the fields right and labels guessed, (N,), where there are two classes, 0 and 1.

    Raises ValueError on other labels: of more classes, a wrong guess may be any of the others.
    """
    labels = np.asarray(run["labels"])
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"labels {np.unique(labels)[:5]} are not 0 and 1; a wrong guess cannot be told from them"
        )
    return np.where(correct(run) == 1, labels, 1 - labels)


def macro_f1(run: Mapping) -> float:
    """Mean of both classes' F1, percent, of a run as `guesses` wants it."""
    from sklearn.metrics import f1_score  # as slow to import as all else here

    return 100 * float(f1_score(run["labels"], guesses(run), average="macro"))


def stale() -> list[str]:
    """One line for each results file that its script, settings or assets no longer fit; empty when all do."""
    complaints = []
    for path in sorted(folder().rglob("*.json")):
        name = path.relative_to(folder()).with_suffix("").as_posix()
        stored = json.loads(path.read_text(encoding="utf-8"))
        script = SCRIPTS / f"{name}.py"
        if not script.is_file():
            complaints.append(f"{name}: its script {script.name} is gone")
            continue
        if stored["fingerprint"] != load_script(script).STUDY.fingerprint:
            complaints.append(f"{name}: script, settings or assets changed; run: make experiment NAME={name}")
    return complaints


def load_script(script: Path) -> ModuleType:
    """An experiment's script as a module, with its STUDY; none of its jobs run."""
    spec = importlib.util.spec_from_file_location(f"study_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
