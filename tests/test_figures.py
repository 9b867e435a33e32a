import io
import struct
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tlcourse import figures
from tlcourse.figures import basic


def interval(estimate, reach=0.02):
    return SimpleNamespace(estimate=estimate, low=estimate - reach, high=estimate + 2 * reach)


def png(ax):
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=ax.figure.dpi)
    return buffer.getvalue()


SIZES = [50, 100, 500, 2000]
CURVES = {
    "fine-tuned": (SIZES, [interval(0.6 + 0.05 * n) for n in range(4)]),
    "frozen": (SIZES, [interval(0.65 + 0.03 * n) for n in range(4)]),
    "random start": (SIZES, [interval(0.5 + 0.02 * n, 0.04) for n in range(4)]),
}
BANDS = {
    "BERT": ([1e6, 2e6, 4e6], [interval(10, 1), interval(20, 2), interval(25, 1)]),
    "ALBERT": ([1e6, 2e6, 4e6], [interval(9, 1), interval(17, 3), interval(22, 1)]),
}
LENGTHS = {
    "explicit": ([128, 256, 512], [interval(1, 0.1), interval(4, 0.2), interval(16, 0.5)]),
    "fused": (
        [128, 256, 512, 1024],
        [interval(1, 0.1), interval(3, 0.2), interval(10, 0.5), interval(35, 1)],
    ),
}
ARMS = {
    "gloss → class": {"random start": interval(40, 1), "bert-mini": interval(60, 2)},
    "sentiment": {"bert-mini": interval(55, 1), "MiniLM": interval(80, 1)},
}
HISTORY = SimpleNamespace(
    steps=list(range(1, 101)),
    losses=[1 / step for step in range(1, 101)],
    evaluations=[(50, 0.7), (100, 0.8)],
)
DRAWINGS = {
    "label_curve": lambda: figures.label_curve(CURVES, ylabel="macro-F1", reference_lines={"VADER": 0.6}),
    "learning_rate_curve": lambda: figures.learning_rate_curve(
        {"all layers": ([1e-5, 3e-5, 1e-4], [interval(0.7), interval(0.8), interval(0.75)])},
        ylabel="macro-F1",
        chosen=3e-5,
    ),
    "compare": lambda: figures.compare(
        {"LoRA − full": interval(-0.2, 0.5), "full − frozen": interval(3, 1)},
        xlabel="difference (percentage points)",
        reference=0,
        reference_label="no difference",
    ),
    "band_curve": lambda: figures.band_curve(
        BANDS, xlabel="tokens read", ylabel="accuracy, %", reference_lines={"left trigram": 26.0}
    ),
    "length_curve": lambda: figures.length_curve(
        LENGTHS, ylabel="time, ms", guides={"as the length": 1, "as its square": 2}
    ),
    "arms": lambda: figures.arms(ARMS, xlabel="macro-F1, %", reference=50),
    "scatter_grid": lambda: figures.scatter_grid(
        {"digits": {"small": ([0.1], [interval(0.7)]), "large": ([0.3], [interval(0.8)])}},
        xlabel="LogME, nats per sample",
        ylabel="accuracy",
    )[0],
    "training_curves": lambda: figures.training_curves({"full": HISTORY, "LoRA": HISTORY}, ylabel="macro-F1")[
        0
    ],
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_fits_the_text_column_and_weighs_under_60_kb(name):
    content = png(DRAWINGS[name]())
    width, _ = struct.unpack(">II", content[16:24])
    assert 700 <= width <= 800
    assert len(content) < 60_000


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_has_the_same_pixels_whatever_the_reader_s_settings(name):
    with plt.style.context("default"):
        once = png(DRAWINGS[name]())
    mine = {"lines.linewidth": 9, "figure.dpi": 50, "xtick.labelsize": 20, "image.cmap": "viridis"}
    with plt.style.context(["dark_background", mine]):
        again = png(DRAWINGS[name]())
    assert once == again


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_leaves_the_global_settings_alone(name):
    before = dict(matplotlib.rcParams)
    DRAWINGS[name]()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_has_labels_on_each_axis_that_has_numbers_and_a_white_ground(name):
    for ax in DRAWINGS[name]().figure.axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel() or name in ("compare", "arms")
        assert to_rgb(ax.get_facecolor()) == to_rgb(ax.figure.get_facecolor()) == (1, 1, 1)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_draws_nothing_outside_itself(name):
    figure = DRAWINGS[name]().figure
    figure.canvas.draw()
    tight = figure.get_tightbbox()
    assert tight.x0 >= 0 and tight.y0 >= 0
    assert tight.x1 <= figure.get_figwidth() and tight.y1 <= figure.get_figheight()


def relative_luminance(colour):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_first_four_colours_keep_contrast_three_to_one_on_white_or_come_with_a_marker():
    contrasts = [1.05 / (relative_luminance(colour) + 0.05) for colour in figures.PALETTE]
    assert [round(c, 1) >= 3 for c in contrasts[:3]] == [True] * 3
    assert len(set(figures.MARKERS)) == len(figures.MARKERS) == len(figures.PALETTE)


def test_label_curve_shows_estimates_and_whiskers_of_each_curve():
    ax = DRAWINGS["label_curve"]()
    for container, (sizes, intervals) in zip(ax.containers, CURVES.values(), strict=True):
        line, _, (whiskers,) = container
        assert np.allclose(line.get_xdata(), sizes, rtol=0.02)
        assert np.allclose(line.get_ydata(), [i.estimate for i in intervals])
        ends = np.array([segment[:, 1] for segment in whiskers.get_segments()])
        assert np.allclose(ends, [[i.low, i.high] for i in intervals])


def test_label_curve_names_curves_first_and_then_reference_lines():
    legend = DRAWINGS["label_curve"]().figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [*CURVES, "VADER"]


def test_label_curve_ticks_stand_at_the_sizes():
    ax = DRAWINGS["label_curve"]()
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["50", "100", "500", "2,000"]


def test_curves_at_one_size_stand_apart():
    ax = DRAWINGS["label_curve"]()
    first = [container[0].get_xdata()[0] for container in ax.containers]
    assert len(set(first)) == 3
    assert first[1] == pytest.approx(50)


def test_learning_rate_curve_ticks_are_the_rates_and_the_choice_is_marked():
    ax = DRAWINGS["learning_rate_curve"]()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1e-5", "3e-5", "1e-4"]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["all layers", "chosen: 3e-5"]
    assert list(ax.lines[-1].get_xdata()) == [3e-5, 3e-5]


@pytest.mark.parametrize(("rate", "text"), [(2e-5, "2e-5"), (2.5e-4, "2.5e-4"), (1.0, "1e0"), (0.1, "1e-1")])
def test_rates_read_as_they_are_written(rate, text):
    assert basic._rate(rate) == text


def test_learning_rate_curve_marks_nothing_without_a_choice():
    ax = figures.learning_rate_curve({"a": ([1e-4], [interval(0.7)])}, ylabel="accuracy")
    assert len(ax.lines) == 3  # the curve and the caps of its whisker


def test_compare_lists_rows_from_the_top_with_their_intervals():
    ax = DRAWINGS["compare"]()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["LoRA − full", "full − frozen"]
    assert ax.yaxis_inverted()
    whiskers, dots = ax.lines[0:4:2], ax.lines[1:4:2]
    assert np.allclose([line.get_xdata() for line in whiskers], [[-0.7, 0.8], [2, 5]])
    assert np.allclose([line.get_xdata()[0] for line in dots], [-0.2, 3])
    assert list(ax.lines[-1].get_xdata()) == [0, 0]
    assert [text.get_text() for text in ax.texts] == ["no difference"]


def test_compare_without_reference_or_its_label_draws_none():
    assert len(figures.compare({"a": interval(1)}, xlabel="x").lines) == 2
    ax = figures.compare({"a": interval(1)}, xlabel="x", reference=0)
    assert len(ax.lines) == 3 and not ax.texts


def test_training_curves_show_the_running_mean_of_the_loss_and_the_evaluations():
    loss, score = figures.training_curves({"full": HISTORY}, ylabel="macro-F1")
    line = loss.lines[0]
    slow = [sum(HISTORY.losses[n - 5 : n]) / 5 for n in range(5, 101)]
    assert np.allclose(line.get_ydata(), slow)
    assert list(line.get_xdata()) == list(range(5, 101))
    assert np.allclose(score.lines[0].get_xydata(), HISTORY.evaluations)


def test_training_curves_of_a_short_run_without_evaluations_show_every_loss():
    short = SimpleNamespace(steps=[1, 2, 3], losses=[3.0, 2.0, 1.0], evaluations=[])
    loss, score = figures.training_curves({"short": short}, ylabel="accuracy")
    assert list(loss.lines[0].get_ydata()) == [3, 2, 1]
    assert not score.lines


@pytest.mark.parametrize("shape", [(5, 12, 12), (5, 12, 12, 3)])
def test_image_grid_gives_each_image_its_title_and_hides_the_rest(shape):
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    axes = figures.image_grid(images, [f"cell {n}" for n in range(5)], columns=3)
    assert [ax.get_title() for ax in axes] == [f"cell {n}" for n in range(5)]
    for ax, image in zip(axes, images, strict=True):
        assert np.array_equal(ax.images[0].get_array(), image)
    assert not any(ax.axison for ax in axes[0].figure.axes)
    assert len(axes[0].figure.axes) == 6


def test_image_grid_spans_grey_bytes_from_black_to_white_and_fits_floats():
    assert figures.image_grid([np.full((4, 4), 7, np.uint8)], ["dark"])[0].images[0].get_clim() == (0, 255)
    floats = np.linspace(-1, 1, 16).reshape(4, 4)
    assert figures.image_grid([floats], ["any"])[0].images[0].get_clim() == (-1, 1)


def test_image_grid_fits_the_text_column():
    axes = figures.image_grid(np.zeros((8, 96, 96), np.uint8), ["a"] * 8, columns=4)
    width, height = struct.unpack(">II", png(axes[0])[16:24])
    assert (width, height) == (720, pytest.approx(410, abs=30))


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: figures.label_curve({}, ylabel="y"), "no curves to draw; give name"),
        (lambda: figures.label_curve({"a": ([], [])}, ylabel="y"), "curve 'a' has 0 positions, 0 intervals"),
        (lambda: figures.label_curve({"a": ([1, 2], [interval(1)])}, ylabel="y"), "2 positions, 1 intervals"),
        (
            lambda: figures.label_curve({"a": ([0], [interval(1)])}, ylabel="y"),
            "starts at 0, .* reference line",
        ),
        (
            lambda: figures.label_curve({"a": ([1], [interval(np.nan)])}, ylabel="y"),
            "'a' has the interval .*nan",
        ),
        (lambda: figures.compare({}, xlabel="x"), "compare got no rows"),
        (
            lambda: figures.compare({"b": interval(np.inf)}, xlabel="x"),
            "'b' has the interval .*inf.* would vanish",
        ),
        (lambda: figures.training_curves({}, ylabel="y"), "training_curves got no histories"),
        (lambda: figures.image_grid([], []), "0 images and 0 titles"),
        (
            lambda: figures.image_grid(np.zeros((2, 4, 4)), ["one"]),
            "2 images and 1 titles; give one title per image",
        ),
    ],
)
def test_undrawable_data_raises_naming_it(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()
