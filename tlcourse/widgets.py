"""Controls that work on a static page, without a kernel, a network or a library.

Each returns an object that a notebook shows as HTML: a few elements, a short inline style, a short inline
script. The HTML is the same every time, so that a stored output can be compared; only the images inside it
depend on the machine.
"""

import base64
import io
import re
import struct
from collections.abc import Sequence
from html import escape
from typing import Any

MAX_FRAMES = 12

_STYLE = """<style>
.tl-widget{box-sizing:border-box;max-width:46rem;margin:1rem 0;padding:.75rem 1rem;border-radius:.4rem;
border:1px solid var(--pst-color-border,var(--jp-border-color1,#767676));
color:var(--pst-color-text-base,var(--jp-content-font-color1,inherit));
background:var(--pst-color-background,var(--jp-layout-color1,transparent))}
.tl-widget *{box-sizing:border-box}
.tl-widget [hidden]{display:none!important}
.tl-widget :focus-visible{outline-offset:2px;
outline:3px solid var(--pst-color-primary,var(--jp-brand-color1,#0072b2))}
.tl-widget .tl-title{font-weight:600;margin:0 0 .5rem}
.tl-widget img{display:block;width:100%;max-width:100%;height:auto;margin:0;background:#fff}
.tl-widget .tl-control{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:center;margin-top:.5rem}
.tl-widget input[type=range]{flex:1 1 10rem;min-width:0;height:1.75rem;margin:0;
accent-color:var(--pst-color-primary,var(--jp-brand-color1,#0072b2))}
</style>"""

_FRAMES_SCRIPT = """<script>
document.querySelectorAll('[data-tl-frames="ID"]:not([data-tl-on])').forEach(function (root) {
  root.dataset.tlOn = "";
  var slider = root.querySelector("input"), now = root.querySelector(".tl-now");
  var images = root.querySelectorAll("img");
  function show() {
    images.forEach(function (image, n) { image.hidden = n !== +slider.value; });
    now.textContent = images[slider.value].dataset.tlLabel;
    slider.setAttribute("aria-valuetext", now.textContent);
  }
  slider.addEventListener("input", show);
  root.querySelector(".tl-control").hidden = false;
  show();
});
</script>"""


class Widget:
    """HTML that a notebook and the site show as it is; its text form names it only."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


def frames(
    images: Sequence[Any], labels: Sequence[str], *, id: str, title: str, alt: str | Sequence[str]
) -> Widget:
    """A slider that shows one image at a time, operated by mouse, touch or arrow keys.

    images: 2…12 matplotlib figures (or Axes), or PNG bytes, all of one size in pixels; figures are closed,
    so that the notebook does not show them again. labels: what the slider reads at each. id: unique on the
    page. title: what the slider changes. alt: what to see, one text per image, or one for all, to which the
    image's label is added. Raises ValueError on a wrong number, on different sizes, on empty text.
    """
    if not 2 <= len(images) <= MAX_FRAMES or len(images) != len(labels):
        raise ValueError(
            f"slider {id!r} has {len(images)} images and {len(labels)} labels; "
            f"give one label for each of 2 to {MAX_FRAMES} images"
        )
    alts = [f"{alt} ({label})" for label in labels] if isinstance(alt, str) and alt else list(alt)
    if len(alts) != len(images):
        raise ValueError(
            f"slider {id!r} has {len(images)} images and {len(alts)} alt texts; give one for each, or one"
        )
    _check_id(id)
    _check_texts(f"slider {id!r}", [title, *labels, *alts])
    pngs = [_png(image) for image in images]
    sizes = [_size(png, id) for png in pngs]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"slider {id!r}: images of different sizes {sorted(set(sizes))}; draw all with one figsize"
        )
    width, height = sizes[0]
    shown = "\n".join(
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(text)}" '
        f'width="{width}" height="{height}" data-tl-label="{escape(label)}"{" hidden" if n else ""}>'
        for n, (png, text, label) in enumerate(zip(pngs, alts, labels, strict=True))
    )
    html = f"""{_STYLE}
<div class="tl-widget" data-tl-frames="{id}">
<p class="tl-title" id="{id}-title">{escape(title)}</p>
{shown}
<div class="tl-control" hidden>
<input type="range" id="{id}" min="0" max="{len(pngs) - 1}" step="1" value="0" autocomplete="off"
aria-labelledby="{id}-title" aria-valuetext="{escape(labels[0])}">
<span class="tl-now" aria-hidden="true">{escape(labels[0])}</span>
</div>
</div>
{_FRAMES_SCRIPT.replace("ID", id)}"""
    return Widget(html, f"<slider {id!r}: {len(pngs)} frames, from {labels[0]!r} to {labels[-1]!r}>")


def _check_id(id: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", id):
        raise ValueError(
            f"widget id {id!r}: use lower-case letters, digits and hyphens, such as 'weights-before-after'"
        )


def _check_texts(where: str, texts: Sequence[str]) -> None:
    if any(not isinstance(text, str) or not text.strip() for text in texts):
        raise ValueError(
            f"{where} has an empty text among {list(texts)!r}; every one is read aloud to somebody"
        )


def _png(image: Any) -> bytes:
    if isinstance(image, bytes):
        return image
    import matplotlib.pyplot as plt

    figure = getattr(image, "figure", image)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, bbox_inches=None, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _size(png: bytes, id: str) -> tuple[int, int]:
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        raise ValueError(
            f"slider {id!r}: bytes that start with {png[:8]!r} are no PNG; pass figures or PNG bytes"
        )
    return struct.unpack(">II", png[16:24])
