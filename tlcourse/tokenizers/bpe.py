"""Byte-level byte-pair encoding, GPT-2's tokenizer: bytes joined in the order in which the joins were learned.

Sennrich et al. (2016), "Neural machine translation of rare words with subword units"; Radford et al. (2019),
"Language models are unsupervised multitask learners", for bytes as the alphabet.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tlcourse.tokenizers import byte_level, files, inputs
from tlcourse.tokenizers.cache import WordCache
from tlcourse.tokenizers.merges import Pair, learn_merges

END_OF_TEXT = "<|endoftext|>"
_HEADER = "#version: 0.2"
_LAYOUTS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


class ByteLevelBPE:
    """vocab: token → id, the ids being 0 … n − 1; merges: pairs of tokens, the first learned first.

    Tokens are written in `byte_level`'s letters. Vocabulary and merges must belong together: the 256 bytes are there,
    each merge joins two tokens that come before it into a third, and no other token exists but special ones, which
    are written <like this>. Raises ValueError, naming the token or the merge, where they do not.
    """

    def __init__(self, vocab: Mapping[str, int], merges: Sequence[Pair]) -> None:
        self.vocab = dict(vocab)
        self.tokens = sorted(self.vocab, key=self.vocab.get)
        self.merges = list(merges)
        if sorted(self.vocab.values()) != list(range(len(self.vocab))):
            raise ValueError(
                f"the ids of {len(self.vocab):,} tokens must be 0 … {len(self.vocab) - 1}, each once; "
                f"they go from {min(self.vocab.values(), default=0)} to {max(self.vocab.values(), default=0)}"
            )
        letters = byte_level.byte_letters()
        if missing := [letter for letter in letters if letter not in self.vocab]:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 bytes: {''.join(missing[:20])}")
        made = set(letters)
        self._joined: dict[
            tuple[int, int], tuple[int, int]
        ] = {}  # ids of a pair → rank, id of the joined token
        for rank, (left, right) in enumerate(self.merges):
            if left not in made or right not in made or left + right not in self.vocab:
                strange = next((t for t in (left, right) if t not in made), left + right)
                raise ValueError(
                    f"merge {rank + 1}, {left!r} + {right!r}: {strange!r} is "
                    f"{'no token before it' if strange in (left, right) else 'not in the vocabulary'}; "
                    "do vocabulary and merges belong together?"
                )
            pair = (self.vocab[left], self.vocab[right])
            if pair in self._joined:
                raise ValueError(f"merge {rank + 1}, {left!r} + {right!r}, stands twice; remove one")
            self._joined[pair] = (rank, self.vocab[left + right])
            made.add(left + right)
        unmade = [t for t in self.tokens if t not in made and not (t.startswith("<") and t.endswith(">"))]
        if unmade:
            raise ValueError(
                f"no merge makes {len(unmade):,} tokens of the vocabulary, such as {unmade[0]!r}; "
                f"are the {len(self.merges):,} merges cut off?"
            )
        self._cache = WordCache(self._join)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def eos_token_id(self) -> int:
        """Id of <|endoftext|>, which stands between texts."""
        return inputs.special_id(self.vocab, END_OF_TEXT)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> ByteLevelBPE:
        """A vocabulary of vocab_size tokens: 256 bytes, the merges, and <|endoftext|> last.

        Fewer where no pair occurs twice any more; `learn_merges` tells which of two equally frequent pairs is first.
        Raises ValueError on texts without words and on a vocab_size below 257.
        """
        counts = Counter(word for text in inputs.check_corpus(texts) for word in byte_level.words(text))
        letters = byte_level.byte_letters()
        made_of = f"the 256 bytes and {END_OF_TEXT}"
        inputs.check_vocab_size(vocab_size, len(counts), len(letters) + 1, made_of)
        rows = {tuple(byte_level.to_letters(word)): n for word, n in counts.items()}
        tokens, merges = learn_merges(rows, sorted(letters), vocab_size - 1)
        return cls(inputs.index([*tokens, END_OF_TEXT], "the learned vocabulary"), merges)

    @classmethod
    def load(cls, folder: str | Path) -> ByteLevelBPE:
        """From a folder with vocab.json and merges.txt, or with encoder.json and vocab.bpe, as OpenAI named them.

        Raises FileNotFoundError; ValueError that names the line that is no merge, and as the class does.
        """
        folder = Path(folder)
        found = [names for names in _LAYOUTS if all((folder / name).is_file() for name in names)]
        if not found:
            wanted = " nor ".join(" with ".join(names) for names in _LAYOUTS)
            raise FileNotFoundError(f"{folder} has neither {wanted}; give the folder that holds both files")
        vocabulary, merges = (folder / name for name in found[0])
        vocab = files.read_json(vocabulary)
        for token, i in vocab.items():
            if type(i) is not int:
                raise ValueError(f"{vocabulary}: the id of {token!r} is {i!r}, not a whole number")
        try:
            return cls(vocab, _read_merges(merges))
        except ValueError as error:
            raise ValueError(f"{vocabulary} with {merges.name}: {error}") from None

    def save(self, folder: str | Path) -> None:
        """Write vocab.json, merges.txt and, for `transformers`, tokenizer_config.json into a folder."""
        vocab = {token: i for i, token in enumerate(self.tokens)}
        lines = [_HEADER, *(f"{left} {right}" for left, right in self.merges)]
        contents = {
            "vocab.json": json.dumps(vocab, ensure_ascii=False),
            "merges.txt": "".join(f"{line}\n" for line in lines),
            "tokenizer_config.json": json.dumps({"tokenizer_class": "GPT2Tokenizer"}, indent=2) + "\n",
        }
        files.write_all(Path(folder), contents)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, in `byte_level`'s letters: Ġ for a space."""
        return [self.tokens[i] for i in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """Ids of the tokens, without <|endoftext|>. Raises TypeError on a non-str, ValueError on lone surrogates."""
        ids: list[int] = []
        for word in byte_level.words(inputs.check_text(text)):
            ids.extend(self._cache[word])
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text, exactly as it was encoded; bytes that are no UTF-8 become U+FFFD.

        Raises IndexError on an id outside the vocabulary, TypeError on what is not a whole number.
        """
        return byte_level.from_letters("".join(inputs.tokens_of(ids, self.tokens)))

    def _join(self, word: str) -> tuple[int, ...]:
        """Apply the merge learned first of all that apply, at its leftmost place, until none applies.

        The neighbours wait in a heap, lowest rank first, so that n letters take n log n steps. What is joined stays
        at the place of its left part; the right part becomes None and is skipped through `after` and `before`.
        """
        ids: list[int | None] = [self.vocab[letter] for letter in byte_level.to_letters(word)]
        after = list(range(1, len(ids) + 1))
        before = list(range(-1, len(ids) - 1))
        heap: list[tuple[int, int, int, int]] = []  # rank, place, ids of the pair

        def offer(place: int) -> None:
            right = after[place] if place >= 0 else len(ids)
            if right < len(ids) and (pair := (ids[place], ids[right])) in self._joined:
                heapq.heappush(heap, (self._joined[pair][0], place, *pair))

        for place in range(len(ids) - 1):
            offer(place)
        while heap:
            _, place, left, right = heapq.heappop(heap)
            end = after[place]
            if ids[place] != left or end >= len(ids) or ids[end] != right:
                continue  # one of the two has been joined to something else meanwhile
            ids[place], ids[end] = self._joined[left, right][1], None
            after[place] = after[end]
            if after[end] < len(ids):
                before[after[end]] = place
            offer(place)
            offer(before[place])
        return tuple(i for i in ids if i is not None)


def _read_merges(path: Path) -> list[Pair]:
    merges: list[Pair] = []
    for number, line in enumerate(files.read_lines(path), 1):
        if number == 1 and line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or "" in parts:
            raise ValueError(f"line {number} is {line!r}, not two tokens with one space between them")
        merges.append((parts[0], parts[1]))
    return merges
