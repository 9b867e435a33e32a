"""Instant feedback on exercises: right, or a hint that fits the mistake.

The exercises of the chapter `transfer/finetuning` are the CHECKERS of
`tlcourse.checkers.transfer.finetuning`. A checker knows the right answer and the usual wrong ones; an answer
that behaves like one of those gets its hint.
"""

import difflib
import importlib
import inspect
import linecache
import pkgutil
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch

from tlcourse import checkers

NO_ANSWER = "Replace the dots with your answer, then run the cell again."
NO_RETURN = "The function returns nothing so far: replace the dots, and end with `return`."


@dataclass(frozen=True)
class Feedback:
    """What the reader is told; a notebook shows it."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return f"{self._verdict} {self.message}"

    def _repr_html_(self) -> str:
        message = escape(self.message).replace("\n", "<br>")
        return f'<p role="status"><strong>{self._verdict}</strong> {message}</p>'

    @property
    def _verdict(self) -> str:
        return "✓ Right." if self.right else "✗ Not yet."


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong answer, and the hint for it."""

    answer: Any
    hint: str


@dataclass(frozen=True)
class Checker:
    """One exercise.

    id: 'chapter/exercise'. name: the variable or function that the reader writes. stub, solution: source
    text, as it stands in the notebook. right: the right number or function. mistakes: wrong ones, by name.
    praise: what a right answer is told. otherwise: the hint for a wrong answer that is none of the mistakes.
    cases: for a function, makes fresh argument tuples; None where the answer is a number. tolerance: how far
    from right still counts; absolute for a number, relative to the largest entry for a tensor.
    """

    id: str
    name: str
    stub: str
    solution: str
    right: Any
    mistakes: dict[str, Mistake]
    praise: str
    otherwise: str
    cases: Callable[[], Sequence[tuple]] | None = None
    tolerance: float = 1e-4


class _ChangedArgument(Exception):
    """Stands for the outcome of a call that changed one of its arguments."""


def check(id: str, answer: Any) -> Feedback:
    """Feedback on an answer; one that is wrong, or that raises, gets a hint and never an exception.

    id: 'chapter/exercise', such as 'transfer/finetuning/share'. answer: a number, or the function itself.
    Raises LookupError on an unknown id, naming the nearest.
    """
    known = {checker.id: checker for chapter in chapters() for checker in of_chapter(chapter)}
    if id not in known:
        nearest = difflib.get_close_matches(id, known, n=1, cutoff=0)
        raise LookupError(f"no exercise {id!r}; did you mean {nearest[0]!r}?")
    return judge(known[id], answer)


def chapters() -> list[str]:
    """The chapters that have exercises, such as 'transfer/finetuning'."""
    prefix = f"{checkers.__name__}."
    modules = pkgutil.walk_packages(checkers.__path__, prefix)
    return sorted(m.name.removeprefix(prefix).replace(".", "/") for m in modules if not m.ispkg)


def of_chapter(chapter: str) -> tuple[Checker, ...]:
    """The checkers of one of `chapters()`."""
    return importlib.import_module(f"{checkers.__name__}.{chapter.replace('/', '.')}").CHECKERS


def judge(checker: Checker, answer: Any) -> Feedback:
    """Feedback of one checker on an answer."""
    if answer is None or answer is ...:
        return Feedback(False, NO_ANSWER)
    hint = _number_hint(checker, answer) if checker.cases is None else _function_hint(checker, answer)
    return Feedback(True, checker.praise) if hint is None else Feedback(False, hint)


def audit(found: Sequence[Checker]) -> list[str]:
    """What is wrong with the checkers themselves; empty where nothing is.

    Each must accept its solution, answer its stub as a stub, and give each of three or more mistakes its own
    hint.
    """
    faults = []
    for checker in found:
        solved, blank = (
            judge(checker, _run(text, checker.name)) for text in (checker.solution, checker.stub)
        )
        if not solved.right:
            faults.append(f"{checker.id}: its solution gets {solved!r}")
        if blank.right or blank.message not in (NO_ANSWER, NO_RETURN):
            faults.append(f"{checker.id}: its stub gets {blank!r}")
        for name, mistake in checker.mistakes.items():
            got = judge(checker, mistake.answer)
            if got != Feedback(False, mistake.hint):
                faults.append(f"{checker.id}: the mistake {name!r} gets {got!r}")
        if len({mistake.hint for mistake in checker.mistakes.values()}) < 3:
            faults.append(f"{checker.id}: knows fewer than three mistakes with hints of their own")
    return faults


def _run(source: str, name: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace[name]


def _number_hint(checker: Checker, answer: Any) -> str | None:
    try:
        number = float(answer)
    except (TypeError, ValueError, RuntimeError):
        return f"`{checker.name}` should be a number, and it is a {type(answer).__name__}."
    if abs(number - checker.right) <= checker.tolerance:
        return None
    for mistake in checker.mistakes.values():
        # A share in percent is rounded a hundred times as coarsely as the share.
        if abs(number - mistake.answer) <= checker.tolerance * max(1.0, abs(mistake.answer / checker.right)):
            return mistake.hint
    return f"{number:.4g} is not it. {checker.otherwise}"


def _function_hint(checker: Checker, answer: Any) -> str | None:
    if not callable(answer):
        return (
            f"Pass the function itself, `{checker.name}` without brackets; this is a {type(answer).__name__}."
        )
    got, wanted = _outcomes(answer, checker), _outcomes(checker.right, checker)
    if any(isinstance(outcome, NotImplementedError) for outcome in got):
        return NO_ANSWER
    if any(outcome is None or outcome is ... for outcome in got):
        return NO_RETURN
    changed = next((outcome for outcome in got if isinstance(outcome, _ChangedArgument)), None)
    if changed is not None:
        return f"The function changes its argument `{changed}`; called again, it gives something else. Use a copy."
    if _agree(got, wanted, checker.tolerance):
        return _gradient_hint(got, wanted)
    if not all(isinstance(outcome, Exception) for outcome in got):
        for mistake in checker.mistakes.values():
            if _agree(got, _outcomes(mistake.answer, checker), checker.tolerance):
                return mistake.hint
    n = next(n for n in range(len(got)) if not _agree(got[n : n + 1], wanted[n : n + 1], checker.tolerance))
    return _difference(got[n], wanted[n], answer, checker)


def _outcomes(function: Callable, checker: Checker) -> list[Any]:
    """For each case, what the function returns, or the exception that stands for it."""
    outcomes = []
    for arguments, untouched in zip(checker.cases(), checker.cases(), strict=True):
        try:
            outcome = function(*arguments)
        except (Exception, SystemExit) as error:
            outcome = error if isinstance(error, Exception) else RuntimeError("the code ends the program")
        names = inspect.signature(checker.right).parameters
        for name, now, before in zip(names, arguments, untouched, strict=True):
            if not _equal(now, before):
                outcome = _ChangedArgument(name)
        outcomes.append(outcome)
    return outcomes


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def _agree(some: Sequence[Any], others: Sequence[Any], tolerance: float) -> bool:
    return all(_same(a, b, tolerance) for a, b in zip(some, others, strict=True))


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, Exception) and isinstance(b, Exception):
        return True
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor) or a.shape != b.shape:
        return False
    a, b = a.detach().double(), b.detach().double()
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


def _gradient_hint(got: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> str | None:
    if all(g.requires_grad or not w.requires_grad for g, w in zip(got, wanted, strict=True)):
        return None
    return (
        "The numbers are right, but no gradient flows through them, so training would ignore the result. "
        "Keep every step a tensor operation: no `.detach()`, `.data`, `.item()` or `no_grad`."
    )


def _difference(got: Any, wanted: torch.Tensor, answer: Callable, checker: Checker) -> str:
    if isinstance(got, Exception):
        return _error_hint(got, answer)
    if not isinstance(got, torch.Tensor):
        return f"The function returns a {type(got).__name__}; a tensor is wanted, so that gradients can flow."
    if got.shape != wanted.shape:
        return (
            f"The result has shape {tuple(got.shape)}; {tuple(wanted.shape)} is wanted. {checker.otherwise}"
        )
    if wanted.ndim == 0:
        gives, right = got.item(), wanted.item()
        return f"For one input the function gives {gives:.4g}, and {right:.4g} is right. {checker.otherwise}"
    return f"The shape is right, the numbers are not. {checker.otherwise}"


def _error_hint(error: Exception, answer: Callable) -> str:
    """The exception and the last line of the reader's own code that it passed through."""
    reason = str(error).partition("\n")[0]
    hint = f"The code stops with {type(error).__name__}: {reason}."
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = linecache.getline(file, lines[-1]).strip() if lines else ""
    return f"{hint} Look at the line `{line}`." if line else hint
