"""Figures of long runs show the numbers they are given; that they look like the others, test_figures checks."""

import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.test_figures import ARMS, BANDS, LENGTHS, interval
from tlcourse import figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def bands(**options):
    return figures.band_curve(BANDS, xlabel="tokens", ylabel="accuracy, %", **options)


def test_a_band_spans_low_to_high_around_its_line():
    ax = bands()
    for line, band, (positions, intervals) in zip(ax.lines, ax.collections, BANDS.values(), strict=True):
        assert np.array_equal(
            line.get_xydata(), [(x, i.estimate) for x, i in zip(positions, intervals, strict=True)]
        )
        assert line.get_color() in figures.PALETTE and line.get_marker() in figures.MARKERS
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
        wanted = {(x, end) for x, i in zip(positions, intervals, strict=True) for end in (i.low, i.high)}
        assert wanted <= corners
        assert min(y for _, y in corners) == min(i.low for i in intervals)


def test_bands_and_lines_of_an_arm_share_their_colour_and_arms_do_not():
    ax = bands()
    lines = [plt.matplotlib.colors.to_rgb(line.get_color()) for line in ax.lines]
    assert lines == [tuple(band.get_facecolor()[0][:3]) for band in ax.collections]
    assert len(set(lines)) == len({line.get_marker() for line in ax.lines}) == 2


def test_reference_lines_cross_the_plot_and_are_named_last():
    ax = bands(reference_lines={"left trigram": 26.0, "majority": 5.0})
    assert [list(line.get_ydata()) for line in ax.lines[2:]] == [[26, 26], [5, 5]]
    assert len({line.get_linestyle() for line in ax.lines[2:]}) == 2
    names = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert names == ["BERT", "ALBERT", "left trigram", "majority"]


def test_positions_are_read_in_thousands_and_millions():
    ax = bands()
    ax.figure.canvas.draw()
    assert [ax.xaxis.get_major_formatter()(x) for x in (0, 50_000, 2e6)] == ["0", "50 k", "2 M"]
    assert ax.get_xscale() == "linear" and bands(logarithmic=True).get_xscale() == "log"


def test_a_long_curve_has_a_marker_here_and_there():
    steps = list(range(0, 800))
    ax = figures.band_curve({"a": (steps, [interval(s) for s in steps])}, xlabel="step", ylabel="loss, nats")
    assert ax.lines[0].get_markevery() == 100
    assert list(ax.lines[0].get_xdata()) == steps


def test_cost_is_drawn_where_it_was_measured_with_its_whiskers():
    ax = figures.length_curve(LENGTHS, ylabel="time, ms")
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length, tokens (logarithmic)", "time, ms (logarithmic)")
    for container, (lengths, intervals) in zip(ax.containers, LENGTHS.values(), strict=True):
        line, _, (whiskers,) = container
        assert np.allclose(
            line.get_xydata(), [(x, i.estimate) for x, i in zip(lengths, intervals, strict=True)]
        )
        ends = [segment[:, 1] for segment in whiskers.get_segments()]
        assert np.allclose(ends, [(i.low, i.high) for i in intervals])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["128", "256", "512", "1,024"]


def test_a_guide_is_the_power_through_the_last_point_of_the_first_curve():
    ax = figures.length_curve(LENGTHS, ylabel="time, ms", guides={"linear": 1, "square": 2})
    linear, square = ax.lines[-2:]
    assert np.allclose(linear.get_xydata(), [(128, 4), (256, 8), (512, 16)])
    assert np.allclose(square.get_xydata(), [(128, 1), (256, 4), (512, 16)])
    names = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert names == ["explicit", "fused", "linear", "square"]


def test_arms_stand_beside_each_other_within_their_task_in_one_order():
    ax = figures.arms(ARMS, xlabel="macro-F1, %", reference=50)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(ARMS)
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == [
        "random start",
        "bert-mini",
        "MiniLM",
    ]
    drawn = {}
    for container in ax.containers:
        line, _, (whiskers,) = container
        drawn[container.get_label()] = line.get_xydata()
        found = [found[container.get_label()] for found in ARMS.values() if container.get_label() in found]
        ends = [segment[:, 0] for segment in whiskers.get_segments()]
        assert np.allclose(ends, [(i.low, i.high) for i in found])
    assert np.allclose(drawn["random start"], [(40, -0.7 / 3)])
    assert np.allclose(drawn["bert-mini"], [(60, 0), (55, 1)])
    assert np.allclose(drawn["MiniLM"], [(80, 1 + 0.7 / 3)])
    assert list(ax.lines[-1].get_xdata()) == [50, 50]
    assert len({container[0].get_marker() for container in ax.containers}) == 3


def test_without_a_reference_no_line_is_drawn():
    assert len(figures.arms({"a": {"x": interval(1)}}, xlabel="x").lines) == 1


NAN = SimpleNamespace(estimate=1.0, low=np.nan, high=2.0)


@pytest.mark.parametrize(
    ("draw", "curves", "message"),
    [
        ("both", {}, "no curves to draw; give name → (positions, intervals)"),
        ("both", {"a": ([], [])}, "curve 'a' has 0 positions, 0 intervals; give one each"),
        ("both", {"a": ([1, 2], [interval(1)])}, "curve 'a' has 2 positions, 1 intervals; give one each"),
        (
            "both",
            {"a": ([2, 1], [interval(1)] * 2)},
            "curve 'a' has positions 2, 1; give finite ones that rise",
        ),
        ("both", {"a": ([1, 1], [interval(1)] * 2)}, "curve 'a' has positions 1, 1; give finite"),
        ("both", {"a": ([*range(9, 0, -1)], [interval(1)] * 9)}, "has positions 9, 8, 7, 6, 5, 4, …; give"),
        ("both", {"a": ([np.nan], [interval(1)])}, "curve 'a' has positions nan; give finite ones"),
        ("both", {"a": ([1], [NAN])}, "'a' has the interval (low, estimate, high) (nan, 1.0, 2.0)"),
        (
            "log",
            {"a": ([0, 1], [interval(1)] * 2)},
            "curve 'a' starts at 0, which a logarithmic axis cannot show",
        ),
        (
            "length",
            {"a": ([1], [interval(1, 1)])},
            "'a' has an interval that begins at 0, which a logarithmic axis",
        ),
    ],
)
def test_curves_that_cannot_be_drawn_are_named(draw, curves, message):
    band = {"xlabel": "x", "ylabel": "y"}
    calls = {
        "band": lambda: figures.band_curve(curves, **band),
        "logarithmic": lambda: figures.band_curve(curves, logarithmic=True, **band),
        "length": lambda: figures.length_curve(curves, ylabel="y"),
    }
    which = {"both": calls, "log": ("logarithmic", "length"), "length": ("length",)}[draw]
    for name in which:
        with pytest.raises(ValueError, match=re.escape(message)):
            calls[name]()


def test_a_linear_axis_begins_at_0_and_a_score_may_be_negative():
    ax = figures.band_curve(
        {"a": ([0, 1], [interval(-1), interval(1)])}, xlabel="step", ylabel="gain, points"
    )
    assert list(ax.lines[0].get_ydata()) == [-1, 1]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "no arms to draw; give task → arm → interval"),
        ({"a": {"x": interval(1)}, "b": {}}, "no arms to draw for 'b'; give task"),
        ({"a": {"x": NAN}}, "'x, a' has the interval"),
    ],
)
def test_arms_that_cannot_be_drawn_are_named(groups, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        figures.arms(groups, xlabel="x")
