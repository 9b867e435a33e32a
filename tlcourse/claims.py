"""A measured statement, checked against its bound and, when asked, recorded.

A notebook prints the statement and the bound, never the measured value: the last digits of a trained number
differ between processors, the bound does not. `make chapter` sets TLCOURSE_RECORD_CLAIMS to a folder and
TLCOURSE_CHAPTER to the chapter's name; then each claim is also written to `<folder>/<chapter>/<id>.json`.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tlcourse import runtime

STATEMENTS = tuple(f"S{n}" for n in range(1, 25))
FOLDER = Path(__file__).resolve().parents[1] / "data" / "claims"

_used: dict[str, str] = {}


class ClaimError(AssertionError):
    """A measured value that breaks the bound it was claimed to keep."""


@dataclass(frozen=True)
class Claim:
    """One statement with its bound and what was measured.

    value, at_least, at_most and interval (low, high) share one unit; level is the interval's confidence
    level; supports names the statements of the audit page that the measurement bears on; machine is
    `runtime.environment()`.
    """

    id: str
    chapter: str
    statement: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    interval: tuple[float, float] | None = None
    level: float | None = None
    unit: str = ""
    supports: tuple[str, ...] = ()
    machine: dict[str, str | int] = field(default_factory=dict)

    @property
    def bound(self) -> str:
        """The bound in words, as in "percentage points: at least 1"."""
        if self.at_most is None:
            words = f"at least {self.at_least:.10g}"
        elif self.at_least is None:
            words = f"at most {self.at_most:.10g}"
        elif self.at_least == self.at_most:
            words = f"exactly {self.at_least:.10g}"
        else:
            words = f"between {self.at_least:.10g} and {self.at_most:.10g}"
        return f"{self.unit}: {words}" if self.unit else words


def claim(
    id: str,
    statement: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    interval: Any = None,
    unit: str = "",
    supports: Sequence[str] = (),
) -> None:
    """Check a measured value against a bound; print the statement and the bound.

    id: lower-case letters, digits and hyphens, once per chapter. value: the measured number, in unit.
    interval: an object with `low` and `high`, or a pair; recorded beside the value, which must lie in it.
    The bound holds the value alone. To hold a whole interval to it, pass its end as the value: `claim(…,
    gain.low, at_least=1, interval=gain)`. supports: statements of the audit page, such as ("S8", "S9").
    Raises ClaimError, with the value, where the bound fails; ValueError on a missing bound, on a number that
    is not finite, on an unknown statement, on a second claim of one id.
    """
    made = Claim(
        id=_checked_id(id),
        chapter=os.environ.get("TLCOURSE_CHAPTER", ""),
        statement=_checked_statement(statement),
        value=_finite("value", value, id),
        at_least=None if at_least is None else _finite("at_least", at_least, id),
        at_most=None if at_most is None else _finite("at_most", at_most, id),
        interval=_pair(interval, id),
        level=getattr(interval, "level", None),
        unit=unit,
        supports=_checked_supports(supports),
    )
    _check_numbers(made)
    folder = os.environ.get("TLCOURSE_RECORD_CLAIMS")
    _check_unused(made, recording=bool(folder))
    if (made.at_least is not None and made.value < made.at_least) or (
        made.at_most is not None and made.value > made.at_most
    ):
        raise ClaimError(
            f"claim {id!r} does not hold: {statement} ({made.bound}); measured {_measured(made)}"
        )
    if folder:
        _record(made, Path(folder))
    print(f"✓ {made.statement} ({made.bound})")


def load(folder: Path | str | None = None) -> list[Claim]:
    """The recorded claims, by chapter and id. Raises ValueError naming a file that is no claim."""
    folder = FOLDER if folder is None else Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no recorded claims in {folder}; `make chapter NAME=…` records them")
    return [_read(file) for file in sorted(folder.rglob("[!_]*.json"))]


def table_rows(claims: Iterable[Claim]) -> list[dict[str, str]]:
    """Rows for the results page: id, chapter, statement, bound, measured, supports, all text."""
    return [
        {
            "id": c.id,
            "chapter": c.chapter,
            "statement": c.statement,
            "bound": c.bound,
            "measured": _measured(c),
            "supports": ", ".join(c.supports),
        }
        for c in claims
    ]


def _checked_id(id: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id):
        raise ValueError(
            f"claim id {id!r}: use lower-case letters, digits and hyphens, such as 'lora-costs-little'"
        )
    return id


def _checked_statement(statement: str) -> str:
    if not statement.strip() or "\n" in statement:
        raise ValueError(f"statement {statement!r}: write one line that can be true or false")
    return statement


def _checked_supports(supports: Sequence[str]) -> tuple[str, ...]:
    if isinstance(supports, str):
        raise ValueError(f"supports={supports!r} is one string; write supports=({supports!r},)")
    unknown = [s for s in supports if s not in STATEMENTS]
    if unknown:
        raise ValueError(f"supports names {unknown}; statements run from {STATEMENTS[0]} to {STATEMENTS[-1]}")
    return tuple(supports)


def _finite(name: str, number: Any, id: str) -> float:
    number = float(number)
    if not math.isfinite(number):
        raise ValueError(f"claim {id!r}: {name}={number} is not a finite number; see how it was measured")
    return number


def _pair(interval: Any, id: str) -> tuple[float, float] | None:
    if interval is None:
        return None
    low, high = (interval.low, interval.high) if hasattr(interval, "low") else interval
    return _finite("interval low", low, id), _finite("interval high", high, id)


def _check_numbers(made: Claim) -> None:
    if made.at_least is None and made.at_most is None:
        raise ValueError(f"claim {made.id!r} has no bound; give at_least=, at_most= or both")
    if made.at_least is not None and made.at_most is not None and made.at_least > made.at_most:
        raise ValueError(
            f"claim {made.id!r}: at_least={made.at_least} exceeds at_most={made.at_most}; swap them"
        )
    if made.interval is None:
        return
    low, high = made.interval
    if low > high:
        raise ValueError(f"claim {made.id!r}: interval ({low}, {high}) is upside down; give (low, high)")
    slack = 1e-9 * max(abs(low), abs(high))
    if not low - slack <= made.value <= high + slack:
        raise ValueError(
            f"claim {made.id!r}: value={made.value} lies outside its interval ({low}, {high}); "
            "bring both to one unit (a share against percentage points?)"
        )


def _check_unused(made: Claim, *, recording: bool) -> None:
    """Readers may run a cell again, so only another statement clashes; a recording runs every cell once."""
    before = _used.get(made.id)
    if before is not None and (recording or before != made.statement):
        raise ValueError(f"claim id {made.id!r} is taken in this run by: {before!r}; choose another id")
    _used[made.id] = made.statement


def _record(made: Claim, folder: Path) -> None:
    if not re.fullmatch(r"[a-z0-9_-]+(/[a-z0-9_-]+)*", made.chapter):
        raise ValueError(
            f"TLCOURSE_CHAPTER={made.chapter!r} names no chapter; set it beside TLCOURSE_RECORD_CLAIMS, "
            "as in TLCOURSE_CHAPTER=transfer/finetuning"
        )
    target = folder / made.chapter / f"{made.id}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = asdict(made) | {"machine": runtime.environment()}
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(file: Path) -> Claim:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        wanted = {f.name for f in fields(Claim)}
        if content.keys() != wanted:
            raise ValueError(f"its keys are {sorted(content)}, wanted {sorted(wanted)}")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{file} is no recorded claim ({error}); record the chapter again") from error
    interval = content["interval"]
    return Claim(
        **content
        | {"supports": tuple(content["supports"]), "interval": None if interval is None else tuple(interval)}
    )


def _measured(made: Claim) -> str:
    """The value and its interval, to the digits that the interval's width gives meaning to."""
    if made.interval is None:
        return f"{made.value:.4g}"
    low, high = made.interval
    width = high - low
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 4
    return f"{made.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
