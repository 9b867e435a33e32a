"""Scores against what was measured: does the order on one axis say the order on the other?"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from tlcourse.figures.basic import WIDTH, HasInterval, draw_whiskers, ends, style

Points = tuple[Sequence[float], Sequence[HasInterval]]


def scatter_grid(
    panels: Mapping[str, Mapping[str, Points]], *, xlabel: str, ylabel: str, columns: int = 3
) -> np.ndarray:
    """A panel a target, a point a source: its score across, what it was measured to reach upwards, with a whisker.

    panels: title → {kind of source: (scores, one interval each)}; a kind has one colour and one marker in all panels,
    and may be absent from some. Every panel has its own axes. Returns the Axes, (panels,). Raises ValueError on no
    panels, on a panel without points, on scores and intervals of unequal number, on numbers that a plot cannot show.
    """
    if not panels:
        raise ValueError("scatter_grid got no panels; give title → kind → (scores, intervals)")
    kinds = list(dict.fromkeys(kind for panel in panels.values() for kind in panel))
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with style():
        size = (WIDTH, 0.8 + 2.5 * rows)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for spare in axes.flat[len(panels) :]:
            spare.axis("off")
        for ax, (title, panel) in zip(axes.flat, panels.items(), strict=False):
            if not panel:
                raise ValueError(f"panel {title!r} has no points; leave it out")
            for kind, points in panel.items():
                x, low, middle, high = _checked(f"{kind}, {title}", points)
                n = kinds.index(kind)
                draw_whiskers(ax, n, kind, x, low, middle, high, linestyle="none", capsize=0, elinewidth=1)
            ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
            # Panels are small; and matplotlib's own choice would be made later, by the reader's settings.
            ax.xaxis.set_major_locator(MaxNLocator(3))
            ax.yaxis.set_major_locator(MaxNLocator(4))
        found = {}
        for ax in axes.flat:  # one entry a kind, whichever panel has it
            handles, names = ax.get_legend_handles_labels()
            found |= dict(zip(names, handles, strict=True))
        handles = [found[kind] for kind in kinds]
        figure.legend(handles, kinds, loc="outside upper center", ncols=min(4, len(kinds)))
    return axes.ravel()[: len(panels)]


def _checked(name: str, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, and low, estimate and high of the intervals, each (n,)."""
    scores, intervals = points
    x = np.asarray(scores, dtype=float)
    if not len(x) or len(x) != len(intervals):
        raise ValueError(f"{name!r} has {len(x)} scores and {len(intervals)} intervals; give one each")
    if not np.isfinite(x).all():
        raise ValueError(f"{name!r} has a score that is not finite; it would vanish from the plot")
    low, middle, high = np.array([ends(name, interval) for interval in intervals]).T
    return x, low, middle, high
