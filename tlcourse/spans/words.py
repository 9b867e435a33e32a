"""Words of a text with their places, for tags: a rule that keeps names whole and cuts off possessives."""

import re

# Initials ("U.S.", "J."), titles with their point, possessives, words with inner hyphens, apostrophes, points and
# ampersands ("O'Connor", "AT&T"), and any other mark by itself.
_WORD = re.compile(
    r"(?:[^\W\d_]\.){2,}|[A-Z]\.(?=\s+[A-Z])|(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Gov|Sen|Rep|Gen|Lt|Col|Prof|Rev)\."
    r"|['’]s\b|[^\W_]+(?:(?!['’]s\b)[-.&'’](?=[^\W_])[^\W_]+)*|\S"
)


def words(text: str) -> tuple[tuple[int, int], ...]:
    """First character and one past the last of each word and mark, in order; blanks belong to none."""
    return tuple(match.span() for match in _WORD.finditer(text))
