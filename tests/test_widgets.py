import base64
import contextlib
import importlib.util
import io
import os
import re
import shutil
import wave
from html.parser import HTMLParser
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from tlcourse import widgets
from tlcourse.checkers.transfer.finetuning import QUIZ
from tlcourse.widgets import Option, Question

BROWSER_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LABELS = ["none", "half", "all <of> it"]


def png(shade, size=(720, 300)):
    buffer = io.BytesIO()
    Image.new("L", size, shade).save(buffer, format="PNG")
    return buffer.getvalue()


def slider(id="weights", n=3):
    return widgets.frames(
        [png(60 * k) for k in range(n)],
        (LABELS * 4)[:n],
        id=id,
        title="Share of the tuned weights",
        alt="Accuracy by domain",
    )


def two_questions(id="small-quiz"):
    return widgets.quiz(
        id,
        [
            Question(
                "What does `freeze` do?",
                (
                    Option("It stops `updates`.", "No gradient, no step.", right=True),
                    Option("It cools.", "Not that kind."),
                ),
            ),
            Question(
                "1 < 2?", (Option("No.", "It is."), Option("Yes.", "Count.", right=True), Option("?", "!"))
            ),
        ],
    )


TONE = 0.9 * np.sin(np.arange(4000) / 5)  # half a second


def players(id="tones"):
    return widgets.sounds([TONE, -TONE / 2], ["loud", "half <as> loud"], rate=8000, id=id, title="Two tones")


class Structure(HTMLParser):
    """Elements with their attributes, and whether each opened one is closed."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_slider_holds_every_image_with_its_own_alternative_text_and_shows_the_first():
    structure = Structure(slider()._repr_html_())
    assert structure.open == []
    images = structure.all("img")
    assert [image["alt"] for image in images] == [f"Accuracy by domain ({label})" for label in LABELS]
    assert ["hidden" in image for image in images] == [False, True, True]
    assert [image["src"] for image in images] == [
        "data:image/png;base64," + base64.b64encode(png(60 * k)).decode() for k in range(3)
    ]
    assert {(image["width"], image["height"]) for image in images} == {("720", "300")}


def test_slider_is_named_by_its_title_and_speaks_its_labels():
    structure = Structure(slider()._repr_html_())
    (control,) = structure.all("input")
    assert control | {"aria-labelledby": "weights-title", "aria-valuetext": "none", "max": "2"} == control
    assert "weights-title" in [p.get("id") for p in structure.all("p")]


def test_slider_takes_a_text_for_each_image():
    made = widgets.frames([png(0), png(9)], ["a", "b"], id="x", title="t", alt=["first", "second"])
    assert [image["alt"] for image in Structure(made._repr_html_()).all("img")] == ["first", "second"]


def test_slider_takes_figures_and_axes_at_their_own_size_and_closes_them():
    figure, ax = plt.subplots(figsize=(4, 2), dpi=50)
    other, _ = plt.subplots(figsize=(4, 2), dpi=50)
    made = widgets.frames([ax, other], ["a", "b"], id="x", title="t", alt="plots")
    assert plt.get_fignums() == []
    assert {(i["width"], i["height"]) for i in Structure(made._repr_html_()).all("img")} == {("200", "100")}
    with plt.rc_context({"savefig.bbox": "tight", "savefig.dpi": 300}):
        again = widgets.frames([figure, other], ["a", "b"], id="x", title="t", alt="plots")
    assert again._repr_html_() == made._repr_html_()


def test_players_are_named_by_their_labels_and_hold_the_waveforms():
    structure = Structure(players()._repr_html_())
    assert structure.open == []
    names = {p["id"] for p in structure.all("p") if "id" in p}
    assert [audio["aria-labelledby"] for audio in structure.all("audio")] == ["tones-1", "tones-2"]
    assert names == {"tones-1", "tones-2"}
    for audio, waveform in zip(structure.all("audio"), (TONE, -TONE / 2), strict=True):
        assert "controls" in audio and "autoplay" not in audio
        kind, data = audio["src"].split(",")
        with wave.open(io.BytesIO(base64.b64decode(data))) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        assert (kind, form) == ("data:audio/wav;base64", (1, 2, 8000))
        assert np.abs(samples / 32767 - waveform).max() <= 0.5 / 32767  # half a step


@pytest.mark.parametrize("make", [slider, players, two_questions, lambda: widgets.quiz("q", QUIZ)])
def test_html_is_the_same_each_time_and_reaches_for_nothing_outside(make):
    html = make()._repr_html_()
    assert html == make()._repr_html_()
    text = re.sub('base64,[^"]*', "", html)
    assert not re.search(r"https?:|//[a-z]|@import|\bfetch\(|XMLHttpRequest", text)
    assert len(text) < 16_000


@pytest.mark.parametrize("make", [slider, players, two_questions])
def test_html_without_images_and_sounds_equals_on_another_machine(make):
    """What is compared of a stored output, once these are taken out by this pattern, is plain text."""
    html = re.sub(r"data:(image/png|audio/wav);base64,[A-Za-z0-9+/=]+", "DATA", make()._repr_html_())
    assert all(len(line) < 400 for line in html.splitlines())


def test_every_control_keeps_its_keys_from_jupyterlab():
    for made in (slider(), players(), two_questions()):
        structure = Structure(made._repr_html_())
        controls = [each for tag in ("input", "button", "audio") for each in structure.all(tag)]
        assert controls and all(control["data-lm-suppress-shortcuts"] == "true" for control in controls)


def test_text_forms_name_the_widgets():
    assert repr(slider()) == "<slider 'weights': 3 frames, 'none' to 'all <of> it'>"
    assert repr(players()) == "<players 'tones': 'loud', 'half <as> loud'>"
    assert repr(two_questions()) == "<quiz 'small-quiz': 2 questions>"


def test_quiz_groups_options_under_their_question_and_escapes_text():
    html = two_questions()._repr_html_()
    structure = Structure(html)
    assert structure.open == []
    assert [i["name"] for i in structure.all("input")] == ["small-quiz-1"] * 2 + ["small-quiz-2"] * 3
    assert len(structure.all("legend")) == len(structure.all("fieldset")) == 2
    assert "<legend>1. What does <code>freeze</code> do?</legend>" in html
    assert "<legend>2. 1 &lt; 2?</legend>" in html
    assert [p["aria-live"] for p in structure.all("p") if "aria-live" in p] == ["polite"] * 2
    assert ["data-tl-right" in li for li in structure.all("li")] == [True, False, False, True, False]


GOOD = (Option("a", "because"), Option("b", "since", right=True))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: slider(n=1),
            "slider 'weights' has 1 images and 1 labels; give a label for each of 2 to 12 images",
        ),
        (lambda: slider(n=13), "has 13 images and 12 labels"),
        (
            lambda: widgets.frames([png(1)] * 13, list("abcdefghijklm"), id="x", title="t", alt="a"),
            "13 images",
        ),
        (lambda: widgets.frames([png(1)] * 2, ["a"], id="x", title="t", alt="a"), "2 images and 1 labels"),
        (
            lambda: widgets.frames([png(1)] * 2, ["a", "b"], id="x", title="t", alt=["a"]),
            "1 alt texts; give one for",
        ),
        (lambda: widgets.frames([png(1)] * 2, ["a", "b"], id="x", title="t", alt=""), "0 alt texts"),
        (
            lambda: widgets.frames([png(1)] * 2, ["a", "b"], id="x", title="t", alt=["a", " "]),
            "an empty text",
        ),
        (lambda: widgets.frames([png(1)] * 2, ["a", ""], id="x", title="t", alt="a"), "an empty text among"),
        (lambda: widgets.frames([png(1)] * 2, ["a", 2], id="x", title="t", alt="a"), "an empty text among"),
        (lambda: widgets.frames([png(1)] * 2, ["a", "b"], id="x", title="", alt="a"), "an empty text among"),
        (
            lambda: widgets.frames([png(1), png(1, (9, 9))], ["a", "b"], id="x", title="t", alt="a"),
            r"images of sizes \[\(9, 9\), \(720, 300\)\]; draw all with one figsize",
        ),
        (
            lambda: widgets.frames([b"GIF89a", png(1)], ["a", "b"], id="x", title="t", alt="a"),
            "bytes that start with b'GIF89a' are no PNG",
        ),
        (
            lambda: widgets.frames([png(1)[:20], png(1)], ["a", "b"], id="x", title="t", alt="a"),
            "are no PNG; pass figures or PNG bytes",
        ),
        (lambda: slider(id="My slider"), "widget id 'My slider': use lower-case letters"),
        (lambda: slider(id='x"><script>'), "widget id"),
        (lambda: players(id="1"), "widget id '1'"),
        (lambda: widgets.sounds([], [], rate=8000, id="x", title="t"), "0 waveforms and 0 labels"),
        (
            lambda: widgets.sounds([TONE], ["a", "b"], rate=8000, id="x", title="t"),
            "1 waveforms and 2 labels",
        ),
        (lambda: widgets.sounds([TONE], [""], rate=8000, id="x", title="t"), "an empty text among"),
        (
            lambda: widgets.sounds([TONE, 2 * TONE], ["a", "b"], rate=8000, id="x", title="t"),
            r"players 'x', sound 1 has shape \(4000,\) and samples up to 1.8; give one row of numbers in −1…1",
        ),
        (lambda: widgets.sounds([TONE[:, None]], ["a"], rate=8000, id="x", title="t"), r"shape \(4000, 1\)"),
        (lambda: widgets.sounds([TONE[:0]], ["a"], rate=8000, id="x", title="t"), r"shape \(0,\)"),
        (lambda: widgets.sounds([TONE * np.nan], ["a"], rate=8000, id="x", title="t"), "samples up to nan"),
        (lambda: widgets.quiz("1", [Question("q", GOOD)]), "widget id '1'"),
        (lambda: widgets.quiz("q", []), "quiz 'q' has no questions; give at least one"),
        (lambda: Question("", GOOD), "question '' has an empty text"),
        (lambda: Question("q", (GOOD[1],)), "has 1 options, 1 of them right; give two or more, exactly one"),
        (lambda: Question("q", (GOOD[0], Option("c", "x"))), "has 2 options, 0 of them right"),
        (lambda: Question("q", (*GOOD, Option("c", "x", right=True))), "has 3 options, 2 of them right"),
        (lambda: Question("q", (*GOOD, Option("c", ""))), "question 'q' has an empty text among"),
        (lambda: Question("q", (*GOOD, Option("", "c"))), "question 'q' has an empty text among"),
        (lambda: Question("q", (*GOOD, GOOD[0])), r"offers \['a'\] twice; give each option once"),
    ],
)
def test_unusable_input_raises_naming_it(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "Chromium or Playwright is missing: install Debian's package chromium and the extra tlcourse[test]"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        yield browser
        browser.close()


def site_styles():
    """The theme's own style sheets, which the widgets take their colours from."""
    files = {
        "pydata_sphinx_theme": "pydata-sphinx-theme.css",
        "sphinx_book_theme": "sphinx-book-theme.css",
    }
    for package, name in files.items():
        found = importlib.util.find_spec(package)
        if found is None:
            pytest.skip(f"{package} is missing: install the extra tlcourse[book]")
        folder = Path(found.origin).parent / "theme" / package / "static" / "styles"
        yield (folder / name).read_text(encoding="utf-8")


@contextlib.contextmanager
def opened(browser, tmp_path, *made, theme="light", width=900, styles=(), scripts=True):
    """A page of the site's structure with the widgets in it; fails on anything asked of the network or logged."""
    body = "".join(
        f'<div class="cell_output"><div class="output text_html">{w._repr_html_()}</div></div>' for w in made
    )
    file = tmp_path / "page.html"
    file.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Page</title>'
        f'<meta name="viewport" content="width=device-width"><style>{"".join(styles)}</style></head>'
        f'<body><main class="bd-content"><h1>Page</h1>{body}</main></body></html>',
        encoding="utf-8",
    )
    page = browser.new_page(viewport={"width": width, "height": 800}, java_script_enabled=scripts)
    page.set_default_timeout(60_000)  # a busy machine is not a fault
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None
    )
    try:
        page.goto(file.as_uri())
        yield page
        assert complaints == []
    finally:
        page.close()


def visible_image(page, id):
    root = page.locator(f'[data-tl-frames="{id}"]')
    return [n for n, image in enumerate(root.locator("img").all()) if image.is_visible()]


@pytest.mark.browser
def test_slider_moves_by_keyboard_and_tells_where_it_stands(browser, tmp_path):
    with opened(browser, tmp_path, slider()) as page:
        control = page.get_by_role("slider", name="Share of the tuned weights")
        assert visible_image(page, "weights") == [0]
        page.keyboard.press("Tab")
        assert control.evaluate("e => e === document.activeElement")
        for key, shown in [
            ("ArrowRight", 1),
            ("ArrowUp", 2),
            ("ArrowRight", 2),
            ("Home", 0),
            ("End", 2),
            ("ArrowLeft", 1),
        ]:
            page.keyboard.press(key)
            assert visible_image(page, "weights") == [shown]
            assert control.get_attribute("aria-valuetext") == LABELS[shown]
            assert page.locator(".tl-now").inner_text() == LABELS[shown]


@pytest.mark.browser
def test_slider_moves_by_mouse(browser, tmp_path):
    with opened(browser, tmp_path, slider()) as page:
        box = page.locator("#weights").bounding_box()
        page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
        assert visible_image(page, "weights") == [2]


@pytest.mark.browser
def test_a_sound_plays_when_asked_by_keyboard_and_not_before(browser, tmp_path):
    with opened(browser, tmp_path, players()) as page:
        page.keyboard.press("Tab")
        first, second = page.locator("audio").all()
        assert first.evaluate("e => e === document.activeElement")
        page.wait_for_function("() => [...document.querySelectorAll('audio')].every(a => a.duration === 0.5)")
        assert first.evaluate("a => a.paused && a.currentTime === 0")
        page.keyboard.press("Space")
        page.wait_for_function("() => document.querySelector('audio').currentTime > 0.2")
        assert second.evaluate("a => a.paused && a.currentTime === 0")


@pytest.mark.browser
def test_two_sliders_and_a_quiz_on_one_page_do_not_disturb_each_other(browser, tmp_path):
    with opened(
        browser, tmp_path, slider(), two_questions(), slider("other", 4), two_questions("second")
    ) as page:
        page.locator("#other").press("End")
        assert visible_image(page, "weights") == [0]
        assert visible_image(page, "other") == [3]
        page.locator('[data-tl-quiz="second"] fieldset').nth(0).get_by_label("It cools.").check()
        assert page.locator("input:checked").count() == 1
        ids = page.evaluate("Array.from(document.querySelectorAll('[id]'), e => e.id)")
        assert len(set(ids)) == len(ids)


@pytest.mark.browser
def test_widgets_leave_no_name_behind_in_the_page(browser, tmp_path):
    names = "Object.getOwnPropertyNames(window).filter(n => !/^\\d+$/.test(n)).sort()"
    with opened(browser, tmp_path) as page:
        before = page.evaluate(names)
    with opened(browser, tmp_path, slider(), two_questions()) as page:
        # An element with an id is reachable as a property of window, but is no property of its own.
        assert page.evaluate(names) == before


@pytest.mark.browser
def test_a_widget_put_into_the_page_twice_works_in_both_places(browser, tmp_path):
    """JupyterLab runs the script again for each view of one output."""
    with opened(browser, tmp_path, slider(), slider()) as page:
        for n in (0, 1):
            page.locator("#weights").nth(n).press("ArrowRight")
            shown = page.locator("[data-tl-frames]").nth(n).locator("img:visible")
            assert shown.count() == 1 and LABELS[1] in shown.get_attribute("alt")


@pytest.mark.browser
def test_quiz_answers_by_keyboard_with_reasons_and_a_score_of_first_tries(browser, tmp_path):
    with opened(browser, tmp_path, two_questions()) as page:
        first, second = page.get_by_role("group").all()
        score = page.locator(".tl-score")
        assert not page.locator("details").first.is_visible()
        page.keyboard.press("Tab")  # to the first question's options
        page.keyboard.press("Tab")  # past them, nothing chosen, to its button
        page.keyboard.press("Enter")
        assert first.locator(".tl-feedback").inner_text() == "Choose an answer first."
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        assert first.locator(".tl-feedback").inner_text() == "✗ Not this. Not that kind."
        first.get_by_label("It stops updates.").check()
        first.get_by_role("button", name="Check").click()
        assert first.locator(".tl-feedback").inner_text() == "✓ Right. No gradient, no step."
        assert score.inner_text() == ""
        second.get_by_label("Yes.").check()
        second.get_by_role("button").press("Enter")
        assert second.locator(".tl-feedback").inner_text() == "✓ Right. Count."
        assert score.inner_text() == "Right at the first try: 1 of 2."


@pytest.mark.browser
def test_a_script_that_runs_again_keeps_the_count_of_first_tries(browser, tmp_path):
    with opened(browser, tmp_path, two_questions()) as page:
        first, second = page.get_by_role("group").all()
        first.get_by_label("It cools.").check()
        first.get_by_role("button").click()
        page.evaluate("eval(document.querySelector('[data-tl-quiz] ~ script').textContent)")
        for group, answer in ((first, "It stops updates."), (second, "Yes.")):
            group.get_by_label(answer).check()
            group.get_by_role("button").click()
        assert page.locator(".tl-score").inner_text() == "Right at the first try: 1 of 2."


@pytest.mark.browser
def test_every_option_of_the_chapter_s_quiz_gives_its_own_reason(browser, tmp_path):
    with opened(browser, tmp_path, widgets.quiz("chapter", QUIZ)) as page:
        for question, group in zip(QUIZ, page.get_by_role("group").all(), strict=True):
            for n, option in enumerate(question.options):
                group.locator("input").nth(n).check()
                group.get_by_role("button").click()
                told = group.locator(".tl-feedback").inner_text()
                assert (
                    told
                    == f"{'✓ Right.' if option.right else '✗ Not this.'} {option.reason.replace('`', '')}"
                )


@pytest.mark.browser
def test_without_scripts_the_first_image_and_the_answers_are_there(browser, tmp_path):
    with opened(browser, tmp_path, slider(), two_questions(), scripts=False) as page:
        assert visible_image(page, "weights") == [0]
        assert not page.locator("#weights").is_visible()
        assert not page.get_by_role("button").first.is_visible()
        page.locator("summary").first.click()
        assert page.get_by_text("No gradient, no step.").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("styled", [True, False])
def test_widgets_pass_axe_and_never_scroll_sideways(browser, tmp_path, theme, width, styled):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    styles = tuple(site_styles()) if styled else ()
    made = (slider(), players(), widgets.quiz("chapter", QUIZ))
    with opened(browser, tmp_path, *made, theme=theme, width=width, styles=styles) as page:
        for group in page.get_by_role("group").all():
            group.locator("input").first.check()
            group.get_by_role("button").click()
        assert page.locator(".tl-score").inner_text() != ""
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.run(page, options={"preload": False})  # else it waits for the sounds
        found = found.response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
