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


def mended_body(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Roles that docutils gives to references and ARIA forbids there; the link in a solution's title.

    docutils makes the bibliography a list whose items have the role doc-biblioentry, which ARIA 1.3 has dropped.
    sphinx-exercise puts the space before "Exercise 1" into the link.
    """
    if body := context.get("body"):
        body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        body = body.replace(' role="doc-biblioentry"', "")
        context["body"] = re.sub(r'(<p class="admonition-title">[^<]*\S)(<a [^>]*>) ', r"\1 \2", body)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", unique_solution_ids)
    app.connect("html-page-context", mended_body)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
