"""What the theme and its extensions get wrong for readers of a screen, put right in the page that is written."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def unique_exercise_ids(app: Sphinx, doctree: nodes.document) -> None:
    """sphinx-exercise gives the content of every exercise and of every solution the same id; an id may stand once."""
    for name in ("exercise-content", "solution-content"):
        repeated = [
            section
            for section in doctree.findall(nodes.section)
            if name in section["ids"]
        ]
        for count, section in enumerate(repeated, 1):
            section["ids"] = [f"{name}-{count}"]


def mended_body(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Roles that docutils gives to references and ARIA forbids there; the link in a solution's title.

    docutils makes the bibliography a list whose items have the role doc-biblioentry, which ARIA 1.3 has dropped.
    sphinx-exercise puts the space before "Exercise 1" into the link.
    """
    if body := context.get("body"):
        body = body.replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )
        body = body.replace(' role="doc-biblioentry"', "")
        context["body"] = re.sub(
            r'(<p class="admonition-title">[^<]*\S)(<a [^>]*>) ', r"\1 \2", body
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", unique_exercise_ids)
    app.connect("html-page-context", mended_body)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
