"""What a training run is asked for, and what happened in it."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field

SCHEDULES = ("linear", "cosine", "constant")
PRECISIONS = ("no", "bf16", "fp16")


# name → (kind of number or None, what must hold, in words)
_COUNT = (operator.index, lambda x: x >= 1, "a whole number of at least 1")
_RULES = {
    "epochs": _COUNT,
    "max_steps": _COUNT,
    "batch_size": _COUNT,
    "accumulate": _COUNT,
    "evaluate_every": _COUNT,
    "patience": _COUNT,
    "learning_rate": (float, lambda x: 0 < x < math.inf, "positive, such as 5e-5"),
    "weight_decay": (float, lambda x: 0 <= x < math.inf, "0 or more, such as 0.01"),
    "warmup": (float, lambda x: 0 <= x <= 1, "a share of the steps, from 0 to 1"),
    "clip_norm": (float, lambda x: x > 0, "positive, or None for no clipping"),
    "schedule": (str, lambda x: x in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    "mixed_precision": (str, lambda x: x in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    "seed": (operator.index, lambda x: 0 <= x < 2**32, "a whole number from 0 to 2³²−1"),
}
_OPTIONAL = ("epochs", "max_steps", "evaluate_every", "patience", "clip_norm")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast and how carefully to train. Exactly one of epochs and max_steps is given.

    batch_size: items per update, over all processes; accumulate: pieces in which a process computes its share.
    learning_rate: reached after the share `warmup` of all updates; from there `schedule` takes it to 0 ('linear',
    'cosine') or holds it. weight_decay: AdamW's (Loshchilov & Hutter 2019); biases and norms have none.
    clip_norm: largest norm of the whole gradient. mixed_precision: 'no', 'bf16' or 'fp16' (GPU only).
    evaluate_every: updates, None for each epoch. patience: evaluations without improvement that end the run.
    Raises ValueError on a value out of range.
    """

    epochs: int | None = None
    max_steps: int | None = None
    batch_size: int = 16
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    schedule: str = "linear"
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    mixed_precision: str = "no"
    accumulate: int = 1
    evaluate_every: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError(f"epochs={self.epochs}, max_steps={self.max_steps}: give one of the two")
        for name, (kind, holds, wanted) in _RULES.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            # NumPy's numbers become Python's, which JSON can hold; a text or a truth value is no number.
            if (
                isinstance(value, bool)
                or isinstance(value, str) != (kind is str)
                or not _fits(value, kind, holds)
            ):
                raise ValueError(f"{name}={value!r} must be {wanted}")
            object.__setattr__(self, name, kind(value))

    def total_steps(self, n_items: int) -> int:
        """Updates in a run over n_items."""
        return self.max_steps or self.epochs * math.ceil(n_items / self.batch_size)

    def factor(self, step: int, total: int) -> float:
        """Share of the learning rate in force in update `step` (from 0) of `total`."""
        warmup = round(self.warmup * total)
        if step < warmup:
            return step / warmup
        if self.schedule == "constant":
            return 1.0
        done = (step - warmup) / (total - warmup)
        return 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def _fits(value: object, kind: Callable, holds: Callable[[object], bool]) -> bool:
    try:
        return holds(kind(value))
    except TypeError:
        return False


@dataclass
class History:
    """What happened. One entry per update in steps (from 1), losses and learning_rates.

    learning_rates: config.learning_rate under the schedule; groups with their own lr go in proportion to it.
    evaluations: (step, score). best_step: the update that the parameters are of, where `evaluate` chose among
    them, else None. seconds: wall time, that of the runs resumed from included.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    best_step: int | None = None
    seconds: float = 0.0
    stopped_early: bool = False
