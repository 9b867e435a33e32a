"""WordPiece against the `tokenizers` library on BERT's vocabulary, and its own training, files and errors."""

import json
import pickle

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tlcourse import assets
from tlcourse.tokenizers import WordPiece, bert_text, cache

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def library(vocab, lowercase=True):
    found = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    found.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.decoder = decoders.WordPiece(cleanup=False)
    return found


@pytest.fixture(scope="module")
def bert():
    return WordPiece.load(assets.path("minilm", "vocab.txt"))


@pytest.fixture(scope="module")
def official():
    found = Tokenizer.from_file(str(assets.path("minilm", "tokenizer.json")))
    found.no_padding()
    found.no_truncation()
    return found


def ids(tokenizer, texts):
    return [row.ids for row in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@pytest.mark.assets
def test_ids_equal_the_library_s_on_100000_generated_strings_but_for_other_unicode_versions(
    bert, official, strings
):
    ours, theirs = [bert.encode(text) for text in strings], ids(official, strings)
    differing = [text for text, a, b in zip(strings, ours, theirs, strict=True) if a != b]
    # Each such text has a character whose words differ by themselves; test_bert_text lists and explains those.
    strange = {char for text in differing for char in text if char_differs(char, official)}
    assert all(strange & set(text) for text in differing)
    assert len(strings) == 100_000 and len(differing) < 2_000


def char_differs(char, official):
    normalised = official.normalizer.normalize_str(f"a{char}A")
    theirs = [word for word, _ in official.pre_tokenizer.pre_tokenize_str(normalised)]
    return bert_text.words(f"a{char}A", lowercase=True) != theirs


@pytest.mark.assets
def test_ids_equal_the_library_s_on_all_sentences_of_the_course(bert, official, sentences):
    assert [bert.encode(text) for text in sentences] == ids(official, sentences)


@pytest.mark.assets
def test_ids_equal_the_library_s_on_wordnet_the_bible_shakespeare_and_package_descriptions(
    bert, official, books
):
    assert [bert.encode(text) for text in books] == ids(official, books)


@pytest.mark.assets
def test_decoded_text_is_the_library_s(bert, strings):
    theirs = library(bert.vocab)
    rows = [bert.encode(text) for text in strings[:2000]]
    assert [bert.decode(row) for row in rows] == theirs.decode_batch(rows, skip_special_tokens=False)


@pytest.mark.assets
def test_bert_s_special_ids_and_pieces(bert):
    assert len(bert) == 30522
    ids = bert.pad_token_id, bert.unk_token_id, bert.cls_token_id, bert.sep_token_id, bert.mask_token_id
    assert ids == (0, 100, 101, 102, 103)
    assert bert.tokenize("Unaffable, naïve [MASK]") == [
        "una",
        "##ffa",
        "##ble",
        ",",
        "naive",
        "[",
        "mask",
        "]",
    ]
    assert bert.encode("") == bert.tokenize(" \n") == [] and bert.decode([]) == ""


def test_a_word_is_unknown_where_its_rest_is_and_above_100_characters():
    tokens = [*SPECIAL, "a", "ab", "##c", "##cd", "##a"]
    ours, theirs = WordPiece(tokens), library({t: i for i, t in enumerate(tokens)})
    texts = ["abcd", "abd", "abc abx a", "a" * 100, "a" * 101, "c", "ab" * 20]
    assert [ours.encode(text) for text in texts] == ids(theirs, texts)
    assert ours.tokenize("abcd abx") == ["ab", "##cd", "[UNK]"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_trained_vocabulary_is_the_library_s_but_for_equally_frequent_pairs(sentences, lowercase):
    texts = sentences[::6]
    ours = WordPiece.train(texts, 2000, lowercase=lowercase)
    theirs = library({"[UNK]": 0}, lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=2000, min_frequency=2, special_tokens=SPECIAL, show_progress=False
    )
    theirs.train_from_iterator(texts, trainer)
    assert len(ours) == 2000 and ours.tokens[:5] == SPECIAL
    # The library numbers the ##characters anew in each run, and its ties fall accordingly.
    assert len(set(theirs.get_vocab()) & set(ours.vocab)) >= 1990
    lengths = [sum(len(row) for row in rows) for rows in (map(ours.encode, texts), ids(theirs, texts))]
    assert lengths[0] == pytest.approx(lengths[1], rel=2e-3)
    # On one vocabulary, trained words are cut alike.
    assert [ours.encode(text) for text in texts] == ids(library(ours.vocab, lowercase), texts)


def test_training_twice_gives_the_same_and_stops_where_no_pair_occurs_twice(tmp_path):
    texts = ["low lower lowest", "low low new newer"]
    ours = WordPiece.train(texts, 100)
    assert ours.tokens == WordPiece.train(iter(texts), 100).tokens
    assert {"low", "new", "##er"} <= set(ours.tokens) and "lowest" not in ours.vocab
    assert len(ours) < 100
    assert len(WordPiece.train(texts, len(SPECIAL) + 14)) == len(SPECIAL) + 14


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_is_saved_loads_here_and_in_transformers(tmp_path, lowercase):
    from transformers import AutoTokenizer, BertTokenizer

    texts = ["The Café, the café", "a cafe 東 \u2028 the"]
    ours = WordPiece.train(texts, 60, lowercase=lowercase)
    ours.save(tmp_path / "new" / "folder")
    ours.save(tmp_path / "new" / "folder")  # over what is there
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "tokenizer_config.json",
        "vocab.txt",
    ]
    for path in (tmp_path / "new" / "folder", tmp_path / "new" / "folder" / "vocab.txt"):
        again = WordPiece.load(path)
        assert again.tokens == ours.tokens and again.lowercase == lowercase
    assert WordPiece.load(path, lowercase=not lowercase).lowercase is not lowercase
    for cls in (AutoTokenizer, BertTokenizer):
        theirs = cls.from_pretrained(tmp_path / "new" / "folder")
        for text in texts:
            assert theirs.encode(text, add_special_tokens=False) == ours.encode(text)
        assert theirs.mask_token_id == ours.mask_token_id


def test_a_vocabulary_with_windows_line_ends_and_no_end_in_the_last_line_is_read(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("[UNK]\r\na\u2028b\r\n##c".encode())
    found = WordPiece.load(tmp_path)
    assert found.tokens == ["[UNK]", "a\u2028b", "##c"] and found.lowercase


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[UNK]\na\nb\na\n", r"vocab.txt, line 4: 'a' stands in line 2 too; remove one"),
        ("[UNK]\n\na\n", r"vocab.txt, line 2, is empty; each line holds one token"),
        ("[PAD]\na\n", r"vocab.txt has no \[UNK\] among its 2 tokens; is it a vocabulary of BERT\?"),
        ("", r"vocab.txt has no \[UNK\] among its 0 tokens"),
        (b"[UNK]\n\xff", r"vocab.txt is not UTF-8 text \(byte 6: invalid start byte\); fetch it again"),
    ],
)
def test_a_broken_vocabulary_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        WordPiece.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"vocab.txt is no file; give the tokenizer's own file, or the folder"
    ):
        WordPiece.load(tmp_path)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["a"], r"the vocabulary of 1 tokens has no \[UNK\]; load or train one that has"),
        (["[UNK]", "a", "a"], r"the vocabulary: the token 'a' stands twice, at 1 and 2; remove one"),
        (["[UNK]", ""], r"the token with id 1 is empty; remove it"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        WordPiece(tokens)


def test_a_special_token_that_is_missing_is_named_when_asked_for():
    found = WordPiece(["[UNK]", "a"])
    for name in ("pad", "cls", "sep", "mask"):
        with pytest.raises(ValueError, match=rf"the vocabulary of 2 tokens has no \[{name.upper()}\]"):
            getattr(found, f"{name}_token_id")


def test_training_refuses_what_it_cannot_learn_from():
    with pytest.raises(ValueError, match="texts has no words to learn from; give at least one text"):
        WordPiece.train(["", " \n"], 100)
    with pytest.raises(
        ValueError, match="vocab_size=9 is below the 5 special tokens and the 5 forms of the texts' characters; "
        "choose at least 10"
    ):  # fmt: skip
        WordPiece.train(["abc"], 9)
    with pytest.raises(TypeError, match=r"texts is one str, 'abc'; give a list of texts: \[text\]"):
        WordPiece.train("abc", 9)
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800 at position 1"):
        WordPiece.train(["abc", "a\ud800"], 9)


def test_text_and_ids_that_are_none_are_refused():
    found = WordPiece([*SPECIAL, "a", "##b"])
    with pytest.raises(TypeError, match="text is None, a NoneType; give one str at a time"):
        found.encode(None)
    with pytest.raises(TypeError, match=r"text is \['a', 'a', .*…, a list; give one str at a time"):
        found.tokenize(["a"] * 50)
    with pytest.raises(
        ValueError,
        match=r"text has the lone surrogate U\+DC80 at position 2, half of a character; mend it with text",
    ):
        found.encode("ab\udc80")
    for wrong in (7, -1):
        with pytest.raises(IndexError, match=rf"id {wrong} is not in the vocabulary, whose ids are 0 … 6"):
            found.decode([5, wrong])
    for wrong in ([5.0], [[5, 6]], ["a"], torch.tensor([[5, 6]])):
        with pytest.raises(TypeError, match="decode takes one flat sequence of whole numbers"):
            found.decode(wrong)
    for good in ([5, 6], torch.tensor([5, 6]), np.array([5, 6]), iter((5, 6))):
        assert found.decode(good) == "ab"


def test_a_full_cache_is_emptied_and_a_copy_of_a_used_tokenizer_is_as_good(monkeypatch):
    monkeypatch.setattr(cache, "SIZE", 2)
    found = WordPiece([*SPECIAL, "a", "##b"])
    assert found.encode("a ab abb a ab aba") == [5, 5, 6, 5, 6, 6, 5, 5, 6, 1]
    assert len(found._cache) <= 2
    assert pickle.loads(pickle.dumps(found)).encode("ab abb") == [5, 6, 5, 6, 6]


def test_a_config_of_another_kind_is_named(tmp_path):
    WordPiece(SPECIAL).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match=r"tokenizer_config.json holds a JSON list, not an object"):
        WordPiece.load(tmp_path)
