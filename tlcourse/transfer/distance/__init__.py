"""Transfer distance: how near a source is to a target, before any fine-tuning.

One file per idea: `evidence` (LogME), `classifier` (LEEP and NCE), `separation` (H-score), `samples` (CKA, MMD,
Fréchet distance), `parameters` (weights of one architecture), `measures` (all of them side by side: needs, units,
range, what compares), `ranking` (many sources at once, against measured fine-tuning), `inputs` (what they share).
Everywhere features are (N, D) with one row a sample, labels (N,) whole numbers, tensors or arrays; the arithmetic is
float64. Some say how near (larger is nearer), some how far: each docstring does.
"""

from tlcourse.transfer.distance.classifier import leep, nce
from tlcourse.transfer.distance.evidence import Evidence, logme, max_evidence
from tlcourse.transfer.distance.measures import MEASURES, Measure, Source, Target
from tlcourse.transfer.distance.parameters import OtherArchitecture, parameter_distance
from tlcourse.transfer.distance.ranking import Ranking, rank_sources
from tlcourse.transfer.distance.samples import frechet_distance, linear_cka, median_distance, mmd
from tlcourse.transfer.distance.separation import h_score

__all__ = [
    "MEASURES",
    "Evidence",
    "Measure",
    "OtherArchitecture",
    "Ranking",
    "Source",
    "Target",
    "frechet_distance",
    "h_score",
    "leep",
    "linear_cka",
    "logme",
    "max_evidence",
    "median_distance",
    "mmd",
    "nce",
    "parameter_distance",
    "rank_sources",
]
