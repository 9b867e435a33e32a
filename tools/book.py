"""Executes the book and compares: `python -m tools.book`.

The site is built from the stored outputs first, so that there is something to read. Then every chapter runs,
at most two at a time, into `_build/executed`; fresh outputs are compared with the stored ones; the site is
built again from the fresh ones. The stored notebooks are not touched.
"""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from tools import chapter, display, notebooks, site
from tools.comparison import differences
from tools.execution import Progress, execute, kill_kernels, warm_up
from tools.notebooks import ROOT

EXECUTED = ROOT / "_build" / "executed"
AT_ONCE = 2
WARN_SECONDS, MAX_SECONDS, MAX_GIGABYTES = 120, 180, 4.0


@dataclass
class Outcome:
    """What came of one chapter; `failures` make the book fail, `warnings` do not."""

    progress: Progress
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run(name: str, progress: Progress, tree: Path, threads: int, root: Path = ROOT) -> Outcome:
    """Execute one chapter into the tree, compare it with the stored one, hold it to its budget."""
    outcome = Outcome(progress)
    path = notebooks.path_of(name, root)
    stored = notebooks.read(path)
    fresh = notebooks.without_outputs(stored)
    claims = root / "_build" / "claims"
    shutil.rmtree(claims / name, ignore_errors=True)
    variables = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "TLCOURSE_RECORD_CLAIMS": str(claims),
        "TLCOURSE_CHAPTER": name,
    }
    if not execute(fresh, path.parent, progress, variables):
        outcome.failures.append(progress.error)
        return outcome
    chapter.record(progress, claims / name / chapter.RUN)
    chapter.replace_folder(claims / name, tree / "data" / "claims" / name)
    notebooks.write(tree / "book" / f"{name}.ipynb", notebooks.normalise(fresh))
    for difference in differences(stored, fresh):
        outcome.failures.append(
            f"code cell {difference.cell} shows something else than is stored:\n{difference.text}"
        )
    return outcome


def check_budget(outcome: Outcome, allowed: dict, at_once: int) -> None:
    """Hold time and memory to the budget. `allowed` is the chapter's own, documented one, where it has one.

    Chapters that run side by side share the cores, so each may take as many times as long.
    """
    seconds, gigabytes = outcome.progress.seconds, outcome.progress.peak_bytes / 2**30
    most = allowed.get("seconds", MAX_SECONDS) * at_once
    beside = f", {at_once} at a time" if at_once > 1 else ""
    if seconds > most:
        outcome.failures.append(f"took {seconds:.0f} s; {most:.0f} s are allowed{beside}")
    elif seconds > WARN_SECONDS * at_once and "seconds" not in allowed:
        outcome.warnings.append(f"took {seconds:.0f} s; {WARN_SECONDS * at_once} s are wanted{beside}")
    if gigabytes > allowed.get("gigabytes", MAX_GIGABYTES):
        most = allowed.get("gigabytes", MAX_GIGABYTES)
        outcome.failures.append(f"used {gigabytes:.1f} GB of memory; {most:.1f} GB are allowed")


def execute_all(names: Sequence[str], tree: Path, root: Path = ROOT) -> list[Outcome]:
    """Run the chapters, at most two at a time; an interrupt ends their kernels too."""
    at_once = max(1, min(AT_ONCE, len(names), os.cpu_count() or 1))
    threads = max(1, (os.cpu_count() or 1) // at_once)
    progresses = [Progress(name) for name in names]
    with ThreadPoolExecutor(at_once) as pool, display.live(progresses):
        futures = [pool.submit(run, p.chapter, p, tree, threads, root) for p in progresses]
        try:
            wait(futures)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            kill_kernels()
            raise
    outcomes = [future.result() for future in futures]
    for outcome in outcomes:
        metadata = notebooks.read(notebooks.path_of(outcome.progress.chapter, root)).metadata
        check_budget(outcome, metadata.get("tlcourse", {}).get("budget", {}), at_once)
    return outcomes


def report(outcomes: Sequence[Outcome]) -> str:
    """One line a chapter, then what is wrong in full."""
    lines = []
    for outcome in outcomes:
        verdict = "FAILED" if outcome.failures else "as stored"
        lines.append(f"{display.line(outcome.progress)}  {verdict}")
    for outcome in outcomes:
        name = outcome.progress.chapter
        lines += [f"\nWARNING {name}: {warning}" for warning in outcome.warnings]
        lines += [f"\nFAILED {name}: {failure}" for failure in outcome.failures]
    return "\n".join(lines)


def main() -> int:
    start = time.monotonic()
    try:
        print("Building the site from the stored outputs …", flush=True)
        first = site.build(site.staged(site.STORED))
        print(f"You can read it now, while the chapters run: {first}\n", flush=True)
        names = notebooks.chapters()
        warm_up()
        tree = site.staged(EXECUTED)
        outcomes = execute_all(names, tree)
        print(f"\n{report(outcomes)}\n")
        print("Building the site from the fresh outputs …", flush=True)
        site.build(tree)
    except site.SiteError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the site shows the stored outputs.", file=sys.stderr)
        return 130
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    print(f"{len(outcomes)} executed in {(time.monotonic() - start) / 60:.1f} min, {failed} failed: {first}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
