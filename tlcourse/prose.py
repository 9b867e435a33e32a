"""Numbers in the text of a chapter come from its run: `say` stores them, `` {glue:md}`name` `` shows them."""

from IPython.display import display

MIME = "application/papermill.record/text/markdown"


def say(**numbers: str) -> None:
    """Store short texts under their names for the prose around the cell; nothing is shown where it is called.

    Give finished strings, rounded as they shall be read: `say(gain=f"{gain:.1f}")`. Raises TypeError on anything else.
    """
    for name, text in numbers.items():
        if not isinstance(text, str):
            raise TypeError(f"{name}={text!r} is no string; round it first, e.g. f'{{{name}:.1f}}'")
        key = name.replace("_", "-")
        scrap = {"name": key, "mime_prefix": "application/papermill.record/"}
        display(
            {MIME: text, MIME.replace("markdown", "plain"): text}, raw=True, metadata={"scrapbook": scrap}
        )
