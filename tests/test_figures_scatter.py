"""Scores against measurements: every point where it belongs, one look a kind, nothing dropped in silence."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlcourse import figures


def interval(estimate, low, high):
    return SimpleNamespace(estimate=estimate, low=low, high=high)


PANELS = {
    "digits": {
        "small": ([0.1, -0.4], [interval(70, 68, 73), interval(60, 55, 61)]),
        "large": ([0.9], [interval(90, 89, 92)]),
    },
    "solar": {
        "large": ([2.0], [interval(80, 79, 81)]),
        "random": ([1.5], [interval(50, 50, 50)]),
    },
    "words": {"small": ([3.0], [interval(65, 64, 66)])},
    "topics": {"random": ([4.0], [interval(12, 10, 15)])},
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn(panels=PANELS, **options):
    return figures.scatter_grid(panels, xlabel="LogME, nats", ylabel="accuracy, %", **options)


def test_every_point_and_whisker_is_where_it_belongs():
    axes = drawn()
    assert [ax.get_title() for ax in axes] == list(PANELS)
    for ax, panel in zip(axes, PANELS.values(), strict=True):
        for container, (kind, (scores, intervals)) in zip(ax.containers, panel.items(), strict=True):
            assert container.get_label() == kind
            points, _, (whiskers,) = container.lines
            assert np.array_equal(points.get_xydata(), np.c_[scores, [i.estimate for i in intervals]])
            assert points.get_linestyle() == "None"
            wanted = [[(x, i.low), (x, i.high)] for x, i in zip(scores, intervals, strict=True)]
            assert np.allclose(np.array(whiskers.get_segments()), wanted)
    assert {(ax.get_xlabel(), ax.get_ylabel()) for ax in axes} == {("LogME, nats", "accuracy, %")}


def test_a_kind_looks_the_same_in_every_panel_and_is_named_once():
    axes = drawn()
    looks = {}
    for ax in axes:
        for container in ax.containers:
            look = container.lines[0].get_color(), container.lines[0].get_marker()
            assert looks.setdefault(container.get_label(), look) == look
    assert len(set(looks.values())) == 3
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["small", "large", "random"]
    shown = [plt.matplotlib.colors.to_hex(handle.get_color()[0]) for handle in legend.legend_handles]
    assert shown == [colour.lower() for colour, _ in looks.values()]


@pytest.mark.parametrize(("columns", "shape"), [(3, (2, 3)), (2, (2, 2)), (9, (1, 4))])
def test_panels_fill_rows_and_what_is_left_over_is_blank(columns, shape):
    axes = drawn(columns=columns)
    everything = axes[0].figure.axes
    assert len(axes) == 4 and len(everything) == shape[0] * shape[1]
    assert axes[0].get_gridspec().get_geometry() == shape
    assert [ax.axison for ax in everything] == [True] * 4 + [False] * (len(everything) - 4)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "scatter_grid got no panels; give title → kind"),
        ({"digits": {}}, "panel 'digits' has no points; leave it out"),
        ({"digits": {"small": ([], [])}}, "'small, digits' has 0 scores and 0 intervals; give one each"),
        ({"digits": {"small": ([1.0, 2.0], [interval(1, 1, 1)])}}, "has 2 scores and 1 intervals"),
        (
            {"digits": {"small": ([np.inf], [interval(1, 1, 1)])}},
            "'small, digits' has a score that is not finite",
        ),
        ({"digits": {"small": ([1.0], [interval(1, np.nan, 1)])}}, "'small, digits' has the interval"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(panels, message):
    with pytest.raises(ValueError, match=message):
        drawn(panels)
