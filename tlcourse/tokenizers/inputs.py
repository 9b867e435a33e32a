"""What every tokenizer asks of a text, of ids and of a vocabulary."""

import operator
from collections.abc import Iterable, Iterator, Sequence

# Unicode's property White_Space. str.isspace also counts four separators, U+001C … U+001F, which Unicode does not.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)


def check_text(text: str) -> str:
    """The text itself. Raises TypeError on anything but a str, ValueError on a lone surrogate, with its position."""
    if not isinstance(text, str):
        raise TypeError(f"text is {_short(text)}, a {type(text).__name__}; give one str at a time")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"text has the lone surrogate U+{code:04X} at position {error.start}, half of a character; mend it with"
            " text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        ) from None
    return text


def check_corpus(texts: Iterable[str]) -> Iterator[str]:
    """The texts, one after the other. Raises TypeError where texts is one str, and as `check_text` for each."""
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts is one {type(texts).__name__}, {_short(texts)}; give a list of texts: [text]")
    return map(check_text, texts)


def check_vocab_size(vocab_size: int, n_words: int, minimum: int, made_of: str) -> None:
    """Raises ValueError where the corpus has no words, or where vocab_size is below what must be in any case."""
    if n_words == 0:
        raise ValueError("texts has no words to learn from; give at least one text that is not blank")
    if vocab_size < minimum:
        raise ValueError(f"vocab_size={vocab_size} is below {made_of}; choose at least {minimum}")


def index(tokens: Sequence[str], where: str) -> dict[str, int]:
    """Token → id, which is its place in tokens. Raises ValueError on a token that stands twice."""
    vocab: dict[str, int] = {}
    for i, token in enumerate(tokens):
        if token in vocab:
            raise ValueError(
                f"{where}: the token {token!r} stands twice, at {vocab[token]} and {i}; remove one"
            )
        vocab[token] = i
    return vocab


def special_id(vocab: dict[str, int], token: str) -> int:
    """Id of a special token. Raises ValueError where the vocabulary lacks it."""
    if token not in vocab:
        raise ValueError(
            f"the vocabulary of {len(vocab):,} tokens has no {token}; load or train one that has"
        )
    return vocab[token]


def tokens_of(ids: Iterable[int], tokens: Sequence[str]) -> list[str]:
    """The tokens that ids stand for. Raises TypeError on what is not a whole number, IndexError outside the range."""
    found = []
    for i in ids:
        try:
            number = operator.index(i)
        except TypeError:
            raise TypeError(
                f"ids hold {_short(i)}, a {type(i).__name__}; decode takes one flat sequence of whole numbers"
            ) from None
        if not 0 <= number < len(tokens):
            raise IndexError(f"id {number} is not in the vocabulary, whose ids are 0 … {len(tokens) - 1}")
        found.append(tokens[number])
    return found


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:39] + "…"
