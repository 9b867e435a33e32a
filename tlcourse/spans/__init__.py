"""Between text and tensors: spans of characters, of tokens, and tags; windows over long contexts."""

from tlcourse.spans.tags import NO_TAG, Span, spans_of_tags, spread_tags, tags_of_spans
from tlcourse.spans.windows import (
    Candidate,
    Window,
    best_span,
    best_spans,
    characters,
    token_span,
    window_target,
    windows,
)
from tlcourse.spans.words import words

__all__ = [
    "NO_TAG",
    "Candidate",
    "Span",
    "Window",
    "best_span",
    "best_spans",
    "characters",
    "spans_of_tags",
    "spread_tags",
    "tags_of_spans",
    "token_span",
    "window_target",
    "windows",
    "words",
]
