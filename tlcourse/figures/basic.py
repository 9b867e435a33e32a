"""The book's look, and the figures of its chapters.

Every function takes plain data and objects with `estimate`, `low` and `high` (a `metrics.Interval` is one),
changes no global setting of matplotlib, and returns the Axes it drew on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

# Okabe & Ito (2008), "Color Universal Design", without yellow, which is too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("--", ":", "-.", (0, (5, 1)))
WIDTH = 7.2  # inches; 720 pixels at DPI, the width of the site's text column
DPI = 100

_STYLE = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "image.interpolation": "nearest",
}


class HasInterval(Protocol):
    estimate: float
    low: float
    high: float


class HasHistory(Protocol):
    steps: Sequence[int]
    losses: Sequence[float]
    evaluations: Sequence[tuple[int, float]]


Curve = tuple[Sequence[float], Sequence[HasInterval]]


@contextmanager
def style() -> Iterator[None]:
    """The book's look, for a figure drawn by hand: `with figures.style(): …`."""
    with plt.style.context(["default", _STYLE]):
        yield
        interactive = matplotlib.is_interactive()
    # A notebook's backend switches to interactive when the first figure is made, in the context, whose end would take
    # that back: no later figure would be shown at the end of its cell.
    matplotlib.interactive(interactive)


def label_curve(
    curves: Mapping[str, Curve],
    *,
    ylabel: str,
    xlabel: str = "labelled training examples",
    reference_lines: Mapping[str, float] | None = None,
) -> Axes:
    """Score against the number of labels, a line per method, whiskers for the intervals.

    curves: name → (sizes, one interval per size). reference_lines: name → score, drawn across: a majority
    class, a rule that needs no labels, the human ceiling. Raises ValueError on a curve without points or of
    unequal lengths.
    """
    with style():
        ax = plt.subplots(figsize=(WIDTH, 4.2))[1]
        _draw_curves(ax, curves)
        for n, (name, score) in enumerate((reference_lines or {}).items()):
            ax.axhline(score, color="#555555", linewidth=1.2, linestyle=DASHES[n % len(DASHES)], label=name)
        _log_ticks(ax, curves, lambda size, _: f"{size:,.0f}")
        ax.set(xlabel=xlabel, ylabel=ylabel)
        draw_legend(ax)
    return ax


def learning_rate_curve(curves: Mapping[str, Curve], *, ylabel: str, chosen: float | None = None) -> Axes:
    """Score against the learning rate on a logarithmic axis, a line per method; chosen marks one rate.

    curves: name → (rates, one interval per rate). Raises ValueError as `label_curve` does.
    """
    with style():
        ax = plt.subplots(figsize=(WIDTH, 4.2))[1]
        _draw_curves(ax, curves)
        if chosen is not None:
            ax.axvline(
                chosen, color="#555555", linewidth=1.2, linestyle="--", label=f"chosen: {_rate(chosen)}"
            )
        _log_ticks(ax, curves, lambda rate, _: _rate(rate))
        ax.set(xlabel="learning rate (logarithmic)", ylabel=ylabel)
        draw_legend(ax)
    return ax


def compare(
    rows: Mapping[str, HasInterval], *, xlabel: str, reference: float | None = None, reference_label: str = ""
) -> Axes:
    """One estimate with its interval per row, the first row on top; a dashed line at the reference."""
    if not rows:
        raise ValueError("compare got no rows; give name → interval")
    with style():
        ax = plt.subplots(figsize=(WIDTH, 1.1 + 0.36 * len(rows)))[1]
        for n, (name, interval) in enumerate(rows.items()):
            low, middle, high = ends(name, interval)
            ax.plot([low, high], [n, n], color=PALETTE[0], linewidth=2)
            ax.plot(middle, n, MARKERS[0], color=PALETTE[0], label=name)
        if reference is not None:
            ax.axvline(reference, color="#555555", linewidth=1.2, linestyle="--")
            if reference_label:
                ax.annotate(
                    reference_label,
                    (reference, 1.01),
                    xycoords=ax.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                )
        ax.set_yticks(range(len(rows)), list(rows))
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.grid(False, axis="y")
        ax.set_xlabel(xlabel)
    return ax


def image_grid(images: Any, titles: Sequence[str], *, columns: int = 6) -> np.ndarray:
    """Images side by side, a title over each: images (N, H, W) grey or (N, H, W, 3) colour; returns N Axes.

    Integer images span 0…255. Raises ValueError where images and titles differ in number.
    """
    images = [np.asarray(image) for image in images]
    if not images or len(images) != len(titles):
        raise ValueError(
            f"{len(images)} images and {len(titles)} titles; give one title per image, at least one"
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    with style():
        side = WIDTH / columns
        tall = side * images[0].shape[0] / images[0].shape[1]
        _, axes = plt.subplots(rows, columns, figsize=(WIDTH, rows * (tall + 0.25)), squeeze=False)
        for ax in axes.flat:
            ax.axis("off")
        for ax, image, title in zip(axes.flat, images, titles, strict=False):
            span = {"vmin": 0, "vmax": 255} if np.issubdtype(image.dtype, np.integer) else {}
            ax.imshow(image, cmap="gray", **span)
            ax.set_title(title)
    return axes.ravel()[: len(images)]


def training_curves(histories: Mapping[str, HasHistory], *, ylabel: str) -> np.ndarray:
    """Training loss (left) and validation score (right) against the step; returns both Axes.

    histories: name → `training.History`. ylabel names the validation score. The loss is a running mean over a
    twentieth of the steps: the loss of a single batch jumps.
    """
    if not histories:
        raise ValueError("training_curves got no histories; give name → history")
    with style():
        _, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
        for n, (name, history) in enumerate(histories.items()):
            colour, marker = PALETTE[n % len(PALETTE)], MARKERS[n % len(MARKERS)]
            window = max(1, len(history.losses) // 20)
            smooth = np.convolve(history.losses, np.ones(window) / window, mode="valid")
            left.plot(np.asarray(history.steps)[window - 1 :], smooth, color=colour, label=name)
            if history.evaluations:
                right.plot(*zip(*history.evaluations, strict=True), color=colour, marker=marker, label=name)
        for ax, label in ((left, "training loss (nats)"), (right, ylabel)):
            ax.set(xlabel="training step", ylabel=label)
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        draw_legend(left)
    return np.array([left, right])


def _draw_curves(ax: Axes, curves: Mapping[str, Curve]) -> None:
    if not curves:
        raise ValueError("no curves to draw; give name → (positions, intervals)")
    for n, (name, (positions, intervals)) in enumerate(curves.items()):
        if not len(positions) or len(positions) != len(intervals):
            raise ValueError(
                f"curve {name!r} has {len(positions)} positions, {len(intervals)} intervals; give one each"
            )
        if min(positions) <= 0:
            raise ValueError(
                f"curve {name!r} starts at {min(positions)}, which a logarithmic axis cannot show; draw what needs "
                "no labels as a reference line"
            )
        low, middle, high = np.array([ends(name, interval) for interval in intervals]).T
        # Whiskers at one position would hide each other: each curve is shifted by 1.5 %.
        x = np.asarray(positions, dtype=float) * 1.015 ** (n - (len(curves) - 1) / 2)
        draw_whiskers(ax, n, name, x, low, middle, high)


def draw_whiskers(
    ax: Axes,
    n: int,
    name: str,
    x: np.ndarray,
    low: np.ndarray,
    middle: np.ndarray,
    high: np.ndarray,
    **look: Any,
) -> None:
    """The n-th line of a plot, in its colour and with its marker, a whisker at each point. All arrays (points,).

    look: what Axes.errorbar is told beside or instead.
    """
    ax.errorbar(
        x,
        middle,
        yerr=np.clip([middle - low, high - middle], 0, None),
        color=PALETTE[n % len(PALETTE)],
        marker=MARKERS[n % len(MARKERS)],
        label=name,
        **{"capsize": 3, "elinewidth": 1.2} | look,
    )


def ends(name: str, interval: HasInterval) -> tuple[float, float, float]:
    """low, estimate, high of an interval. Raises ValueError, with its name, where a plot would not show it."""
    numbers = float(interval.low), float(interval.estimate), float(interval.high)
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"{name!r} has the interval (low, estimate, high) {numbers}; it would vanish from the plot"
        )
    return numbers


def _rate(rate: float) -> str:
    mantissa, exponent = f"{rate:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _log_ticks(ax: Axes, curves: Mapping[str, Curve], text: Any) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sorted({float(x) for xs, _ in curves.values() for x in xs})))
    ax.xaxis.set_major_formatter(FuncFormatter(text))
    ax.xaxis.set_minor_locator(NullLocator())


def draw_legend(ax: Axes) -> None:
    """Above the plot, where it covers no point: curves first, then reference lines."""
    handles, names = ax.get_legend_handles_labels()
    entries = sorted(zip(handles, names, strict=True), key=lambda entry: isinstance(entry[0], Line2D))
    ax.figure.legend(*zip(*entries, strict=True), loc="outside upper center", ncols=min(3, len(names)))
