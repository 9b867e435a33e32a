"""Unigram against the `tokenizers` library, each on the other's model; and its files and errors."""

import itertools
import json
import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tlcourse.tokenizers import Unigram
from tlcourse.tokenizers.unigram import SPECIAL_TOKENS

FOLDED = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]


def ids(tokenizer, texts):
    return [row.ids for row in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@pytest.fixture(scope="module")
def ours(sentences):
    return Unigram.train(sentences[::6], 2000)


@pytest.fixture(scope="module")
def of_library(sentences):
    found = Tokenizer(models.Unigram())
    found.normalizer = normalizers.Sequence(FOLDED)
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    found.decoder = decoders.Metaspace()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    trainer = trainers.UnigramTrainer(
        vocab_size=2000, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    found.train_from_iterator(sentences[::6], trainer)
    return found


def differ_alone(text, a, b):
    """Whether a character of the text is normalised otherwise: of another Unicode version than the library's."""
    normalised = [
        (
            a._words(f"a{char}\u0301\u0323"),
            b.pre_tokenizer.pre_tokenize_str(b.normalizer.normalize_str(f"a{char}\u0301\u0323")),
        )
        for char in set(text)
    ]
    return any(mine != [word for word, _ in theirs] for mine, theirs in normalised)


@pytest.mark.assets
def test_the_library_s_trained_model_gives_its_ids_on_100000_generated_strings(of_library, strings, tmp_path):
    of_library.save(str(tmp_path / "tokenizer.json"))
    here, there = Unigram.load(tmp_path), Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    rows = [here.encode(text) for text in strings]
    differing = [text for text, a, b in zip(strings, rows, ids(there, strings), strict=True) if a != b]
    assert len(strings) == 100_000 and len(differing) < 2_000
    assert all(differ_alone(text, here, there) for text in differing)
    assert [here.decode(row) for row in rows[:5000]] == there.decode_batch(
        rows[:5000], skip_special_tokens=False
    )


@pytest.mark.assets
def test_our_trained_model_gives_its_ids_in_the_library(ours, sentences, strings, tmp_path):
    ours.save(tmp_path)
    there = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [ours.encode(text) for text in sentences] == ids(there, sentences)
    some = strings[:10_000]
    differing = [text for text, b in zip(some, ids(there, some), strict=True) if ours.encode(text) != b]
    assert all(differ_alone(text, ours, there) for text in differing) and len(differing) < 200
    again = Unigram.load(tmp_path)
    assert (again.tokens, again.scores, again.normalizer) == (ours.tokens, ours.scores, ours.normalizer)
    assert pickle.loads(pickle.dumps(again)).encode(sentences[0]) == ours.encode(sentences[0])


@pytest.mark.assets
def test_our_training_compresses_as_the_library_s_within_one_percent_or_better(ours, of_library, sentences):
    lengths = [
        sum(len(row) for row in rows) for rows in (map(ours.encode, sentences), ids(of_library, sentences))
    ]
    assert len(ours) == of_library.get_vocab_size() == 2000
    assert lengths[0] < 1.01 * lengths[1]


def brute_force(scores, word, unknown):
    """(score, pieces) of the best of all segmentations; None stands for an unknown character."""
    if not word:
        return 0.0, []
    ways = []
    for end in range(1, len(word) + 1):
        score = scores.get(word[:end], unknown if end == 1 else None)
        if score is not None:
            rest, pieces = brute_force(scores, word[end:], unknown)
            ways.append((score + rest, [word[:end] if word[:end] in scores else None, *pieces]))
    return max(ways, key=lambda way: way[0])


@settings(deadline=None)
@given(st.text("abc▁", max_size=8), st.lists(st.floats(-9, -1), min_size=6, max_size=6, unique=True))
def test_the_best_segmentation_is_that_of_brute_force(word, drawn):
    scores = dict(zip(("▁", "a", "▁a", "ab", "ba", "aab"), drawn, strict=True))
    found = Unigram([("<unk>", 0.0), *scores.items()], special_tokens=())
    pieces = found._best(word)
    best, expected = brute_force(scores, word, min(drawn) - 10)
    n_unknown = sum(piece is None for piece in expected)
    spelled = [found.tokens[i] for i in pieces if i]
    total = sum(scores[piece] for piece in spelled) + n_unknown * (min(drawn) - 10)
    assert total == pytest.approx(best)
    assert all(a != 0 or b != 0 for a, b in itertools.pairwise(pieces))


def test_unknown_characters_in_a_row_are_one_token_and_specials_are_never_in_a_text(tmp_path):
    pieces = [("<unk>", 0.0), ("[CLS]", 0.0), ("▁", -1.0), ("a", -2.0), ("▁a", -2.5)]
    found = Unigram(pieces, special_tokens=("[CLS]",))
    assert found.tokenize("a xyz a[CLS]") == ["▁a", "▁", "<unk>", "▁a", "<unk>"]
    assert found.encode("") == found.encode("  \n") == []
    assert found.decode(found.encode("a a")) == "a a" and found.special_tokens == ("[CLS]", "<unk>")


def test_special_ids_are_albert_s_and_case_is_kept_where_asked(tmp_path):
    cased = Unigram.train(["Low LOWER lowest É", "low Low LOWER ﬁ"], 60, lowercase=False)
    five = (
        cased.pad_token_id,
        cased.unk_token_id,
        cased.cls_token_id,
        cased.sep_token_id,
        cased.mask_token_id,
    )
    assert five == (0, 1, 2, 3, 4)
    assert cased.decode(cased.encode(" Low\u00a0É  ﬁ ")) == "Low É fi"
    folded = Unigram.train(["Low LOWER lowest É", "low Low LOWER ﬁ"], 60)
    assert folded.decode(folded.encode("Low É")) == "low e"
    assert cased.scores[5:] == sorted(cased.scores[5:], reverse=True) and cased.scores[:5] == [0.0] * 5


def test_what_is_saved_loads_in_transformers(tmp_path):
    from transformers import AutoTokenizer

    ours = Unigram.train(["low lower lowest", "low low lower"], 40)
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.encode("Lowest low?", add_special_tokens=False) == ours.encode("Lowest low?")
    assert (theirs.pad_token_id, theirs.unk_token_id, theirs.mask_token_id) == (0, 1, 4)


def test_a_model_that_keeps_spaces_is_read_saved_and_cut_as_in_the_library(tmp_path):
    library = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -1.5), ("▁a", -2.0), ("\t", -3.0)], 0)
    )
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.save(str(tmp_path / "tokenizer.json"))
    texts = ["", " ", "a", "  a\t a▁a ", "b  b", "\n"]
    found = Unigram.load(tmp_path / "tokenizer.json")
    assert not found.split_white_space and [found.encode(text) for text in texts] == ids(library, texts)
    found.save(tmp_path / "again")
    assert [Unigram.load(tmp_path / "again").encode(text) for text in texts] == ids(library, texts)


def content(**changes):
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁a", -1.0], ["b", -2]]}
    whole = {"added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Metaspace"}, "model": model}
    for name, value in changes.items():
        (whole if name in whole else model)[name] = value
    return whole


ADDED = {"id": 5, "content": "<s>", "special": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "BPE"}, r"tokenizer.json: its model is 'BPE'; a Unigram model with a vocab is wanted"),
        ({"model": None}, r"its model is None; a Unigram model"),
        ({"vocab": []}, r"its model is 'Unigram'; a Unigram model with a vocab is wanted"),
        ({"unk_id": None}, r"unk_id is None; a model whose vocabulary has an unknown token is wanted"),
        ({"unk_id": 3}, r"unk_id is 3; a model whose"),
        ({"byte_fallback": True}, r"byte_fallback is not known here; load it with the `tokenizers` library"),
        (
            {"vocab": [["<unk>", 0], ["a", -1], ["a", -2]]},
            r"the token 'a' stands twice, at 1 and 2; remove one",
        ),
        (
            {"vocab": [["<unk>", 0], ["a", "b"]]},
            r"the score of 'a' is 'b'; a finite log probability is wanted",
        ),
        ({"vocab": [["<unk>", 0], ["a", -math.inf]]}, r"the score of 'a' is -inf; a finite"),
        ({"vocab": [["<unk>", 0], ["a"]]}, r"the vocab holds \['a'\], not a token with its score"),
        ({"added_tokens": [ADDED]}, r"the added token '<s>' is not piece 5 of the vocab"),
        ({"added_tokens": [ADDED | {"id": 1}]}, r"the added token '<s>' is not piece 1 of the vocab"),
        (
            {"normalizer": {"type": "Strip"}},
            r"the normalizer \{'type': 'Strip'\} is not known here; known are Seq",
        ),
        ({"pre_tokenizer": None}, r"the pre_tokenizer None is not known here; known is Metaspace"),
    ],
)
def test_a_file_that_is_no_unigram_model_known_here_is_named(tmp_path, changes, message):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content(**changes)), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Unigram.load(tmp_path)


def test_pieces_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="the vocabulary of 1 tokens has no <unk>"):
        Unigram([("a", -1.0)], special_tokens=())
    with pytest.raises(ValueError, match=r"the vocabulary of 1 tokens has no <pad>"):
        Unigram([("<unk>", -1.0)])
    for name, token in (("pad", "<pad>"), ("cls", r"\[CLS\]"), ("sep", r"\[SEP\]"), ("mask", r"\[MASK\]")):
        with pytest.raises(ValueError, match=f"has no {token}; load or train one that has"):
            getattr(Unigram([("<unk>", 0.0)], special_tokens=()), f"{name}_token_id")


def test_training_refuses_what_it_cannot_learn_from():
    with pytest.raises(ValueError, match="texts has no words to learn from"):
        Unigram.train([" ", "\u0301"], 100)
    with pytest.raises(
        ValueError,
        match="vocab_size=8 is below the 5 special tokens and the texts' 4 characters; choose at least 9",
    ):
        Unigram.train(["abc"], 8)
    assert len(Unigram.train(["abc"], 9)) == 9
    with pytest.raises(TypeError, match="texts is one str"):
        Unigram.train("abc", 9)


def test_text_and_ids_that_are_none_are_refused():
    found = Unigram([("<unk>", 0.0), ("▁a", -1.0)], special_tokens=())
    with pytest.raises(TypeError, match="text is 1, a int; give one str at a time"):
        found.encode(1)
    with pytest.raises(ValueError, match=r"lone surrogate U\+DFFF at position 1"):
        found.tokenize("a\udfff")
    with pytest.raises(IndexError, match="id -1 is not in the vocabulary, whose ids are 0 … 1"):
        found.decode([-1])
    with pytest.raises(FileNotFoundError, match=r"tokenizer.json is no file"):
        Unigram.load("nowhere/tokenizer.json")
