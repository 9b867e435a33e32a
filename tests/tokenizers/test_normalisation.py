"""The steps of a tokenizer.json against the `tokenizers` library's."""

import json

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from tlcourse.tokenizers import normalisation

TEXTS = ["", "Straße ΑΣ ÀÉ İ ﬁ ½ ①", "a  b   c", "``q'' .*", "e\u0301\u0323 한글 が", "\u0301\u20dd x\u093e"]
STEPS = [
    normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(),
    normalizers.StripAccents(), normalizers.Replace("``", '"'), normalizers.Replace(".", "\\1"),
    normalizers.Replace(Regex(" {2,}"), "▁"),
    normalizers.Sequence([normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents()]),
]  # fmt: skip


def as_json(normalizer=None, pre_tokenizer=None):
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    return json.loads(tokenizer.to_str())


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_each_step_does_what_the_library_s_does(step):
    functions = normalisation.steps(as_json(normalizer=step)["normalizer"])
    for text in TEXTS:
        expected = step.normalize_str(text)
        for function in functions:
            text = function(text)
        assert text == expected


def test_a_compiled_table_is_read_or_refused_as_charsmap_does():
    # Two nodes, of which none leads anywhere: nothing is replaced.
    (step,) = normalisation.steps({"type": "Precompiled", "precompiled_charsmap": "CAAAAAAEAAAAAAAA"})
    assert step("") == ""
    with pytest.raises(ValueError, match="the precompiled_charsmap is not base64"):
        normalisation.steps({"type": "Precompiled", "precompiled_charsmap": "%"})


def test_no_normalizer_is_no_step():
    assert normalisation.steps(None) == []


@pytest.mark.parametrize(
    "step", [normalizers.Strip(), normalizers.Replace(Regex("a+"), "b"), normalizers.Prepend("▁")], ids=repr
)
def test_another_step_is_named(step):
    with pytest.raises(
        ValueError, match=r"the normalizer {.*} is not known here; known are Sequence, NFC, .*Precompiled"
    ):
        normalisation.steps(as_json(normalizer=normalizers.Sequence([normalizers.NFC(), step]))["normalizer"])


@pytest.mark.parametrize("splits", [True, False])
def test_words_are_the_library_s_and_so_is_the_way_they_are_written_down(splits):
    marks = pre_tokenizers.Metaspace()
    library = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks]) if splits else marks
    spec = as_json(pre_tokenizer=library)["pre_tokenizer"]
    assert normalisation.splits_white_space(spec) is splits and normalisation.pre_tokenizer(splits) == spec
    for text in ["", " ", "a", " a  b\tc\n", "a▁b ▁ c", "\x1c\x85\u3000 x", "▁▁"]:
        expected = [word for word, _ in library.pre_tokenize_str(text)]
        assert normalisation.words(text, split_white_space=splits) == expected


@pytest.mark.parametrize(
    "other",
    [
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        pre_tokenizers.Metaspace(split=False),
        pre_tokenizers.Metaspace(replacement="_"),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Digits()]),
    ],
    ids=repr,
)
def test_another_pre_tokenizer_is_named(other):
    with pytest.raises(
        ValueError, match=r"the pre_tokenizer {.*} is not known here; known is Metaspace with ▁ always"
    ):
        normalisation.splits_white_space(as_json(pre_tokenizer=other)["pre_tokenizer"])


def test_the_older_spelling_of_metaspace_is_read():
    spec = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    assert normalisation.splits_white_space(spec) is False
    with pytest.raises(ValueError, match="'add_prefix_space': False"):
        normalisation.splits_white_space(spec | {"add_prefix_space": False})
