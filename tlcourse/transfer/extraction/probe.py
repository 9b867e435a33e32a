"""The linear probe: how well one linear layer reads a label off frozen features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

PENALTIES = tuple(float(f"1e{exponent}") for exponent in range(2, -7, -1))
Array = Tensor | np.ndarray


class Tried(NamedTuple):
    """One candidate: its penalty, and accuracy and mean cross-entropy (nats) on the validation data."""

    penalty: float
    accuracy: float
    loss: float


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Multinomial logistic regression on standardised features; make one by `fit` or `choose`.

    classes: (C,) the labels in order; weight (C, D) and bias (C,) act on (x − mean) / scale, where mean and scale (D,)
    are those of the training features. penalty λ: it minimises mean cross-entropy + λ/2 · ‖weight‖², so one λ means the
    same with more data. tried: every candidate of `choose`, from the strongest penalty down.
    """

    classes: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    penalty: float
    tried: tuple[Tried, ...] = ()

    @classmethod
    def fit(cls, features: Array, labels: Array, *, penalty: float) -> "LinearProbe":
        """features: (N, D); labels: (N,) integers, at least two classes.

        Raises ValueError on nan, lengths that differ, one class, or a penalty that is not positive.
        """
        return _fit_all(*_checked(features, labels), (penalty,))[0]

    @classmethod
    def choose(
        cls,
        features: Array,
        labels: Array,
        *,
        validation: tuple[Array, Array],
        penalties: Sequence[float] = PENALTIES,
    ) -> "LinearProbe":
        """`fit` for each penalty; the probe with the lowest cross-entropy on the validation data (features, labels).

        Cross-entropy rather than accuracy: on few validation labels, accuracy ties over half the grid. Ask `at_edge`
        whether the grid held the best one. Raises ValueError as `fit` does, and for a validation label not trained on.
        """
        x, y = _checked(features, labels)
        held_x, held_y = validation
        probes = _fit_all(x, y, sorted(set(penalties), reverse=True))
        tried = tuple(Tried(p.penalty, p.accuracy(held_x, held_y), p.loss(held_x, held_y)) for p in probes)
        best = min(range(len(tried)), key=lambda i: tried[i].loss)  # of equals, the strongest penalty
        return replace(probes[best], tried=tried)

    @property
    def at_edge(self) -> bool:
        """Whether the best penalty is the largest or smallest tried: then the best may lie outside the grid."""
        return bool(self.tried) and self.penalty in (self.tried[0].penalty, self.tried[-1].penalty)

    def logits(self, features: Array) -> np.ndarray:
        """(N, C). Raises ValueError on features of another width, and on nan."""
        x = _array(features)
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise ValueError(f"features are {x.shape}; the probe reads (N, {len(self.mean)})")
        _check_finite(x, "")
        return (x - self.mean) / self.scale @ self.weight.T + self.bias

    def probabilities(self, features: Array) -> np.ndarray:
        """(N, C), rows sum to one."""
        return np.exp(_log_softmax(self.logits(features)))

    def predict(self, features: Array) -> np.ndarray:
        """(N,) labels."""
        return self.classes[self.logits(features).argmax(1)]

    def accuracy(self, features: Array, labels: Array) -> float:
        """Share of labels predicted, 0 … 1."""
        x, y = self._known(features, labels)
        return float((self.predict(x) == y).mean())

    def loss(self, features: Array, labels: Array) -> float:
        """Mean cross-entropy in nats."""
        x, y = self._known(features, labels)
        return float(
            -_log_softmax(self.logits(x))[np.arange(len(y)), np.searchsorted(self.classes, y)].mean()
        )

    def linear(self) -> nn.Linear:
        """The probe as an nn.Linear (D → C) on features as they are, float32: a head to fine-tune from."""
        weight = self.weight / self.scale
        # From the meta device: nn.Linear would draw its own start from the global generator.
        layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(self.bias - weight @ self.mean))
        return layer

    def _known(self, features: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
        x, y = _checked(features, labels, "held-out", n_classes=1)
        if unknown := sorted(set(y.tolist()) - set(self.classes.tolist())):
            raise ValueError(
                f"labels {unknown} were not among the training labels {self.classes.tolist()}; split so that every "
                "class is trained on"
            )
        return x, y


def _fit_all(x: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> list[LinearProbe]:
    """A probe for each penalty, each started at the one before."""
    if not penalties or not all(np.isfinite(p) and p > 0 for p in penalties):
        raise ValueError(f"penalties={list(penalties)}; give at least one, all positive")
    mean, scale = x.mean(0), x.std(0)
    # A constant column says nothing; nor does one that is switched off, 1e-33 beside 1, whatever its noise.
    least = 1e-12 * np.maximum(np.abs(x).max(0), scale.max())
    scale = np.where(scale > np.maximum(least, 1e-300), scale, 1.0)
    x = (x - mean) / scale
    model = LogisticRegression(warm_start=True, tol=1e-6, max_iter=10_000)
    probes = []
    # Of two classes scikit-learn fits one row w and penalises ‖w‖²; as two rows ±w/2, that is twice their ‖W‖².
    binary = len(np.unique(y)) == 2
    for penalty in penalties:
        model.set_params(C=(2 if binary else 1) / (penalty * len(x))).fit(x, y)
        weight, bias = model.coef_.copy(), model.intercept_.copy()
        if binary:
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        probes.append(LinearProbe(model.classes_, weight, bias, mean, scale, penalty))
    return probes


def _checked(
    features: Array, labels: Array, name: str = "training", n_classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    x, y = _array(features).astype(np.float64), _array(labels)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(
            f"{name} features {x.shape} and labels {y.shape}; give (N, D) and (N,) of one length"
        )
    _check_finite(x, f"{name} ")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{name} labels are {y.dtype}; give integers")
    if len(np.unique(y)) < n_classes:
        raise ValueError(f"{name} labels hold {len(np.unique(y))} class; a probe needs at least {n_classes}")
    return x, y


def _check_finite(x: np.ndarray, name: str) -> None:
    if bad := int((~np.isfinite(x)).any(1).sum()):
        raise ValueError(f"{bad} rows of {name}features hold nan or infinite values; leave those inputs out")


def _array(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits - logits.max(1, keepdims=True)
    return top - np.log(np.exp(top).sum(1, keepdims=True))
