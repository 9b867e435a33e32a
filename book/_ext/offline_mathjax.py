"""MathJax from the wheel sphinx-mathjax-offline instead of a content delivery network: one file, no request leaves."""

import importlib.util
import shutil
from pathlib import Path

from sphinx.application import Sphinx

BUNDLE = (
    "tex-svg-full.js"  # glyphs are drawn as SVG: no web fonts are loaded either
)


def bundle_path() -> Path:
    """The bundle inside the installed wheel; the package's name has hyphens, so it cannot be imported."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "sphinx-mathjax-offline is not installed; run `pip install -e .[book]`"
        )
    return Path(spec.origin).parent / "static" / "mathjax" / BUNDLE


def copy_bundle(app: Sphinx) -> None:
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle_path(), folder / BUNDLE)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect(
        "config-inited", lambda app, config: setattr(config, "mathjax_path", BUNDLE)
    )
    app.connect("builder-inited", copy_bundle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
