"""CoNLL-2003 and WNUT-17 files, written by hand after their formats; seqeval's IOB1 as oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import IOB1, Entities

from tlcourse.datasets.columns import Tagged, iob2, read_conll2003, read_wnut17
from tlcourse.spans import spans_of_tags

CONLL = """-DOCSTART- -X- -X- O

EU NNP I-NP {0}-ORG
rejects VBZ I-VP O
German JJ I-NP {0}-MISC

Peter NNP I-NP {0}-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- O O

Bonn NNP I-NP {0}-LOC
Rhine NNP I-NP B-LOC
"""


@pytest.mark.parametrize("prefix", ["I", "B"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_conll_2003_is_read_in_both_spellings_of_its_tags(tmp_path, prefix, ending):
    path = tmp_path / "eng.testa"
    path.write_bytes(CONLL.format(prefix).replace("\n", ending).encode())
    assert read_conll2003(path) == (
        Tagged("1", "1", ("EU", "rejects", "German"), ("B-ORG", "O", "B-MISC")),
        Tagged("2", "1", ("Peter", "Blackburn"), ("B-PER", "I-PER")),
        Tagged("3", "2", ("Bonn", "Rhine"), ("B-LOC", "B-LOC")),
    )


def test_conll_2003_without_documents_groups_by_sentence(tmp_path):
    path = tmp_path / "x"
    path.write_text("a A A O\n\nb B B O")
    assert [s.group for s in read_conll2003(path)] == ["1", "2"]


def test_wnut_17_is_read(tmp_path):
    path = tmp_path / "emerging.test"
    path.write_text(
        "@user\tO\nNew York\tB-location\n\t\n\n:)\tO\nVan Gogh\tB-creative-work\nx\tI-creative-work\n"
    )
    assert read_wnut17(path) == (
        Tagged("1", "1", ("@user", "New York"), ("O", "B-location")),
        Tagged("2", "2", (":)", "Van Gogh", "x"), ("O", "B-creative-work", "I-creative-work")),
    )


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_conll2003, "a A A O\nb B O\n", r"f, line 2 has 3 columns, not 4: 'b B O'"),
        (read_wnut17, "a O\n", r"f, line 1 has 1 columns, not 2: 'a O'"),
        (read_wnut17, "a\tO\nb\tX\n", "sentence 1: tag 'X' at word 1 is not O, B-type or I-type"),
        (read_conll2003, "-DOCSTART- -X- -X- O\n\n", "f holds no sentence; wanted 4 columns a line"),
    ],
)
def test_malformed_files_are_named(tmp_path, read, text, message):
    (tmp_path / "f").write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "f")


@pytest.mark.parametrize(("words", "tags"), [((), ()), (("a",), ()), (("a",), ("O", "O"))])
def test_a_sentence_needs_a_tag_a_word(words, tags):
    with pytest.raises(ValueError, match=r"sentence 7 has \d words and \d tags; wanted one tag each"):
        Tagged("7", "7", words, tags)


@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), min_size=1, max_size=12))
def test_iob2_keeps_the_entities_that_seqeval_reads_in_iob1(tags):
    found = iob2(tags)
    assert iob2(found) == found
    oracle = [(e.start, e.end, e.tag) for e in Entities([tags], IOB1).entities[0]]
    if "B" not in {t[0] for t, before in zip(tags, ["O", *tags], strict=False) if before[1:] != t[1:]}:
        # in IOB1 a B- parts neighbours of one type and stands nowhere else
        assert [(s.start, s.end, s.type) for s in spans_of_tags(found, "strict")] == oracle
