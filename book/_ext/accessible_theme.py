"""What the theme and its extensions get wrong for readers of a screen, put right in the page that is written."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def unique_solution_ids(app: Sphinx, doctree: nodes.document) -> None:
    """sphinx-exercise gives every solution of a page the id `solution-content`; an id may stand once."""
    solutions = [s for s in doctree.findall(nodes.section) if "solution-content" in s["ids"]]
    for count, section in enumerate(solutions, 1):
        section["ids"] = [f"solution-content-{count}"]


def plain_references(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """docutils marks references as a list of items of a role that ARIA 1.3 has dropped: neither is allowed there."""
    if body := context.get("body"):
        body = re.sub(r'<div role="list" class="citation-list">', '<div class="citation-list">', body)
        context["body"] = body.replace(' role="doc-biblioentry"', "")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", unique_solution_ids)
    app.connect("html-page-context", plain_references)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
