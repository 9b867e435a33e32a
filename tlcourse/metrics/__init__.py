"""What libraries lack: intervals for comparisons, and tasks scored as their fields score them."""

from tlcourse.metrics.entities import EntityScore, entity_scores
from tlcourse.metrics.generation import distinct, longest_copies, repeated
from tlcourse.metrics.intervals import (
    Equivalence,
    Interval,
    bootstrap_interval,
    equivalent,
    paired_bootstrap,
    seed_interval,
    seeds_and_groups_bootstrap,
    seeds_and_groups_statistic,
    statistic_bootstrap,
    weighted_auc,
)
from tlcourse.metrics.ranks import weighted_tau, weighted_tau_interval
from tlcourse.metrics.reading import (
    ReadingScore,
    exact_match,
    no_answer_threshold,
    normalise_answer,
    reading_scores,
    token_f1,
)
from tlcourse.metrics.summaries import rouge
from tlcourse.metrics.variance import Spread, crossed_spread

__all__ = [
    "EntityScore",
    "Equivalence",
    "Interval",
    "ReadingScore",
    "Spread",
    "bootstrap_interval",
    "crossed_spread",
    "distinct",
    "entity_scores",
    "equivalent",
    "exact_match",
    "longest_copies",
    "no_answer_threshold",
    "normalise_answer",
    "paired_bootstrap",
    "reading_scores",
    "repeated",
    "rouge",
    "seed_interval",
    "seeds_and_groups_bootstrap",
    "seeds_and_groups_statistic",
    "statistic_bootstrap",
    "token_f1",
    "weighted_auc",
    "weighted_tau",
    "weighted_tau_interval",
]
