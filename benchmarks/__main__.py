"""`make bench`, or `python -m benchmarks`: measure all parts, or those named by --only, and write the table.

Each part's records are stored as soon as it is done, in data/benchmarks/<part>.json; what was measured before stays.
"""

import argparse
import datetime
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import table
from benchmarks.machine import limits
from benchmarks.parts import PARTS, Say
from tlcourse import runtime

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "data" / "benchmarks"
TABLE = ROOT / "benchmarks" / "README.md"
UNTIMED_MINUTES = 6  # building models, memory and perplexity, on two cores


def main(arguments: Sequence[str] | None = None, say: Say = print) -> None:
    options = read(arguments)
    names = options.only or list(PARTS)
    timed = sum(n for _, n in PARTS.values())
    seconds = 60 * max(1.0, options.minutes - UNTIMED_MINUTES) / timed  # for each comparison
    if not options.table:
        for name in names:
            say(f"— {name}")
            store(options.store, name, run(name, seconds, say))
    options.to.write_text(table.write(table.load(options.store)), encoding="utf-8")
    say(f"{options.to.name} is written")


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ours against transformers and torchvision."
    )
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--minutes", type=float, default=18.0, help="for all parts together (18)")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the table anew")
    parser.add_argument("--store", type=Path, default=STORE, help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, default=TABLE, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run(name: str, seconds: float, say: Say) -> dict:
    """One part with what its numbers depend on; the machine's limits are measured right before it."""
    started = time.monotonic()
    part, _ = PARTS[name]
    body = {
        "part": name,
        "command": f"python -m benchmarks --only {name}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "environment": runtime.environment(),
        "limits": limits(),
    }
    records = part(seconds, say)
    return {**body, "seconds": round(time.monotonic() - started), "records": records}


def store(folder: Path, name: str, body: dict) -> None:
    """Whole or not at all: an interrupted run leaves the file of the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ",\n  ".join(json.dumps(record) for record in body["records"])
    text = json.dumps({k: v for k, v in body.items() if k != "records"}, indent=1)
    partial = folder / f"{name}.json.part"
    partial.write_text(f'{text[:-2]},\n "records": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    os.replace(partial, folder / f"{name}.json")


if __name__ == "__main__":
    main()
