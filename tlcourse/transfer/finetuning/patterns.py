"""Names chosen by pattern: a dotted name, a prefix of dotted names, or a glob."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase


def matches(name: str, pattern: str) -> bool:
    """Whether the pattern is the name, a prefix of whole dotted parts of it, or a glob of either."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def select(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Names that at least one pattern matches, in the order of names.

    Raises TypeError for a pattern that is not a string, ValueError for one that matches nothing.
    """
    names = list(names)
    chosen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"pattern {pattern!r} is no string; give patterns one by one, as in freeze(model, 'a', 'b')"
            )
        found = {name for name in names if matches(name, pattern)}
        if not found:
            raise ValueError(
                f"pattern {pattern!r} matches none of the {len(names)} names; "
                f"nearest: {nearest(names, pattern)}"
            )
        chosen |= found
    return [name for name in names if name in chosen]


def nearest(names: Iterable[str], pattern: str) -> str:
    """The three names or prefixes of names that look most like the pattern, for error messages."""
    candidates = {}
    for name in names:
        parts = name.split(".")
        candidates.update(dict.fromkeys(".".join(parts[: i + 1]) for i in range(len(parts))))
    found = get_close_matches(pattern, list(candidates), n=3, cutoff=0.0)
    return ", ".join(repr(name) for name in found) or "there are no names"
