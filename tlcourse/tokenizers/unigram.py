"""Unigram, ALBERT's tokenizer: of all ways to cut a word into known pieces, the most probable one.

Kudo (2018), "Subword regularization: Improving neural network translation models with multiple subword candidates".
A piece that begins a word is written with ▁ before it, so that the pieces joined give the words with their spaces.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlcourse.tokenizers import files, inputs, normalisation
from tlcourse.tokenizers.cache import WordCache
from tlcourse.tokenizers.pruning import learn_pieces

SPECIAL_TOKENS = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")  # ALBERT's, with ids 0 … 4
# What an unknown character costs, in nats, beyond the rarest piece; SentencePiece's constant.
_UNKNOWN_PENALTY = 10.0
# ALBERT's folding: accents off, lower case; and for text that keeps its case.
_FOLDED = {"type": "Sequence", "normalizers": [{"type": t} for t in ("NFKD", "StripAccents", "Lowercase")]}
_CASED = {"type": "NFKC"}


class Unigram:
    """pieces: (token, score) pairs, a token's place is its id and its score a log probability.

    special_tokens: those of the pieces that no text contains, among them unk_token, which stands for what no piece
    spells. normalizer: as in a tokenizer.json; None leaves the text as it is. split_white_space: all white space only
    separates words; otherwise each space is part of a piece. Raises ValueError on a token that stands twice, a score
    that is no finite number, an unk_token that is missing, a special token that is no piece.
    """

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        *,
        unk_token: str = "<unk>",
        special_tokens: Iterable[str] = SPECIAL_TOKENS,
        normalizer: dict | None = None,
        split_white_space: bool = True,
    ) -> None:
        self.tokens = [token for token, _ in pieces]
        self.scores = [score for _, score in pieces]
        self.vocab = inputs.index(self.tokens, "the vocabulary")
        self.special_tokens = tuple(dict.fromkeys([*special_tokens, unk_token]))
        self.unk_token_id = inputs.special_id(self.vocab, unk_token)
        self.normalizer = normalizer
        self.split_white_space = split_white_space
        self._steps = normalisation.steps(normalizer)
        for token, score in pieces:
            if type(score) not in (int, float) or not math.isfinite(score):
                raise ValueError(f"the score of {token!r} is {score!r}; a finite log probability is wanted")
        for token in self.special_tokens:
            inputs.special_id(self.vocab, token)
        self._scores = {t: s for t, s in pieces if t and t not in self.special_tokens}
        self._longest = max(map(len, self._scores), default=0)
        self._unknown_score = min(self.scores) - _UNKNOWN_PENALTY
        self._cache = WordCache(self._best)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def pad_token_id(self) -> int:
        return inputs.special_id(self.vocab, "<pad>")

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
    def train(cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> Unigram:
        """A vocabulary of vocab_size tokens: ALBERT's special ones, all characters, the pieces `learn_pieces` keeps.

        Fewer tokens where the texts have fewer substrings. lowercase: fold case and accents, as ALBERT does.
        Raises ValueError on texts without words and on a vocab_size below special tokens and characters.
        """
        special = [(token, 0.0) for token in SPECIAL_TOKENS]
        blank = cls(special, normalizer=_FOLDED if lowercase else _CASED)
        counts = Counter(word for text in inputs.check_corpus(texts) for word in blank._words(text))
        characters = {char for word in counts for char in word}
        minimum = len(special) + len(characters)
        made_of = f"the {len(special)} special tokens and the texts' {len(characters)} characters"
        inputs.check_vocab_size(vocab_size, len(counts), minimum, made_of)
        pieces = learn_pieces(counts, vocab_size - len(special))
        return cls([*special, *pieces], normalizer=blank.normalizer)

    @classmethod
    def load(cls, path: str | Path) -> Unigram:
        """From a tokenizer.json, or the folder that holds it.

        Raises FileNotFoundError; ValueError on another model than Unigram, on a model without unknown token, on a
        normalizer or pre-tokenizer that `normalisation` does not know, and as the class does.
        """
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        content = files.read_json(path)
        try:
            return cls._from_json(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def _from_json(cls, content: dict) -> Unigram:
        model = content.get("model") or {}
        if model.get("type") != "Unigram" or not model.get("vocab"):
            raise ValueError(f"its model is {model.get('type')!r}; a Unigram model with a vocab is wanted")
        if model.get("byte_fallback"):
            raise ValueError("byte_fallback is not known here; load it with the `tokenizers` library")
        for entry in model["vocab"]:
            if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
                raise ValueError(f"the vocab holds {entry!r}, not a token with its score")
        pieces = [(token, score) for token, score in model["vocab"]]
        unknown = model.get("unk_id")
        if unknown is None or not 0 <= unknown < len(pieces):
            raise ValueError(f"unk_id is {unknown}; a model whose vocabulary has an unknown token is wanted")
        added = [token for token in content.get("added_tokens") or [] if token.get("special")]
        for token in added:
            if token["content"] != (pieces[token["id"]][0] if token["id"] < len(pieces) else None):
                raise ValueError(
                    f"the added token {token['content']!r} is not piece {token['id']} of the vocab"
                )
        return cls(
            pieces,
            unk_token=pieces[unknown][0],
            special_tokens=[token["content"] for token in added],
            normalizer=content.get("normalizer"),
            split_white_space=normalisation.splits_white_space(content.get("pre_tokenizer")),
        )

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and, for `transformers`, tokenizer_config.json into a folder."""
        flags = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        added = [{"id": self.vocab[t], "content": t, **flags} for t in self.special_tokens]
        model = {
            "type": "Unigram",
            "unk_id": self.unk_token_id,
            "vocab": [[token, score] for token, score in zip(self.tokens, self.scores, strict=True)],
            "byte_fallback": False,
        }
        content = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": sorted(added, key=lambda token: token["id"]),
            "normalizer": self.normalizer,
            "pre_tokenizer": normalisation.pre_tokenizer(self.split_white_space),
            "post_processor": None,
            "decoder": normalisation.metaspace(),
            "model": model,
        }
        roles = {f"{token.strip('<[]>').lower()}_token": token for token in self.special_tokens}
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **roles}
        contents = {
            "tokenizer.json": json.dumps(content, ensure_ascii=False, indent=1) + "\n",
            "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        }
        files.write_all(Path(folder), contents)

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text; the unknown token for characters in a row that no piece spells."""
        return [self.tokens[i] for i in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces, without special tokens. Raises TypeError on a non-str, ValueError on lone surrogates."""
        ids: list[int] = []
        for word in self._words(inputs.check_text(text)):
            ids.extend(self._cache[word])
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The normalised text, with a space where ▁ was.

        Raises IndexError on an id outside the vocabulary, TypeError on what is not a whole number.
        """
        return "".join(inputs.tokens_of(ids, self.tokens)).replace(normalisation.SPACE, " ").removeprefix(" ")

    def _words(self, text: str) -> list[str]:
        for step in self._steps:
            text = step(text)
        return normalisation.words(text, split_white_space=self.split_white_space)

    def _best(self, word: str) -> tuple[int, ...]:
        """Viterbi: the best way to each position goes through the best way to the position before its last piece."""
        best = [0.0] + [-math.inf] * len(word)  # log probability of word[:end]
        came_from = [0] * (len(word) + 1)
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + max(self._longest, 1)) + 1):
                score = self._scores.get(word[start:end])
                if score is None and end == start + 1:
                    score = self._unknown_score
                if score is not None and best[start] + score > best[end]:
                    best[end], came_from[end] = best[start] + score, start
        ids: list[int] = []
        end = len(word)
        while end > 0:
            start = came_from[end]
            piece = word[start:end]
            found = self.vocab[piece] if piece in self._scores else self.unk_token_id
            # Unknown characters in a row are one token.
            if found != self.unk_token_id or ids[-1:] != [found]:
                ids.append(found)
            end = start
        return tuple(reversed(ids))
