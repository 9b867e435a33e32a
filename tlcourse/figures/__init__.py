"""Plots of the book: one call each, colours that colour-blind readers tell apart, the same pixels every time.

`basic` has the look and the figures of the chapters, `curves` what long runs need: scores over steps, cost over
length, many arms side by side; `scatter` sets scores against what was measured. In a notebook, end a cell with
`ax = figures.…(…)`: the figure is shown without the Axes' own text under it, and the next cell can check what was
drawn.
"""

from tlcourse.figures.basic import (
    MARKERS,
    PALETTE,
    HasHistory,
    HasInterval,
    compare,
    image_grid,
    label_curve,
    learning_rate_curve,
    style,
    training_curves,
)
from tlcourse.figures.curves import arms, band_curve, length_curve
from tlcourse.figures.scatter import scatter_grid

__all__ = [
    "MARKERS",
    "PALETTE",
    "HasHistory",
    "HasInterval",
    "arms",
    "band_curve",
    "compare",
    "image_grid",
    "label_curve",
    "learning_rate_curve",
    "length_curve",
    "scatter_grid",
    "style",
    "training_curves",
]
