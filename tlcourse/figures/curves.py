"""Figures of long runs: a score over training with its spread, cost against length, arms side by side."""

from collections.abc import Mapping, Sequence
from itertools import chain

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator

from tlcourse.figures.basic import (
    DASHES,
    MARKERS,
    PALETTE,
    WIDTH,
    Curve,
    HasInterval,
    draw_legend,
    draw_whiskers,
    ends,
    style,
)

GREY = "#555555"


def band_curve(
    curves: Mapping[str, Curve],
    *,
    xlabel: str,
    ylabel: str,
    logarithmic: bool = False,
    reference_lines: Mapping[str, float] | None = None,
) -> Axes:
    """A score over training steps or tokens, a line per arm with a band for its interval over seeds.

    curves: name → (positions, one interval per position), as from `metrics.seed_interval`. logarithmic: the axis of
    positions. reference_lines: name → score, drawn across. Raises ValueError on no curves, on a curve without points
    or of unequal lengths, on positions that do not rise, on numbers that a plot cannot show.
    """
    with style():
        ax = plt.subplots(figsize=(WIDTH, 4.2))[1]
        for n, (name, x, low, middle, high) in enumerate(_checked(curves, positive=logarithmic)):
            # A marker here and there, for those who do not tell the colours apart.
            line = {"marker": MARKERS[n % len(MARKERS)], "markevery": max(1, len(x) // 8), "label": name}
            ax.plot(x, middle, color=PALETTE[n % len(PALETTE)], **line)
            ax.fill_between(x, low, high, color=PALETTE[n % len(PALETTE)], alpha=0.18, linewidth=0)
        for n, (name, score) in enumerate((reference_lines or {}).items()):
            ax.axhline(score, color=GREY, linewidth=1.2, linestyle=DASHES[n % len(DASHES)], label=name)
        if logarithmic:
            ax.set_xscale("log")
        ax.xaxis.set_major_formatter(EngFormatter(sep=" "))  # 2 M tokens, 50 k steps
        ax.set(xlabel=xlabel, ylabel=ylabel)
        draw_legend(ax)
    return ax


def length_curve(
    curves: Mapping[str, Curve],
    *,
    ylabel: str,
    xlabel: str = "length, tokens",
    guides: Mapping[str, float] | None = None,
) -> Axes:
    """Time or memory against length, both axes logarithmic, a line per method with whiskers for its intervals.

    curves: name → (lengths, one interval per length); a method that runs out of memory has fewer lengths. guides:
    name → exponent, {"grows as the square": 2}: on these axes a power is a straight line, drawn dashed through the last
    point of the curve that comes first. Raises ValueError as `band_curve`, and on what is not above 0.
    """
    with style():
        ax = plt.subplots(figsize=(WIDTH, 4.2))[1]
        drawn = _checked(curves, positive=True)
        for n, (name, x, low, middle, high) in enumerate(drawn):
            if min(low) <= 0:
                raise ValueError(
                    f"curve {name!r} has an interval that begins at {min(low):g}, which a logarithmic axis cannot"
                    " show; give medians with their range, or measure longer"
                )
            draw_whiskers(ax, n, name, x, low, middle, high)
        _, x, _, middle, _ = drawn[0]
        for n, (name, exponent) in enumerate((guides or {}).items()):
            power = middle[-1] * (x / x[-1]) ** exponent
            ax.plot(x, power, color=GREY, linewidth=1.2, linestyle=DASHES[n % len(DASHES)], label=name)
        ax.set(xscale="log", yscale="log", xlabel=f"{xlabel} (logarithmic)", ylabel=f"{ylabel} (logarithmic)")
        ax.xaxis.set_major_locator(FixedLocator(sorted(set(chain(*(x for _, x, *_ in drawn))))))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
        ax.xaxis.set_minor_locator(NullLocator())
        draw_legend(ax)
    return ax


def arms(
    groups: Mapping[str, Mapping[str, HasInterval]],
    *,
    xlabel: str,
    reference: float | None = None,
) -> Axes:
    """Arms side by side on several tasks: a dot with its whisker per arm, the first task on top, a colour per arm.

    groups: task → {arm: interval}; an arm that a task lacks leaves its place empty. reference: a dashed line.
    Raises ValueError on no tasks, on a task without arms, on numbers that a plot cannot show.
    """
    names = list(dict.fromkeys(chain(*groups.values())))
    empty = [task for task, found in groups.items() if not found]
    if not groups or empty:
        raise ValueError(
            f"no arms to draw{f' for {empty[0]!r}' if empty else ''}; give task → arm → interval"
        )
    with style():
        # A task is 1 high; its arms share the middle 0.7.
        ax = plt.subplots(figsize=(WIDTH, 1.3 + len(groups) * (0.25 + 0.22 * len(names))))[1]
        step = 0.7 / len(names)
        for n, name in enumerate(names):
            there = [task for task, (_, found) in enumerate(groups.items()) if name in found]
            low, middle, high = np.array(
                [ends(f"{name}, {task}", found[name]) for task, found in groups.items() if name in found]
            ).T
            ax.errorbar(
                middle,
                np.array(there) + (n - (len(names) - 1) / 2) * step,
                xerr=np.clip([middle - low, high - middle], 0, None),
                color=PALETTE[n % len(PALETTE)],
                marker=MARKERS[n % len(MARKERS)],
                linestyle="none",
                label=name,
                elinewidth=2,
            )
        if reference is not None:
            ax.axvline(reference, color=GREY, linewidth=1.2, linestyle="--")
        ax.set_yticks(range(len(groups)), list(groups))
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.grid(False, axis="y")
        ax.set_xlabel(xlabel)
        draw_legend(ax)
    return ax


def _checked(
    curves: Mapping[str, Curve], *, positive: bool
) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """For each curve: name, positions, low, estimate, high."""
    if not curves:
        raise ValueError("no curves to draw; give name → (positions, intervals)")
    checked = []
    for name, (positions, intervals) in curves.items():
        x = np.asarray(positions, dtype=float)
        if not len(x) or len(x) != len(intervals):
            raise ValueError(
                f"curve {name!r} has {len(x)} positions, {len(intervals)} intervals; give one each"
            )
        if not np.isfinite(x).all() or (np.diff(x) <= 0).any():
            raise ValueError(f"curve {name!r} has positions {_short(x)}; give finite ones that rise")
        if positive and x[0] <= 0:
            raise ValueError(f"curve {name!r} starts at {x[0]:g}, which a logarithmic axis cannot show")
        low, middle, high = np.array([ends(name, interval) for interval in intervals]).T
        checked.append((name, x, low, middle, high))
    return checked


def _short(x: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in x[:6]) + (", …" if len(x) > 6 else "")
