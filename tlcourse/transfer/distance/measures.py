"""The measures side by side: what each needs of a source and a target, its range, and what its values compare.

A measure is undefined for a source that lacks what it needs. Nothing is put in its place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tlcourse.transfer.distance.classifier import leep, nce
from tlcourse.transfer.distance.evidence import logme
from tlcourse.transfer.distance.inputs import probabilities
from tlcourse.transfer.distance.parameters import OtherArchitecture, parameter_distance
from tlcourse.transfer.distance.samples import frechet_distance, linear_cka, median_distance, mmd
from tlcourse.transfer.distance.separation import h_score


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """What is known of the target.

    labels: (N,) whole numbers, of its samples. features: (N, D) of the same samples, through a model trained on
    the target. embedded: (M, E), samples of the target (these or others) through one reference model. parameters:
    of a model trained on the target.
    """

    labels: Any
    features: Any = None
    embedded: Any = None
    parameters: nn.Module | Mapping[str, Tensor] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What is known of one source; None where it is not.

    features: (N, D), the target's samples through the source's model. probabilities: (N, Z), what its classifier
    says of them. embedded: (M, E), samples of the source's own data through the reference model of
    `Target.embedded`. parameters: the source's model. n_parameters: its size. fine_tuned: the score it was measured
    to reach on the target, larger is better.
    """

    name: str
    features: Any = None
    probabilities: Any = None
    embedded: Any = None
    parameters: nn.Module | Mapping[str, Tensor] | None = None
    n_parameters: int | None = None
    fine_tuned: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One way to score a source.

    score: (source, target) → float. needs: fields that must be known, as "source.features". larger_is_nearer: False
    for distances. units, low, high, compare: of its values, for a table; low and high in words.
    """

    name: str
    score: Callable[[Source, Target], float]
    needs: tuple[str, ...]
    larger_is_nearer: bool
    units: str
    low: str
    high: str
    compare: str

    def lacks(self, source: Source, target: Target) -> str:
        """What this source and target lack, in words; empty where nothing is missing."""
        owners = {"source": source, "target": target}
        missing = []
        for need in self.needs:
            owner, field = need.split(".")
            if getattr(owners[owner], field) is None:
                missing.append(NEEDS[need])
        return ", ".join(missing)


NEEDS = {
    "source.features": "the target's samples through the source's model",
    "source.probabilities": "a source classifier",
    "source.embedded": "source data in the reference model",
    "source.parameters": "the source's weights",
    "source.n_parameters": "the source's number of parameters",
    "target.features": "a model trained on the target",
    "target.embedded": "target data in the reference model",
    "target.parameters": "weights trained on the target",
}
OTHER_ARCHITECTURE = "one architecture for source and target"


def _nce(source: Source, target: Target) -> float:
    chosen = probabilities(source.probabilities, "source_probabilities").argmax(axis=1)
    return nce(source_labels=chosen, labels=target.labels)


def _mmd(source: Source, target: Target) -> float:
    """With the target's own median distance, so that every source is measured with one kernel."""
    return mmd(source.embedded, target.embedded, bandwidth=median_distance(target.embedded))


_SAMPLES = "sources on the same samples and labels"
MEASURES = (
    Measure(
        name="logme",
        score=lambda s, t: logme(s.features, t.labels),
        needs=("source.features",),
        larger_is_nearer=True,
        units="nats per sample",
        low="−∞",
        high="∞",
        compare=_SAMPLES,
    ),
    Measure(
        name="h_score",
        score=lambda s, t: h_score(s.features, t.labels),
        needs=("source.features",),
        larger_is_nearer=True,
        units="",
        low="0",
        high="min(features, classes − 1)",
        compare=f"{_SAMPLES}, features well below samples",
    ),
    Measure(
        name="h_score_shrunk",
        score=lambda s, t: h_score(s.features, t.labels, shrink=True),
        needs=("source.features",),
        larger_is_nearer=True,
        units="",
        low="0",
        high="min(features, classes − 1)",
        compare=_SAMPLES,
    ),
    Measure(
        name="leep",
        score=lambda s, t: leep(s.probabilities, t.labels),
        needs=("source.probabilities",),
        larger_is_nearer=True,
        units="nats per sample",
        low="−H(labels)",
        high="0",
        compare=f"{_SAMPLES}, similar numbers of source classes",
    ),
    Measure(
        name="nce",
        score=_nce,
        needs=("source.probabilities",),
        larger_is_nearer=True,
        units="nats per sample",
        low="−H(labels)",
        high="0",
        compare=f"{_SAMPLES}, similar numbers of source classes",
    ),
    Measure(
        name="linear_cka",
        score=lambda s, t: linear_cka(s.features, t.features),
        needs=("source.features", "target.features"),
        larger_is_nearer=True,
        units="",
        low="0",
        high="1",
        compare="sources on the same samples, features well below samples",
    ),
    Measure(
        name="mmd",
        score=_mmd,
        needs=("source.embedded", "target.embedded"),
        larger_is_nearer=False,
        units="",
        low="0, estimates also below",
        high="2",
        compare="sources in one reference model, with one bandwidth",
    ),
    Measure(
        name="frechet_distance",
        score=lambda s, t: frechet_distance(s.embedded, t.embedded),
        needs=("source.embedded", "target.embedded"),
        larger_is_nearer=False,
        units="features squared",
        low="0",
        high="∞",
        compare="sources in one reference model, with equal numbers of samples",
    ),
    Measure(
        name="parameter_distance",
        score=lambda s, t: parameter_distance(s.parameters, t.parameters),
        needs=("source.parameters", "target.parameters"),
        larger_is_nearer=False,
        units="weights",
        low="0",
        high="∞",
        compare="sources of one architecture, best from one start",
    ),
    Measure(
        name="n_parameters",
        score=lambda s, t: float(s.n_parameters),
        needs=("source.n_parameters",),
        larger_is_nearer=True,
        units="parameters",
        low="0",
        high="∞",
        compare="any sources: the baseline that takes the largest",
    ),
)


def try_measure(measure: Measure, source: Source, target: Target) -> tuple[float | None, str]:
    """The score and "", or None and what is lacking.

    Raises ValueError or TypeError naming source and measure where an input is bad rather than missing.
    """
    if lacking := measure.lacks(source, target):
        return None, lacking
    try:
        return float(measure.score(source, target)), ""
    except OtherArchitecture:
        return None, OTHER_ARCHITECTURE
    except (TypeError, ValueError) as error:
        raise type(error)(f"{measure.name} of source {source.name!r}: {error}") from error
