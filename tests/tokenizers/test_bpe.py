"""Byte-level BPE against the `tokenizers` library on GPT-2's vocabulary, and its own training, files and errors."""

import itertools
import json
import pickle
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tlcourse import assets
from tlcourse.tokenizers import ByteLevelBPE, byte_level

LETTERS = sorted(byte_level.byte_letters())
BYTES = {letter: i for i, letter in enumerate(LETTERS)}


def library(vocab, merges):
    return with_bytes(Tokenizer(models.BPE(vocab, merges)))


def with_bytes(tokenizer):
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def ids(tokenizer, texts):
    return [row.ids for row in tokenizer.encode_batch_fast(texts)]


def cut_otherwise(text, tokenizer):
    """Whether the text has a character of another Unicode version; test_byte_level lists and explains those."""
    probes = [f"a{char}1{char}!{char} " for char in set(text)]
    spans = [[end - start for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(p)] for p in probes]
    return spans != [list(map(len, byte_level.words(p))) for p in probes]


@pytest.fixture(scope="module")
def gpt2():
    if not assets.present("gpt2-bpe"):
        pytest.skip("gpt2-bpe is not in the cache; run `tlcourse assets fetch gpt2-bpe`")
    return ByteLevelBPE.load(assets.path("gpt2-bpe"))


@pytest.fixture(scope="module")
def official():
    folder = assets.path("gpt2-bpe")
    return with_bytes(
        Tokenizer(models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe")))
    )


@pytest.fixture(scope="module")
def trained(sentences):
    """2,000 tokens learned from a sixth of the sentences, by us and by the library."""
    theirs = with_bytes(Tokenizer(models.BPE()))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1999, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator(sentences[::6], trainer)
    return ByteLevelBPE.train(sentences[::6], 2000), theirs


@pytest.mark.assets
def test_ids_equal_the_library_s_on_100000_generated_strings_but_for_other_unicode_versions(
    gpt2, official, strings
):
    ours = [gpt2.encode(text) for text in strings]
    differing = [text for text, a, b in zip(strings, ours, ids(official, strings), strict=True) if a != b]
    assert len(strings) == 100_000 and len(differing) < 2_000
    assert all(cut_otherwise(text, official) for text in differing)
    assert [gpt2.decode(row) for row in ours] == strings


@pytest.mark.assets
def test_ids_equal_the_library_s_on_all_sentences_of_the_course(gpt2, official, sentences):
    assert [gpt2.encode(text) for text in sentences] == ids(official, sentences)


@pytest.mark.assets
def test_ids_equal_the_library_s_on_wordnet_the_bible_shakespeare_and_package_descriptions(
    gpt2, official, books
):
    assert [gpt2.encode(text) for text in books] == ids(official, books)


@pytest.mark.assets
def test_gpt2_s_tokens_and_its_end_of_text(gpt2):
    assert len(gpt2) == 50257 and gpt2.eos_token_id == 50256
    assert gpt2.tokenize("Transfer learning isn't new.") == [
        "Transfer",
        "Ġlearning",
        "Ġisn",
        "'t",
        "Ġnew",
        ".",
    ]
    assert gpt2.decode([50256]) == "<|endoftext|>" and 50256 not in gpt2.encode("<|endoftext|>")
    assert gpt2.encode("") == [] and gpt2.decode([]) == ""


@pytest.mark.assets
def test_trained_merges_are_the_library_s_ties_included(trained):
    ours, theirs = trained
    assert ours.merges == [tuple(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert len(ours) == 2000 and ours.eos_token_id == 1999


@pytest.mark.assets
def test_trained_tokenizers_give_the_same_ids_on_generated_strings_and_decode_alike(trained, strings):
    ours, theirs = trained
    rows = [ours.encode(text) for text in strings[:10_000]]
    for text, a, b in zip(strings, rows, ids(theirs, strings[:10_000]), strict=False):
        assert a == b or cut_otherwise(text, theirs)
    draw = random.Random(0)
    noise = [[draw.randrange(1999) for _ in range(draw.randint(1, 12))] for _ in range(2000)]
    assert [ours.decode(row) for row in noise] == theirs.decode_batch(noise)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text):
    found = ByteLevelBPE.train(["low lower lowest newest widest"] * 2, 270)
    assert found.decode(found.encode(text)) == text


@settings(deadline=None)
@given(st.text("ab", max_size=30), st.integers(0, 1000))
def test_joins_are_those_of_the_slow_obvious_loop(word, seed):
    merges = learned_at_random(seed)
    row = list(word)
    while found := [rank for rank, pair in enumerate(merges) if pair in itertools.pairwise(row)]:
        place = list(itertools.pairwise(row)).index(merges[found[0]])
        row[place : place + 2] = ["".join(merges[found[0]])]
    vocab = dict(BYTES)
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    ours = ByteLevelBPE(vocab, merges)
    assert ours.tokenize(word) == row
    assert ours.encode(word) == library(vocab, merges).encode(word).ids


def learned_at_random(seed):
    """Twelve merges of tokens that were made before."""
    draw, tokens, merges = random.Random(seed), ["a", "b"], []
    while len(merges) < 12:
        pair = (draw.choice(tokens), draw.choice(tokens))
        if pair not in merges:
            merges.append(pair)
            tokens.append("".join(pair))
    return merges


def test_a_word_of_100000_letters_takes_no_quadratic_time():
    found = ByteLevelBPE.train(["abab abab aabb"] * 2, 270)
    start = time.process_time()
    assert found.decode(found.encode("ab" * 50_000)) == "ab" * 50_000
    assert time.process_time() - start < 5  # measured: 0.3 s


def test_what_is_saved_loads_here_in_tokenizers_and_in_transformers(tmp_path):
    from transformers import AutoTokenizer, GPT2Tokenizer

    texts = ["low lower lowest\n\n", " naïve 東京 'll ## #"]
    ours = ByteLevelBPE.train(texts * 3, 300)
    ours.save(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "merges.txt",
        "tokenizer_config.json",
        "vocab.json",
    ]
    again = ByteLevelBPE.load(tmp_path / "new")
    assert len(again) == len(ours) == len(ours.vocab)
    assert (again.tokens, again.vocab, again.merges) == (ours.tokens, ours.vocab, ours.merges)
    files = [str(tmp_path / "new" / name) for name in ("vocab.json", "merges.txt")]
    theirs = with_bytes(Tokenizer(models.BPE.from_file(*files)))
    assert ids(theirs, texts) == [ours.encode(text) for text in texts]
    for cls in (AutoTokenizer, GPT2Tokenizer):
        theirs = cls.from_pretrained(tmp_path / "new")
        assert [theirs.encode(text) for text in texts] == [ours.encode(text) for text in texts]
        assert theirs.eos_token_id == ours.eos_token_id
    assert pickle.loads(pickle.dumps(again)).encode(texts[1]) == ours.encode(texts[1])


def write(folder, merges="#version: 0.2\na b\nab c\n", vocab=None, names=("vocab.json", "merges.txt")):
    vocab = {**BYTES, "ab": 256, "abc": 257, "<|endoftext|>": 258} if vocab is None else vocab
    (folder / names[0]).write_text(vocab if isinstance(vocab, str) else json.dumps(vocab), encoding="utf-8")
    (folder / names[1]).write_text(merges, encoding="utf-8")
    return folder


def test_both_layouts_are_read_with_and_without_header_and_with_windows_line_ends(tmp_path):
    for merges in ("#version: 0.2\na b\nab c\n", "a b\r\nab c\r\n", "a b\nab c"):
        for names in (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")):
            folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            assert ByteLevelBPE.load(write(folder, merges, names=names)).tokenize("abcab") == ["abc", "ab"]


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        (
            "#version: 0.2\na b\nabc\n",
            r"merges.txt: line 3 is 'abc', not two tokens with one space between them",
        ),
        ("#version: 0.2\na b\n\nab c\n", r"line 3 is '', not two tokens"),
        ("a b c\n", r"line 1 is 'a b c', not two tokens"),
        ("a b\nab \n", r"line 2 is 'ab ', not two tokens"),
        (
            "a b\nabx c\n",
            r"merge 2, 'abx' \+ 'c': 'abx' is no token before it; do vocabulary and merges belong",
        ),
        (
            "a b\nab d\n",
            r"merge 2, 'ab' \+ 'd': 'abd' is not in the vocabulary; do vocabulary and merges belong",
        ),
        ("ab c\na b\n", r"merge 1, 'ab' \+ 'c': 'ab' is no token before it"),
        ("a b\n#version: 0.2\n", r"merge 2, '#version:' \+ '0.2': '#version:' is no token before it"),
        ("a b\na b\n", r"merge 2, 'a' \+ 'b', stands twice; remove one"),
        ("a b\n", r"no merge makes 1 tokens of the vocabulary, such as 'abc'; are the 1 merges cut off\?"),
    ],
)
def test_broken_merges_are_named_with_their_line_or_number(tmp_path, merges, message):
    with pytest.raises(ValueError, match=message):
        ByteLevelBPE.load(write(tmp_path, merges))


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ({"a": 0}, r"vocab.json with merges.txt: the vocabulary lacks 255 of the 256 bytes: Āā"),
        ({**BYTES, "ab": 300}, r"the ids of 257 tokens must be 0 … 256, each once; they go from 0 to 300"),
        ({}, r"the vocabulary lacks 256 of the 256 bytes"),
        ({**BYTES, "ab": "1"}, r"vocab.json: the id of 'ab' is '1', not a whole number"),
        ('{"a": 0, "a": 1}', r"vocab.json: the name 'a' stands twice in one object; remove one"),
        ('{"a": 0, ', r"vocab.json is not JSON \(.*\); is it cut off\? Fetch it again"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_named(tmp_path, vocab, message):
    with pytest.raises(ValueError, match=message):
        ByteLevelBPE.load(write(tmp_path, vocab=vocab))


def test_a_folder_with_half_of_the_files_is_named(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    message = "has neither vocab.json with merges.txt nor encoder.json with vocab.bpe; give the folder"
    with pytest.raises(FileNotFoundError, match=message):
        ByteLevelBPE.load(tmp_path)


def test_training_refuses_what_it_cannot_learn_from():
    with pytest.raises(ValueError, match="texts has no words to learn from"):
        ByteLevelBPE.train([], 300)
    message = r"vocab_size=256 is below the 256 bytes and <\|endoftext\|>; choose at least 257"
    with pytest.raises(ValueError, match=message):
        ByteLevelBPE.train(["abc"], 256)
    assert ByteLevelBPE.train(["abc"], 257).merges == []
    with pytest.raises(TypeError, match="texts is one bytes"):
        ByteLevelBPE.train(b"abc", 300)


def test_text_and_ids_that_are_none_are_refused():
    found = ByteLevelBPE(BYTES, [])
    with pytest.raises(
        ValueError, match=r"the vocabulary of 256 tokens has no <\|endoftext\|>; load or train one"
    ):
        _ = found.eos_token_id
    with pytest.raises(TypeError, match="text is b'a', a bytes; give one str at a time"):
        found.encode(b"a")
    with pytest.raises(ValueError, match=r"lone surrogate U\+D83D at position 0"):
        found.tokenize("\ud83d")
    with pytest.raises(IndexError, match="id 256 is not in the vocabulary, whose ids are 0 … 255"):
        found.decode([256])
    with pytest.raises(TypeError, match=r"ids hold 0\.5, a float"):
        found.decode([0.5])
