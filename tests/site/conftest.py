"""The built site, served on this machine only, and headless Chromium to look at it."""

import contextlib
import functools
import os
import shutil
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
# Rules on colour on a light and on a dark desktop, all others on a light desktop and on a phone.
COLOUR = ["color-contrast", "link-in-text-block"]
LOOKS = {
    "light": ("light", DESKTOP, ("colour", "others")),
    "dark": ("dark", DESKTOP, ("colour",)),
    "phone": ("light", PHONE, ("others",)),
}
OTHERS = {"rules": {rule: {"enabled": False} for rule in COLOUR}}
# The colour of a word of code comes from its class, so code without a new class is not looked at again: thousands of
# words, on which a page of much code spent nine tenths of its time.
REPEATED = """() => {
  const seen = new Set();
  for (const code of document.querySelectorAll("div.highlight")) {
    const behind = getComputedStyle(code).backgroundColor;
    const words = [code, ...code.querySelectorAll("span")].map(word => `${word.className} ${behind}`);
    code.toggleAttribute("data-repeated", words.every(word => seen.has(word)));
    words.forEach(word => seen.add(word));
  }
}"""
AXE = {
    "colour": (
        "options => axe.run({exclude: ['[data-repeated]']}, {preload: false, ...options})",
        {"runOnly": COLOUR, "resultTypes": ["violations"]},
    ),
    "others": (
        "options => axe.run(document, {preload: false, ...options})",
        OTHERS | {"resultTypes": ["violations"]},
    ),
}


@dataclass
class Visit:
    """What one page did when it was opened: light, dark, and on a phone."""

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    phone_width: int = 0
    images_without_alt: list[str] = field(default_factory=list)
    background: dict[str, str] = field(default_factory=dict)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        with contextlib.suppress(ConnectionError):  # the browser left the page before it had everything
            super().copyfile(source, outputfile)


def pages_of_toc() -> list[str]:
    """Pages of the site, as paths: those of _toc.yml in their order, and the search page."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [f"{name}.html" for name in [toc["root"], *files]] + ["search.html"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page_path" in metafunc.fixturenames:
        metafunc.parametrize("page_path", pages_of_toc())


@pytest.fixture(scope="session")
def address() -> str:
    """The repository's public address, from the one place where it stands."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


@pytest.fixture(scope="session")
def site() -> Path:
    if not (SITE / "index.html").is_file():
        pytest.fail("the site is not built; run: make site", pytrace=False)
    return SITE


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    """The address under which the site is served."""
    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="session")
def browser(site: Path):
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        message = (
            "chromium is not installed; install it (Debian: apt-get install chromium) or name it in CHROMIUM"
        )
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def page(browser, server):
    """A fresh page of desktop size whose relative addresses are the site's."""
    context = browser.new_context(base_url=server, viewport=DESKTOP, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def visit(browser, server):
    """A function: path of a page → its Visit, made once per page."""
    from axe_playwright_python.base import AXE_SCRIPT

    @functools.cache
    def make(path: str) -> Visit:
        context = browser.new_context(base_url=server, viewport=DESKTOP, reduced_motion="reduce")
        page, seen = context.new_page(), Visit()
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("console", lambda said: seen.errors.append(said.text) if said.type == "error" else None)
        page.on("response", lambda r: seen.errors.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.emulate_media(color_scheme="light")
        page.goto(f"/{path}")
        page.wait_for_function("() => !window.MathJax || !MathJax.startup || MathJax.startup.promise")
        seen.images_without_alt = page.locator("main img:not([alt]), main img[alt='']").evaluate_all(
            "images => images.map(image => image.outerHTML.slice(0, 120))"
        )
        page.evaluate(AXE_SCRIPT)
        page.evaluate(REPEATED)
        for look, (scheme, size, rules) in LOOKS.items():
            page.emulate_media(color_scheme=scheme)
            if page.viewport_size != size:
                page.set_viewport_size(size)
                page.wait_for_timeout(500)  # after that the theme makes what now scrolls focusable
            page.wait_for_function(f"() => document.documentElement.dataset.theme === '{scheme}'")
            seen.background[look] = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
            seen.violations[look] = [line for kind in rules for line in serious(page.evaluate(*AXE[kind]))]
        seen.phone_width = page.evaluate("() => document.documentElement.scrollWidth")
        context.close()
        return seen

    return make


def serious(result: dict) -> list[str]:
    """axe-core's serious and critical findings, one line for each element."""
    return [
        f"{found['id']} ({found['impact']}): {node['target']} {node['html'][:160]}"
        for found in result["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]
