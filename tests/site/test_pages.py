"""Every page of the built site, as a reader's browser shows it."""

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml

pytestmark = pytest.mark.browser

COLAB = "https://colab.research.google.com/github"


LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "audio": "src"}


class References(HTMLParser):
    """The ids of a page, its links, and the files it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.title = text[text.find("<title>") + 7 : text.find("</title>")].strip()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get(LOADING.get(tag)):
            self.loads.append(found[LOADING[tag]])


@pytest.fixture(scope="module")
def references(site):
    files = [f for f in site.rglob("*.html") if "_static" not in f.relative_to(site).parts]
    return {f.relative_to(site).as_posix(): References(f.read_text(encoding="utf-8")) for f in files}


def test_page_asks_no_other_host_for_anything(page_path, visit, server):
    strangers = [u for u in visit(page_path).requests if not u.startswith((f"{server}/", "data:", "blob:"))]
    assert strangers == []


def test_page_loads_without_errors_in_the_console(page_path, visit):
    assert visit(page_path).errors == []


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_core_finds_nothing_serious(page_path, look, visit):
    assert visit(page_path).violations[look] == []


def test_dark_page_is_dark_and_light_page_is_light(page_path, visit):
    def brightness(look):
        colour = visit(page_path).background[look].removeprefix("rgba(").removeprefix("rgb(").rstrip(")")
        return sum(float(part) for part in colour.split(",")[:3]) / 3

    assert brightness("light") > 200 > 60 > brightness("dark")


def test_page_needs_no_sideways_scrolling_at_360_px(page_path, visit):
    assert visit(page_path).phone_width <= 360


def test_every_image_says_what_it_shows(page_path, visit):
    assert visit(page_path).images_without_alt == []


def test_every_page_has_a_title_of_its_own(references):
    titles = [page.title for path, page in references.items() if path != "index.html"]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_every_link_within_the_site_leads_somewhere(references, site):
    broken = []
    for path, page in references.items():
        for href in [*page.links, *page.loads]:
            target = urlsplit(urljoin(f"http://site/{path}", href))
            if target.netloc != "site" or target.scheme != "http":
                continue
            name, fragment = unquote(target.path).lstrip("/"), unquote(target.fragment)
            if not (site / name).is_file():
                broken.append(f"{path}: {href}")
            elif fragment and name in references and fragment not in references[name].ids:
                broken.append(f"{path}: {href} (no such place)")
    assert broken == []


def test_no_page_names_a_file_elsewhere_to_load(references):
    elsewhere = {
        f"{path}: {href}" for path, page in references.items() for href in page.loads if urlsplit(href).netloc
    }
    assert elsewhere == set()


def test_ids_of_a_page_are_unique(page_path, page):
    page.goto(f"/{page_path}")
    counted = page.evaluate("() => [...document.querySelectorAll('[id]')].map(e => e.id)")
    repeated = {name for name in counted if counted.count(name) > 1}
    assert repeated == set()


def test_every_chapter_opens_in_colab_from_the_repository(references, address, request):
    root = request.config.rootpath
    branch = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    repository = urlsplit(address).path.strip("/")
    chapters = sorted(p.relative_to(root).as_posix() for p in (root / "book").rglob("*.ipynb"))
    wanted = {c: f"{COLAB}/{repository}/blob/{branch}/{c}" for c in chapters if ".ipynb_checkpoints" not in c}
    pages = {c: references.get(c.replace(".ipynb", ".html")) for c in wanted}
    found = {c: [h for h in p.links if h.startswith(COLAB)] for c, p in pages.items() if p is not None}
    assert found
    assert found == {c: [wanted[c]] for c in found}


def test_audit_has_a_place_for_each_of_the_24_statements(references):
    ids = references["book/reference/audit.html"].ids
    assert {f"s{n}" for n in range(1, 25)} <= ids


def test_site_opened_from_the_disk_leads_to_the_book(browser, site):
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    assert page.get_by_role("heading", level=1).first.inner_text().startswith("Transfer Learning")
    page.close()
