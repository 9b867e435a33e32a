"""Data that is kept in the repository and travels in the wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def kept(name: str) -> Path:
    """A file or folder of `data/`: of a checkout, or the copy inside an installed package."""
    checkout = _PACKAGE.parent / "data" / name
    return checkout if checkout.exists() else _PACKAGE / "data" / name
