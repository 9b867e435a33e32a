"""Runs some jobs of a long experiment again and compares: `python -m tools.again transfer/fusion --jobs 3`.

The script's own `main` says which jobs there are; what it chose by tuning is taken from the stored records. Then a few
jobs, drawn by chance, run from their recipe, one after the other, and are held against what is stored. Results are not
touched, but a job that writes weights writes them again: `git diff` shows whether they are the same. What jobs keep
for one another under `_build/experiments`, such as features of an encoder, is read where it is there: `make clean`
leaves it, so delete that folder first where it too should be made again.

Ends with 0 where all is the same or close, 1 where something differs, 2 where there is nothing to compare with.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from tlcourse import results

# What the machine's load changes.
UNSTEADY = {"arguments", "seconds", "cpu_seconds"}
# Other processors add in another order: numbers may move so far, in parts of the larger, and as few items change sides.
CLOSE_NUMBER, CLOSE_SHARE = 0.02, 0.03


class NothingStored(Exception):
    """What is stored is missing, or was made by another recipe."""


@dataclass(frozen=True)
class Again(results.Study):
    """A study whose jobs are all done: `run` hands out what is stored and remembers the jobs, `write` does nothing."""

    stored: Mapping[str, dict] = field(default_factory=dict)
    jobs: dict[str, results.Job] = field(default_factory=dict)

    def run(self, jobs: Mapping[str, results.Job], **options: Any) -> dict[str, dict]:
        missing = [key for key in jobs if key not in self.stored]
        if missing:
            raise NothingStored(
                f"{self.name}: no stored record of {', '.join(missing)}; {way_out(self.name)}"
            )
        for key, (_, arguments) in jobs.items():
            if self.stored[key]["arguments"] != in_json(arguments):
                raise NothingStored(
                    f"{self.name}: {key} is stored with other arguments; {way_out(self.name)}"
                )
        self.jobs.update(jobs)
        return {key: self.stored[key] for key in jobs}

    def write(self, records: Mapping[str, dict], **more: Any) -> Path:
        return results.folder() / f"{self.name}.json"


@dataclass(frozen=True)
class Change:
    """One field of a record that is not what it was. size: in parts of the larger number, or share of the items."""

    place: str
    stored: Any
    fresh: Any
    size: float
    close: bool

    def __str__(self) -> str:
        values = f"{shortened(self.stored)} → {shortened(self.fresh)}"
        return f"{self.place}: {values} ({100 * self.size:.2g} % apart)"


def shortened(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) < 30 else f"{text[:27]}…"


def way_out(name: str) -> str:
    return f"run: make experiment NAME={name}"


def in_json(value: Any) -> Any:
    """As it is once stored: a tuple is a list."""
    return json.loads(json.dumps(value))


def all_jobs(name: str) -> Again:
    """The jobs of a stored experiment. Raises NothingStored where the results are not those of the script as it is."""
    path = results.folder() / f"{name}.json"
    if not path.is_file():
        raise NothingStored(f"{name}: no results are stored; {way_out(name)}")
    module = results.load_script(results.SCRIPTS / f"{name}.py")
    own = module.STUDY
    body = json.loads(path.read_text(encoding="utf-8"))
    if body["recipe"] != own.recipe:
        raise NothingStored(f"{name}: script, settings or assets changed since; {way_out(name)}")
    study = Again(own.name, own.settings, own.assets, own.plan, own.script, body["runs"])
    module.STUDY = study
    with redirect_stdout(StringIO()):
        module.main()
    return study


def drawn(study: Again, n_jobs: int, seed: int) -> list[str]:
    names = sorted(study.jobs)
    return sorted(random.Random(seed).sample(names, min(n_jobs, len(names))))


def again(study: Again, key: str) -> list[Change]:
    """Run one job and compare it with its stored record; empty where every field is the same."""
    function, arguments = study.jobs[key]
    fresh = in_json(function(**arguments))
    stored = {k: v for k, v in study.stored[key].items() if k not in UNSTEADY}
    return list(changes(stored, fresh))


def changes(stored: Any, fresh: Any, place: str = "") -> Iterator[Change]:
    """Every place at which two JSON values differ, but for times."""
    if isinstance(stored, dict) and isinstance(fresh, dict):
        for key in [*stored, *(k for k in fresh if k not in stored)]:
            if key not in UNSTEADY:
                yield from changes(stored.get(key), fresh.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for i, pair in enumerate(zip(stored, fresh, strict=True)):
            yield from changes(*pair, f"{place}[{i}]")
    elif stored != fresh and not (is_nan(stored) and is_nan(fresh)):
        yield changed(place, stored, fresh)


def changed(place: str, stored: Any, fresh: Any) -> Change:
    if is_number(stored) and is_number(fresh) and math.isfinite(stored) and math.isfinite(fresh):
        size = abs(stored - fresh) / max(abs(stored), abs(fresh))  # not both are 0: they differ
        return Change(place, stored, fresh, size, size <= CLOSE_NUMBER)
    if is_answers(stored) and is_answers(fresh) and len(stored) == len(fresh):
        size = sum(a != b for a, b in zip(stored, fresh, strict=True)) / len(stored)
        return Change(place, stored, fresh, size, size <= CLOSE_SHARE)
    return Change(place, stored, fresh, 1.0, False)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def is_answers(value: Any) -> bool:
    """One digit an item, as in the field `right`."""
    return isinstance(value, str) and value != "" and set(value) <= {"0", "1"}


def told(key: str, found: list[Change]) -> str:
    if not found:
        return f"{key}: the same"
    worst = max(found, key=lambda c: (not c.close, c.size))
    word = "close" if worst.close else "DIFFERENT"
    return f"{key}: {word}, {len(found)} fields; most in {worst}"


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} jobs compare nothing; give a number from 1")
    return int(text)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.again", description=__doc__.split("\n")[0])
    parser.add_argument("name", help="an experiment, as in transfer/fusion")
    parser.add_argument("--jobs", type=at_least_one, default=3, help="how many jobs to run again (3)")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn (0)")
    wanted = parser.parse_args(arguments)
    try:
        study = all_jobs(wanted.name)
    except NothingStored as error:
        print(error, file=sys.stderr)
        return 2
    results.one_thread()  # as the study's own workers have
    different = 0
    for key in drawn(study, wanted.jobs, wanted.seed):
        found = again(study, key)
        different += any(not change.close for change in found)
        print(told(key, found), flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
