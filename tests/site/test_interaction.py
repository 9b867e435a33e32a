"""What a reader does on the site: search, slider, quiz, solutions; by keyboard and by mouse."""

import pytest

pytestmark = pytest.mark.browser

SLIDER, QUIZ = "[data-tl-frames]", "[data-tl-quiz]"


@pytest.fixture(scope="module")
def chapters(site):
    """Pages that were notebooks, as paths."""
    found = [p for p in (site / "book").rglob("*.html") if 'class="cell ' in p.read_text(encoding="utf-8")]
    if not found:
        pytest.fail("the site has no chapter")
    return [p.relative_to(site).as_posix() for p in sorted(found)]


def opened(page, chapters, selector):
    """Every widget of a kind in the book, each on its opened page; fails where there is none."""
    count = 0
    for path in chapters:
        page.goto(f"/{path}")
        for widget in page.locator(selector).all():
            count += 1
            yield widget
    assert count > 0, f"no {selector} in {chapters}"


def shown(slider):
    """Frame, label and spoken value of a slider, as they are now."""
    images = slider.locator("img").evaluate_all("all => all.map(i => !i.hidden && i.offsetHeight > 0)")
    assert images.count(True) == 1
    value = slider.locator("input").get_attribute("aria-valuetext")
    return images.index(True), slider.locator(".tl-now").inner_text(), value


def test_slider_shows_the_next_frame_on_an_arrow_key(page, chapters):
    for slider in opened(page, chapters, SLIDER):
        labels = slider.locator("img").evaluate_all("all => all.map(i => i.dataset.tlLabel)")
        slider.locator("input").focus()
        page.keyboard.press("Home")
        for n, label in enumerate(labels):
            assert shown(slider) == (n, label, label)
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert shown(slider)[0] == len(labels) - 2


def test_slider_shows_the_last_frame_when_dragged_to_its_end(page, chapters):
    for slider in opened(page, chapters, SLIDER):
        control = slider.locator("input")
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2, steps=6)
        page.mouse.up()
        assert shown(slider)[0] == slider.locator("img").count() - 1


def test_quiz_tells_why_when_answered_by_keyboard(page, chapters):
    for quiz in opened(page, chapters, QUIZ):
        for question in quiz.locator("fieldset").all():
            question.locator("input").first.focus()
            page.keyboard.press("Space")
            page.keyboard.press("ArrowDown")
            assert question.locator("input").nth(1).is_checked()
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            assert len(question.locator(".tl-feedback").inner_text()) > 20
        assert quiz.locator(".tl-score").inner_text().startswith("Right at the first try:")


def test_quiz_tells_something_else_for_every_answer_clicked(page, chapters):
    for quiz in opened(page, chapters, QUIZ):
        for question in quiz.locator("fieldset").all():
            said = []
            for option in question.locator("label").all():
                option.click()
                question.get_by_role("button", name="Check").click()
                said.append(question.locator(".tl-feedback").inner_text())
            assert len(set(said)) == len(said)
            assert sum(text.startswith("✓") for text in said) == 1


def test_solution_is_folded_and_opens_by_keyboard_and_by_mouse(page, chapters):
    for solution in opened(page, chapters, ".solution.dropdown"):
        content = solution.locator(":scope > section, :scope > .section, :scope > div, :scope > p").last
        button = solution.locator("button.toggle-button")
        assert not content.is_visible()
        button.focus()
        page.keyboard.press("Enter")
        assert content.is_visible()
        button.click()
        assert not content.is_visible()


def test_search_box_opened_by_keyboard_finds_a_word_of_the_chapter(page):
    page.goto("/book/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("LoRA")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=LoRA")
    page.locator("#search-results a[href*='transfer/finetuning']").first.wait_for()


@pytest.mark.parametrize(
    ("word", "where"), [("bootstrap", "reference/glossary"), ("electroluminescence", "reference/assets")]
)
def test_search_finds_a_word_of_a_reference_page_from_the_disk(browser, site, word, where):
    page = browser.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q={word}")
    page.locator(f"#search-results a[href*='{where}']").first.wait_for()
    page.close()


def test_theme_switch_works_by_keyboard_and_is_remembered(page):
    page.goto("/book/index.html")
    themes = set()
    for _ in range(3):
        page.locator("button.theme-switch-button").first.focus()
        page.keyboard.press("Enter")
        mode = page.evaluate("() => document.documentElement.dataset.mode")
        page.goto("/book/reference/glossary.html")
        assert page.evaluate("() => document.documentElement.dataset.mode") == mode
        themes.add(mode)
    assert themes == {"light", "dark", "auto"}
