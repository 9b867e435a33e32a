"""Typed records out of the assets: sentences in four domains, solar cells, digits, clothes."""

from tlcourse.datasets.images import Images, digits, fashion_mnist
from tlcourse.datasets.judges import human_accuracy, vader
from tlcourse.datasets.sentences import (
    DOMAINS,
    Sentence,
    Split,
    draw,
    groups,
    labels,
    sentiment,
    sentiment_split,
    share_kept,
    texts,
    valences,
)
from tlcourse.datasets.solar import IndexSplit, SolarCells, solar_cells, solar_split

__all__ = [
    "DOMAINS",
    "Images",
    "IndexSplit",
    "Sentence",
    "SolarCells",
    "Split",
    "digits",
    "draw",
    "fashion_mnist",
    "groups",
    "human_accuracy",
    "labels",
    "sentiment",
    "sentiment_split",
    "share_kept",
    "solar_cells",
    "solar_split",
    "texts",
    "vader",
    "valences",
]
