"""Builds the site: `python -m tools.site`. Every page is read anew, because a cached page hides its warnings."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "_build" / "source"
LEFT_OUT = (".*", "__pycache__", "checkpoints")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PROBLEM = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^Exception occurred:$")


class SiteError(RuntimeError):
    """The site was not built, or was built with complaints."""


def staged(tree: Path, root: Path = ROOT) -> Path:
    """Copy what the site is made of into `tree`, so that the build sees no environment and no earlier build."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for file in root.iterdir():
        if file.is_file():
            shutil.copy2(file, tree)
    for folder in ("book", "data"):
        if (root / folder).is_dir():
            shutil.copytree(root / folder, tree / folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return tree


def build(tree: Path, target: Path = ROOT) -> Path:
    """Build a staged book into `target`/_build/html; the path of its first page.

    Raises SiteError with the log's complaints: an exit code of 0 alone says little, so the log counts too.
    """
    made = target / "_build"
    for old in (made / "html", made / ".doctrees"):
        shutil.rmtree(old, ignore_errors=True)
    made.mkdir(parents=True, exist_ok=True)
    run = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", run, "build", str(tree), "--path-output", str(target)]
    done = subprocess.run(
        [*command, "-W", "--keep-going", "-n", "--all"],
        cwd=tree,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    log = COLOUR.sub("", done.stdout).replace(f"{tree}{os.sep}", "")
    (made / "site.log").write_text(log, encoding="utf-8")
    first = made / "html" / "index.html"
    complaints = problems(log)
    if done.returncode or complaints or not first.is_file():
        shown = complaints or log.splitlines()[-15:]
        raise SiteError("\n".join([*shown, f"the site did not build cleanly; its log: {made / 'site.log'}"]))
    return first


def problems(log: str) -> list[str]:
    """The lines of a build log that complain; of an exception, also where and why."""
    lines, found = log.splitlines(), []
    for n, line in enumerate(lines):
        if PROBLEM.search(line):
            found += [line]
        elif n and lines[n - 1] == "Exception occurred:":
            rest = lines[n:]
            found += rest[: next((m for m, other in enumerate(rest) if other.startswith("The full")), 5)]
    return found


def main() -> int:
    start = time.monotonic()
    try:
        first = build(staged(STORED))
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The site is built ({time.monotonic() - start:.0f} s). Open {first}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
