"""What BERT does to a text before word pieces: clean it, fold case and accents, split it into words.

Devlin et al. (2019), "BERT: Pre-training of deep bidirectional transformers", in the form of the published code.
Each step looks at one character at a time, so a table of character → replacement does it, filled as characters come.
"""

import functools
import unicodedata

from tlcourse.tokenizers.inputs import WHITE_SPACE

# CJK ideographs: words of one character each. 2B920 stands where the block begins at 2B820: the `tokenizers` library,
# with which today's BERT models are run, has it so, and ids must be the same.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class _Cleaned(dict[int, str]):
    """Control, format and private characters go; white space becomes a space; ideographs get spaces around."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in "\t\n\r":
            out = " "
        elif char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Co"):
            out = ""
        elif char in WHITE_SPACE:
            out = " "
        else:
            out = f" {char} " if any(first <= code <= last for first, last in _IDEOGRAPHS) else char
        return self.setdefault(code, out)


class _Spaced(dict[int, str]):
    """Punctuation gets spaces around; with folded=True, combining marks go and letters become lower case."""

    def __init__(self, folded: bool) -> None:
        self.folded = folded

    def __missing__(self, code: int) -> str:
        out = char = chr(code)
        if self.folded:
            # Letter by letter: the final form of Greek sigma, which str.lower would choose in a word, is not used.
            out = "" if unicodedata.category(char) == "Mn" else char.lower()
        if _is_punctuation(char):
            out = f" {char} "
        return self.setdefault(code, out)


def _is_punctuation(char: str) -> bool:
    """Unicode's punctuation, and every ASCII sign: $ + < = > ^ ` | ~ are symbols in Unicode."""
    return unicodedata.category(char)[0] == "P" or ("!" <= char <= "~" and not char.isalnum())


@functools.cache
def _tables(lowercase: bool) -> tuple[_Cleaned, _Spaced]:
    return _Cleaned(), _Spaced(folded=lowercase)


def words(text: str, *, lowercase: bool) -> list[str]:
    """The words of a text: runs between white space, each punctuation mark and each ideograph on its own.

    lowercase: also take accents off (canonical decomposition, then without its combining marks).
    """
    clean, spaced = _tables(lowercase)
    text = text.translate(clean)
    if lowercase:
        text = unicodedata.normalize("NFD", text)
    return text.translate(spaced).split()
