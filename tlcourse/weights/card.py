"""The card of a checkpoint: what was trained, on what, for how long, how well it does, and what it is not good for.

A card lies beside the weights it is about, as `card.json`, and holds their hash: a file of weights that another run
wrote does not pass for this one. (The idea is Mitchell et al.'s model cards, 2019; the fields are what it takes to
make the same checkpoint again.)
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tlcourse.weights.files import WeightsError, content_hash, write_text

CARD, WEIGHTS = "card.json", "model.safetensors"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAMED_EXPERIMENT = re.compile(r"\bNAME=(\S+)")
_NAMED_SCRIPT = re.compile(r"(\S+\.py)\b")


@dataclass(frozen=True)
class Corpus:
    """Text that a checkpoint was trained on. sha256: of that text; licence: its authors', as an SPDX id or in words."""

    name: str
    sha256: str
    licence: str

    def __post_init__(self):
        for key in ("name", "licence"):
            _check_text(f"corpus {self.name!r}", key, getattr(self, key))
        _check_sha256(f"corpus {self.name!r}", "sha256", self.sha256)


@dataclass(frozen=True)
class Card:
    """One checkpoint of this project.

    name: its folder's, such as "bert-mini". model: the class that opens it, "BertForPreTraining". command: makes it
    again, "make experiment NAME=pretrained/checkpoints". steps: of the optimiser; tokens: read by the model, padding
    left out, or images, clips, videos or whole sentences that it saw. seconds: by the clock; cpu_seconds: of all
    threads. metrics: what was measured on held-out data, each under a name that says what and in which unit.
    environment: `runtime.environment()` of the run.
    good_for and not_good_for: sentences. sha256: of model.safetensors; `weights.export` fills it in.
    Raises ValueError, naming card and field, on anything empty, negative or not finite.
    """

    name: str
    model: str
    command: str
    corpora: tuple[Corpus, ...]
    steps: int
    tokens: int
    seed: int
    seconds: float
    cpu_seconds: float
    metrics: Mapping[str, float]
    environment: Mapping[str, str | int]
    good_for: str
    not_good_for: str
    sha256: str = ""

    def __post_init__(self):
        where = f"card of {self.name!r}"
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(f"{where}: name must be lower-case words joined by hyphens, such as 'bert-mini'")
        for key in ("model", "command", "good_for", "not_good_for"):
            _check_text(where, key, getattr(self, key))
        _ = self.script
        object.__setattr__(self, "corpora", tuple(self.corpora))
        if not self.corpora or not all(isinstance(corpus, Corpus) for corpus in self.corpora):
            raise ValueError(f"{where}: corpora={self.corpora!r} must be one Corpus or more")
        for key in ("steps", "tokens", "seed"):
            _check_count(where, key, getattr(self, key), least=0 if key == "seed" else 1)
        for key in ("seconds", "cpu_seconds"):
            _check_number(where, key, getattr(self, key), least=0)
        if not self.metrics:
            raise ValueError(f"{where}: metrics is empty; measure on held-out text before you export")
        for name, value in self.metrics.items():
            _check_number(where, f"metrics[{name!r}]", value)
        if not self.environment:
            raise ValueError(f"{where}: environment is empty; give runtime.environment()")
        if self.sha256:
            _check_sha256(where, "sha256", self.sha256)

    @property
    def script(self) -> str:
        """The experiment that the command runs: "experiments/pretrained/checkpoints.py"."""
        if named := _NAMED_EXPERIMENT.search(self.command):
            return f"experiments/{named[1]}.py"
        if named := _NAMED_SCRIPT.search(self.command):
            return named[1]
        raise ValueError(
            f"card of {self.name!r}: command={self.command!r} names no experiment; write it as"
            " 'make experiment NAME=pretrained/checkpoints' or 'python experiments/….py'"
        )


def write_card(folder: str | Path, card: Card) -> None:
    """Write card.json beside the weights it is about, complete or not at all.

    Raises ValueError where the card has another name than the folder, or another hash than its model.safetensors.
    """
    folder = Path(folder)
    check_place(folder, card)
    found = content_hash(folder / WEIGHTS)
    if card.sha256 != found:
        raise ValueError(
            f"card of {card.name!r}: sha256={card.sha256!r}, but {WEIGHTS} has {found}; export writes both together"
        )
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    write_text(folder / CARD, text)


def check_place(folder: Path, card: Card) -> None:
    """Raise ValueError unless the folder is called as the card is."""
    if folder.name != card.name:
        raise ValueError(
            f"the card of {card.name!r} does not belong into {folder}; its folder is called {card.name}"
        )


def card_of(folder: str | Path) -> Card:
    """The card in a folder. Raises FileNotFoundError; WeightsError where it is no card, naming what is wrong in it."""
    path = Path(folder) / CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CARD}; a checkpoint is written with its card by weights.export"
        )
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        card = _built(body)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path} is no card: {error}") from error
    if not card.sha256:
        raise WeightsError(f"{path} is no card: sha256 is empty; it must be that of {WEIGHTS}")
    return card


def _built(body: Any) -> Card:
    _check_keys("the card", body, Card)
    if not isinstance(body["corpora"], Sequence) or not isinstance(body["metrics"], Mapping):
        raise TypeError("corpora must be a list, metrics an object")
    for corpus in body["corpora"]:
        _check_keys("a corpus", corpus, Corpus)
    return Card(**{**body, "corpora": tuple(Corpus(**corpus) for corpus in body["corpora"])})


def _check_keys(what: str, body: Any, kind: type) -> None:
    """Every field there, and no other: a misspelt one must not pass as absent."""
    if not isinstance(body, Mapping):
        raise TypeError(f"{what} is a {type(body).__name__}, not an object")
    wanted = {f.name for f in fields(kind)}
    if body.keys() != wanted:
        missing, unknown = sorted(wanted - body.keys()), sorted(body.keys() - wanted)
        raise TypeError(
            f"{what} lacks {', '.join(missing) or 'nothing'} and has unknown {', '.join(unknown) or 'none'}"
        )


def _check_text(where: str, key: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {key}={value!r} must be a text that says something")


def _check_sha256(where: str, key: str, value: Any) -> None:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{where}: {key}={value!r} must be 64 hexadecimal digits")


def _check_count(where: str, key: str, value: Any, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where}: {key}={value!r} must be a whole number of at least {least}")


def _check_number(where: str, key: str, value: Any, *, least: float = -math.inf) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value < least
    ):
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise ValueError(f"{where}: {key}={value!r} must be a finite number{bound}")
