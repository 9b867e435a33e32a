"""WordPiece, BERT's tokenizer: each word as the longest pieces the vocabulary has.

Schuster & Nakajima (2012), "Japanese and Korean voice search"; Wu et al. (2016), "Google's neural machine translation
system"; Devlin et al. (2019) for BERT's form of it. A piece that continues a word is written with ## before it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlcourse.tokenizers import bert_text, files, inputs
from tlcourse.tokenizers.cache import WordCache
from tlcourse.tokenizers.merges import learn_merges

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 100  # characters; a longer word becomes [UNK], as in the published code


class WordPiece:
    """tokens: the vocabulary, a token's place is its id; it must hold [UNK]. lowercase: fold case and accents first.

    `tokens` (list of str) and `vocab` (token → id) are the two directions of the vocabulary. Raises ValueError on a
    token that stands twice, is empty, or where [UNK] is missing.
    """

    def __init__(self, tokens: Sequence[str], *, lowercase: bool = True) -> None:
        self.tokens = list(tokens)
        self.vocab = inputs.index(self.tokens, "the vocabulary")
        self.lowercase = lowercase
        if "" in self.vocab:
            raise ValueError(f"the token with id {self.vocab['']} is empty; remove it")
        self.unk_token_id = inputs.special_id(self.vocab, "[UNK]")
        self._longest = max(map(len, self.tokens))
        self._cache = WordCache(self._pieces)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def pad_token_id(self) -> int:
        return inputs.special_id(self.vocab, "[PAD]")

    @property
    def cls_token_id(self) -> int:
        return inputs.special_id(self.vocab, "[CLS]")

    @property
    def sep_token_id(self) -> int:
        return inputs.special_id(self.vocab, "[SEP]")

    @property
    def mask_token_id(self) -> int:
        return inputs.special_id(self.vocab, "[MASK]")

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> WordPiece:
        """A vocabulary of vocab_size tokens: the special ones (ids 0 … 4), the characters, and joined pairs.

        Fewer tokens where no pair occurs twice any more. Joined is the most frequent pair, as in byte-pair encoding
        and in the `tokenizers` library; Schuster & Nakajima join the pair that most raises the likelihood of the
        text, and their program was not published. Raises ValueError on texts without words and on a vocab_size
        below special tokens and characters.
        """
        counts = Counter(
            word for text in inputs.check_corpus(texts) for word in bert_text.words(text, lowercase=lowercase)
        )
        words = {(word[0], *(f"##{char}" for char in word[1:])): n for word, n in counts.items()}
        # Every character also as the start of a word, wherever it was seen.
        starts = {char for word in counts for char in word}
        alphabet = sorted(starts) + sorted({symbol for word in words for symbol in word[1:]})
        minimum = len(SPECIAL_TOKENS) + len(alphabet)
        made_of = (
            f"the {len(SPECIAL_TOKENS)} special tokens and the {len(alphabet)} forms of the texts' characters"
        )
        inputs.check_vocab_size(vocab_size, len(words), minimum, made_of)
        tokens, _ = learn_merges(words, alphabet, vocab_size - len(SPECIAL_TOKENS), _join)
        return cls([*SPECIAL_TOKENS, *tokens], lowercase=lowercase)

    @classmethod
    def load(cls, path: str | Path, *, lowercase: bool | None = None) -> WordPiece:
        """From a vocab.txt, one token a line, or the folder that holds it.

        lowercase: None asks `do_lower_case` of the tokenizer_config.json beside it; without one it is True.
        Raises FileNotFoundError; ValueError that names the line of a token that is empty or stands twice, or [UNK]
        where it is missing.
        """
        path = Path(path)
        path = path / "vocab.txt" if path.is_dir() else path
        lines = files.read_lines(path)
        seen: dict[str, int] = {}
        for number, token in enumerate(lines, 1):
            if not token:
                raise ValueError(
                    f"{path}, line {number}, is empty; each line holds one token, its id is its place"
                )
            if token in seen:
                raise ValueError(
                    f"{path}, line {number}: {token!r} stands in line {seen[token]} too; remove one"
                )
            seen[token] = number
        if "[UNK]" not in seen:
            raise ValueError(
                f"{path} has no [UNK] among its {len(lines):,} tokens; is it a vocabulary of BERT?"
            )
        if lowercase is None:
            config = path.parent / "tokenizer_config.json"
            lowercase = files.read_json(config).get("do_lower_case", True) if config.is_file() else True
        return cls(lines, lowercase=lowercase)

    def save(self, folder: str | Path) -> None:
        """Write vocab.txt, and tokenizer_config.json for `lowercase`, into a folder that `transformers` reads too."""
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lowercase}
        vocabulary = "".join(f"{token}\n" for token in self.tokens)
        contents = {"vocab.txt": vocabulary, "tokenizer_config.json": json.dumps(config, indent=2) + "\n"}
        files.write_all(Path(folder), contents)

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text; [UNK] for a word that the vocabulary cannot spell."""
        return [self.tokens[i] for i in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces, without [CLS] and [SEP]. Raises TypeError on a non-str, ValueError on lone surrogates."""
        ids: list[int] = []
        for word in bert_text.words(inputs.check_text(text), lowercase=self.lowercase):
            ids.extend(self._cache[word])
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The words with one space between them; case, accents and spacing are not in the ids, so do not come back.

        Raises IndexError on an id outside the vocabulary, TypeError on what is not a whole number.
        """
        return " ".join(inputs.tokens_of(ids, self.tokens)).replace(" ##", "")

    def _pieces(self, word: str) -> tuple[int, ...]:
        """Greedy: the longest token that begins the word, then the longest that continues it, and so on."""
        unknown = (self.unk_token_id,)
        if len(word) > LONGEST_WORD:
            return unknown
        pieces: list[int] = []
        start, prefix = 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                piece = self.vocab.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return unknown
            pieces.append(piece)
            start, prefix = end, "##"
        return tuple(pieces)


def _join(left: str, right: str) -> str:
    return left + right.removeprefix("##")
