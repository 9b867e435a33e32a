"""The project's own checkpoints, `data/checkpoints/NAME/`: which there are, and how one gets there.

Each folder is in the Hugging Face layout, with a card, and with the tokenizer's files where the model reads text. They
come with the package: in a checkout from its root, in an installed package from beside the code.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from tlcourse.weights.card import WEIGHTS, Card, card_of, check_place, write_card
from tlcourse.weights.files import content_hash


class Saves(Protocol):
    """A tokenizer: `save` writes its files into a folder, `len` is the size of its vocabulary."""

    def save(self, folder: Path) -> None: ...
    def __len__(self) -> int: ...


def home() -> Path:
    """The folder of all checkpoints; it may not be there yet."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "data" / "checkpoints"
    return installed if installed.is_dir() else package.parent / "data" / "checkpoints"


def checkpoints() -> list[str]:
    """Names of the project's own checkpoints, in alphabetical order."""
    if not home().is_dir():
        return []
    # Hidden folders are exports that were interrupted.
    return sorted(path.name for path in home().iterdir() if path.is_dir() and not path.name.startswith("."))


def read_card(name: str) -> Card:
    """The card of a checkpoint of the project. Raises FileNotFoundError, listing those there are; as `card_of`."""
    if name not in checkpoints():
        raise FileNotFoundError(
            f"{name!r} is no checkpoint of this project; there are {', '.join(checkpoints()) or 'none yet'}"
        )
    return card_of(home() / name)


def cards() -> list[Card]:
    """The cards of all checkpoints of the project. Raises as `card_of` where one has none."""
    return [card_of(home() / name) for name in checkpoints()]


def export(
    model: torch.nn.Module, tokenizer: Saves | None, card: Card, folder: str | Path | None = None
) -> Card:
    """Write weights (float16), tokenizer and card as one checkpoint, complete or not at all; the card with its hash.

    model: one of ours, with `save_pretrained`. tokenizer: None for a network that reads no text. card: its sha256 is
    filled in here. folder: the checkpoint's own, called card.name; None is data/checkpoints/NAME. What was there stays
    until all is written, and is then replaced whole.
    The figures of the card should be measured on weights rounded to float16, which are what a reader gets.
    Raises ValueError where the card names another class, the tokenizer has more tokens than the model, or a weight
    is not finite in float16; OSError where the disk is full or not writable.
    """
    folder = home() / card.name if folder is None else Path(folder)
    check_place(folder, card)
    _check(model, tokenizer, card)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{card.name}-", suffix=".partial"
    ) as scratch:
        fresh, former = Path(scratch) / card.name, Path(scratch) / "former"
        fresh.mkdir()
        model.save_pretrained(fresh, dtype=torch.float16)
        if tokenizer is not None:
            tokenizer.save(fresh)
        card = replace(card, sha256=content_hash(fresh / WEIGHTS))
        write_card(fresh, card)
        _exchange(fresh, folder, former)
    return card


def _exchange(fresh: Path, folder: Path, former: Path) -> None:
    """Put fresh where folder is. No system replaces a full folder in one step: the former one is moved aside first."""
    if folder.exists():
        folder.rename(former)
    try:
        fresh.rename(folder)
    except OSError:
        if former.exists():
            former.rename(folder)
        raise


def _check(model: torch.nn.Module, tokenizer: Saves | None, card: Card) -> None:
    if type(model).__name__ != card.model:
        raise ValueError(
            f"card of {card.name!r}: model={card.model!r}, but a {type(model).__name__} is exported"
        )
    if tokenizer is not None and len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer):,} tokens, the {card.model} rows for {model.config.vocab_size:,}; "
            "export the tokenizer that it was trained with"
        )
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor.to(torch.float16)).all():
            raise ValueError(
                f"{name} is not finite in float16, which ends at 65,504; a checkpoint like that cannot be used"
            )
