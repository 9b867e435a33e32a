"""Many sources, many measures: scores, cost, and how well each order agrees with measured fine-tuning."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlcourse.metrics import Interval, weighted_tau_interval
from tlcourse.transfer.distance.measures import MEASURES, Measure, Source, Target, try_measure


@dataclass(frozen=True, eq=False)
class Ranking:
    """What `rank_sources` found. All tables go measure → source.

    scores: only where the measure is defined; lacking: what was missing, in words, where it is not; seconds: by the
    clock, of each score, features and probabilities not counted. fine_tuned: measured scores, of the sources that have
    one. measures: name → Measure, in the order given.
    """

    measures: Mapping[str, Measure]
    sources: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]
    lacking: Mapping[str, Mapping[str, str]]
    seconds: Mapping[str, Mapping[str, float]]
    fine_tuned: Mapping[str, float]

    def order(self, measure: str) -> list[str]:
        """Names of the sources that the measure is defined for, nearest first; ties in the order given."""
        scores = self._scores_of(measure)
        sign = -1 if self.measures[measure].larger_is_nearer else 1
        return sorted(scores, key=lambda name: sign * scores[name])

    def common(self, measures: Sequence[str] | None = None) -> list[str]:
        """Sources with measured fine-tuning for which all these measures are defined: what they may be compared on.

        measures: names; None: all.
        """
        tables = [self._scores_of(m) for m in (self.measures if measures is None else measures)]
        return [s for s in self.sources if s in self.fine_tuned and all(s in table for table in tables)]

    def correlation(
        self,
        measure: str,
        among: Sequence[str] | None = None,
        *,
        groups: Mapping[str, str] | None = None,
        n_resamples: int = 2000,
        level: float = 0.95,
        seed: int = 0,
    ) -> Interval:
        """Weighted Kendall's τ of nearness and measured fine-tuning, with a bootstrap interval over sources.

        1: the measure orders the sources as fine-tuning does; distances count from near to far. among: names of
        sources; give the `common` ones to compare measures; None: all that this measure is defined for. groups:
        source → family, resampled whole, such as the layers of one network. Eight sources prove little: read the
        interval, and mind that the largest of many correlations is large by chance too.
        Raises ValueError on sources the measure is undefined for, on fewer than four, and as
        `metrics.weighted_tau_interval`.
        """
        scores = self._scores_of(measure)
        names = self.common([measure]) if among is None else list(among)
        for name in names:
            if name not in scores or name not in self.fine_tuned:
                why = self.lacking[measure].get(name, "measured fine-tuning")
                raise ValueError(
                    f"{measure} of source {name!r} cannot be compared, it lacks {why}; take common([{measure!r}])"
                )
        if len(names) < 4:
            raise ValueError(
                f"{measure} and fine-tuning are known for {len(names)} sources; an interval needs at least 4"
            )
        if groups is not None and (without := [name for name in names if name not in groups]):
            raise ValueError(f"groups has no family for source {without[0]!r}; give one for each source")
        sign = 1 if self.measures[measure].larger_is_nearer else -1
        return weighted_tau_interval(
            [sign * scores[name] for name in names],
            [self.fine_tuned[name] for name in names],
            groups=None if groups is None else [groups[name] for name in names],
            n_resamples=n_resamples,
            level=level,
            seed=seed,
        )

    def cost(self, measure: str) -> float:
        """Seconds by the clock for all sources together."""
        self._scores_of(measure)
        return math.fsum(self.seconds[measure].values())

    def _scores_of(self, measure: str) -> Mapping[str, float]:
        if measure not in self.measures:
            raise ValueError(f"no measure {measure!r} was run; there are {', '.join(self.measures)}")
        return self.scores[measure]


def rank_sources(
    sources: Sequence[Source], target: Target, *, measures: Sequence[Measure] = MEASURES
) -> Ranking:
    """Score every source for the target with every measure that is defined for it.

    Raises ValueError on no sources, on a name given twice, on fine_tuned that is not finite; ValueError or TypeError
    naming source and measure on bad input of a measure. What is missing raises nothing: see `Ranking.lacking`.
    """
    if not sources or not measures:
        raise ValueError(f"{len(sources)} sources and {len(measures)} measures; give at least one of each")
    for kind, names in (("sources", [s.name for s in sources]), ("measures", [m.name for m in measures])):
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise ValueError(f"{times} {kind} are named {name!r}; give each its own name")
    for source in sources:
        if source.fine_tuned is not None and not math.isfinite(source.fine_tuned):
            raise ValueError(
                f"fine_tuned={source.fine_tuned} of source {source.name!r}; give a finite score, or None"
            )
    scores, lacking, seconds = ({m.name: {} for m in measures} for _ in range(3))
    for measure in measures:
        for source in sources:
            start = time.perf_counter()
            score, lack = try_measure(measure, source, target)
            if score is None:
                lacking[measure.name][source.name] = lack
            else:
                scores[measure.name][source.name] = score
                seconds[measure.name][source.name] = time.perf_counter() - start
    return Ranking(
        measures={m.name: m for m in measures},
        sources=tuple(s.name for s in sources),
        scores=scores,
        lacking=lacking,
        seconds=seconds,
        fine_tuned={s.name: float(s.fine_tuned) for s in sources if s.fine_tuned is not None},
    )
