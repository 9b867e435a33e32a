"""Controls that work on a static page, without a kernel, a network or a library.

Each returns an object that a notebook shows as HTML: a few elements, a short inline style, a short inline
script. The HTML is the same every time, so that a stored output can be compared; only the images inside it
depend on the machine. Without scripts, a slider shows its first image and a quiz its answers under each
question.
"""

import base64
import io
import re
import struct
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

MAX_FRAMES = 12

# JupyterLab takes arrow keys and letters away from an element that does not say so itself.
_KEYS = 'data-lm-suppress-shortcuts="true"'

# Colours come from the site's theme, else from JupyterLab's, else are fixed. The first rule takes away the light
# box that the site's dark theme puts around HTML outputs.
_STYLE = """<style>
.text_html:has(>.tl-widget){background:none!important;padding:0!important}
.tl-widget{max-width:46rem;margin:1rem 0;padding:.75rem 1rem;border-radius:.4rem;
border:1px solid var(--pst-color-border,var(--jp-border-color1,#767676));
color:var(--pst-color-text-base,var(--jp-content-font-color1,#222));
background:var(--pst-color-background,var(--jp-layout-color1,#fff));
--tl-accent:var(--pst-color-primary,var(--jp-brand-color1,#0072b2))}
.tl-widget,.tl-widget *{box-sizing:border-box}
.tl-widget [hidden]{display:none!important}
.tl-widget :focus-visible{outline:3px solid var(--tl-accent);outline-offset:2px}
.tl-widget .tl-title{font-weight:600;margin:0 0 .5rem}
.tl-widget img{display:block;width:100%;height:auto;margin:0;padding:0!important;background:#fff!important}
.tl-widget .tl-control{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:center;margin-top:.5rem}
.tl-widget input{accent-color:var(--tl-accent)}
.tl-widget input[type=range]{flex:1 1 10rem;min-width:0;height:1.75rem;margin:0}
.tl-widget fieldset{min-width:0;border:0;margin:0 0 1.25rem;padding:0}
.tl-widget legend{float:none;width:100%;font-size:1rem;font-weight:600;margin:0 0 .25rem;padding:0}
.tl-widget .tl-option{display:flex;gap:.6rem;align-items:flex-start;padding:.25rem 0;cursor:pointer}
.tl-widget .tl-option input{flex:none;width:1.25rem;height:1.25rem;margin:.15rem 0 0}
.tl-widget button{font:inherit;min-height:2rem;padding:.2rem 1rem;border-radius:.3rem;cursor:pointer;
border:1px solid currentcolor;color:inherit;background:transparent}
.tl-widget .tl-feedback:not(:empty){margin:.5rem 0 0;padding-left:.75rem;
border-left:3px solid var(--tl-accent)}
.tl-widget .tl-feedback .tl-said{display:none}
.tl-widget p{overflow-wrap:anywhere}
</style>"""

_FRAMES_SCRIPT = """<script>
document.querySelectorAll('[data-tl-frames="ID"]:not([data-tl-on])').forEach(function (root) {
  var slider = root.querySelector("input"), now = root.querySelector(".tl-now");
  var images = root.querySelectorAll("img");
  function show() {
    images.forEach(function (image, n) { image.hidden = n !== +slider.value; });
    now.textContent = images[slider.value].dataset.tlLabel;
    slider.setAttribute("aria-valuetext", now.textContent);
  }
  root.dataset.tlOn = "";
  slider.addEventListener("input", show);
  root.querySelector(".tl-control").hidden = false;
  show();
});
</script>"""

_QUIZ_SCRIPT = """<script>
document.querySelectorAll('[data-tl-quiz="ID"]:not([data-tl-on])').forEach(function (root) {
  var questions = root.querySelectorAll("fieldset"), score = root.querySelector(".tl-score");
  var checked = 0, right = 0;
  root.dataset.tlOn = "";
  questions.forEach(function (question) {
    var button = question.querySelector("button"), feedback = question.querySelector(".tl-feedback");
    var first = true;
    question.querySelector("details").hidden = true;
    button.hidden = false;
    button.addEventListener("click", function () {
      var chosen = question.querySelector("input:checked");
      if (!chosen) { feedback.textContent = "Choose an answer first."; return; }
      var reason = question.querySelectorAll("li")[chosen.value];
      feedback.replaceChildren.apply(feedback, reason.cloneNode(true).childNodes);
      if (first) {
        first = false; checked += 1; right += "tlRight" in reason.dataset ? 1 : 0;
        if (checked === questions.length)
          score.textContent = "Right at the first try: " + right + " of " + checked + ".";
      }
    });
  });
});
</script>"""


class Widget:
    """HTML that a notebook and the site show as it is; its text form only names it."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


@dataclass(frozen=True)
class Option:
    """An answer, and what the reader who chooses it is told: why it is right, or what is wrong with it."""

    text: str
    reason: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with two or more options, exactly one of them right. `code` in backticks is set as code."""

    text: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        _check_texts(f"question {self.text!r}", [self.text])
        for option in self.options:
            _check_texts(f"question {self.text!r}", [option.text, option.reason])
        n_right = sum(option.right for option in self.options)
        if len(self.options) < 2 or n_right != 1:
            raise ValueError(
                f"question {self.text!r} has {len(self.options)} options, {n_right} of them right; "
                "give two or more, exactly one right"
            )
        repeated = [text for text, n in Counter(o.text for o in self.options).items() if n > 1]
        if repeated:
            raise ValueError(f"question {self.text!r} offers {repeated} twice; give each option once")


def frames(
    images: Sequence[Any], labels: Sequence[str], *, id: str, title: str, alt: str | Sequence[str]
) -> Widget:
    """A slider that shows one image at a time, operated by mouse, touch or arrow keys.

    images: 2…12 matplotlib figures or Axes, or PNG bytes, all of one size in pixels; figures are closed, so
    that the notebook does not show them a second time. labels: what the slider reads at each. id: unique on
    the page. title: what the slider changes. alt: what to see, one text per image, or one for all, to which
    the label is added. Raises ValueError on a wrong number of images, on different sizes, on empty text.
    """
    _check_id(id)
    if not 2 <= len(images) <= MAX_FRAMES or len(images) != len(labels):
        raise ValueError(
            f"slider {id!r} has {len(images)} images and {len(labels)} labels; "
            f"give a label for each of 2 to {MAX_FRAMES} images"
        )
    alts = [f"{alt} ({label})" for label in labels] if isinstance(alt, str) and alt else list(alt)
    if len(alts) != len(images):
        raise ValueError(
            f"slider {id!r} has {len(images)} images, {len(alts)} alt texts; give one for each or one"
        )
    _check_texts(f"slider {id!r}", [title, *labels, *alts])
    pngs = [_png(image) for image in images]
    sizes = [_size(png, id) for png in pngs]
    if len(set(sizes)) > 1:
        raise ValueError(f"slider {id!r}: images of sizes {sorted(set(sizes))}; draw all with one figsize")
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
<input {_KEYS} type="range" id="{id}" min="0" max="{len(pngs) - 1}" step="1" value="0" autocomplete="off"
aria-labelledby="{id}-title" aria-valuetext="{escape(labels[0])}">
<span class="tl-now" aria-hidden="true">{escape(labels[0])}</span>
</div>
</div>
{_FRAMES_SCRIPT.replace("ID", id)}"""
    return Widget(html, f"<slider {id!r}: {len(pngs)} frames, {labels[0]!r} to {labels[-1]!r}>")


def sounds(waveforms: Sequence[Any], labels: Sequence[str], *, rate: int, id: str, title: str) -> Widget:
    """A player for each sound under its label, operated by mouse, touch or keyboard; none begins by itself.

    waveforms: each (n,) numbers in −1…1, stored as WAV of 16 bits a sample. labels: what each player plays. rate:
    samples a second. id: unique on the page. title: what is to be compared. Raises ValueError on a wrong number of
    sounds, on a waveform of another shape or beyond ±1, on empty text.
    """
    _check_id(id)
    if len(waveforms) != len(labels) or not len(labels):
        raise ValueError(
            f"players {id!r} have {len(waveforms)} waveforms and {len(labels)} labels; "
            "give a label for each of at least one"
        )
    _check_texts(f"players {id!r}", [title, *labels])
    files = [_wav(waveform, rate, f"players {id!r}, sound {n}") for n, waveform in enumerate(waveforms)]
    players = "\n".join(
        f'<p id="{id}-{n}" style="margin:.5rem 0 .25rem">{escape(label)}</p>\n'
        f'<audio {_KEYS} controls aria-labelledby="{id}-{n}" style="display:block;width:100%;max-width:24rem" '
        f'src="data:audio/wav;base64,{base64.b64encode(file).decode()}"></audio>'
        for n, (file, label) in enumerate(zip(files, labels, strict=True), 1)
    )
    html = f"""{_STYLE}
<div class="tl-widget" data-tl-sounds="{id}">
<p class="tl-title">{escape(title)}</p>
{players}
</div>"""
    return Widget(html, f"<players {id!r}: {', '.join(map(repr, labels))}>")


def quiz(id: str, questions: Sequence[Question]) -> Widget:
    """Questions with radio buttons; a button tells why the chosen answer is right, or what is wrong with it.

    Once every question has been tried, a score counts the first tries. id: unique on the page.
    """
    _check_id(id)
    if not questions:
        raise ValueError(f"quiz {id!r} has no questions; give at least one")
    asked = "\n".join(_fieldset(f"{id}-{n}", f"{n}. ", question) for n, question in enumerate(questions, 1))
    html = f"""{_STYLE}
<div class="tl-widget" data-tl-quiz="{id}">
{asked}
<p class="tl-score" role="status"></p>
</div>
{_QUIZ_SCRIPT.replace("ID", id)}"""
    return Widget(html, f"<quiz {id!r}: {len(questions)} questions>")


def _fieldset(name: str, number: str, question: Question) -> str:
    options = "\n".join(
        f'<label class="tl-option"><input {_KEYS} type="radio" name="{name}" value="{n}" autocomplete="off">'
        f"<span>{_inline(option.text)}</span></label>"
        for n, option in enumerate(question.options)
    )
    reasons = "\n".join(_reason(option) for option in question.options)
    return f"""<fieldset>
<legend>{number}{_inline(question.text)}</legend>
{options}
<button {_KEYS} type="button" hidden>Check</button>
<p class="tl-feedback" aria-live="polite"></p>
<details><summary>Answers</summary><ul>
{reasons}
</ul></details>
</fieldset>"""


def _reason(option: Option) -> str:
    mark, verdict = (" data-tl-right", "✓ Right.") if option.right else ("", "✗ Not this.")
    said = f'<span class="tl-said">“{_inline(option.text)}”</span>'
    return f"<li{mark}><strong>{verdict}</strong> {said} {_inline(option.reason)}</li>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _check_id(id: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", id):
        raise ValueError(
            f"widget id {id!r}: use lower-case letters, digits and hyphens, such as 'weights-slider'"
        )


def _check_texts(where: str, texts: Sequence[str]) -> None:
    if any(not isinstance(text, str) or not text.strip() for text in texts):
        raise ValueError(f"{where} has an empty text among {list(texts)!r}; each is read by, or to, somebody")


def _png(image: Any) -> bytes:
    if isinstance(image, bytes):
        return image
    figure = getattr(image, "figure", None) or image
    buffer = io.BytesIO()
    with plt.rc_context({"savefig.bbox": None}):
        figure.savefig(buffer, format="png", dpi=figure.dpi, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _wav(waveform: Any, rate: int, where: str) -> bytes:
    """One channel, 16 bits a sample."""
    samples = np.asarray(waveform, dtype=np.float64)
    if samples.ndim != 1 or not len(samples) or not (np.abs(samples) <= 1).all():
        raise ValueError(
            f"{where} has shape {samples.shape} and samples up to {np.abs(samples).max(initial=0):.4g}; "
            "give one row of numbers in −1…1"
        )
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(32767 * samples).astype("<i2").tobytes())
    return buffer.getvalue()


def _size(png: bytes, id: str) -> tuple[int, int]:
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        raise ValueError(
            f"slider {id!r}: bytes that start with {png[:8]!r} are no PNG; pass figures or PNG bytes"
        )
    return struct.unpack(">II", png[16:24])
