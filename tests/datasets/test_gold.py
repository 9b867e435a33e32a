"""The marked sentences: against their texts, against the rule that drew them, against the second pass."""

import json
from collections import Counter

import pytest

from tlcourse import assets, metrics
from tlcourse.datasets import _kept, gold
from tlcourse.datasets.gold import GoldSentence, gold_articles, gold_entities, gold_file, text_hash
from tlcourse.datasets.names import editorial_gazetteer
from tlcourse.datasets.sentences import Sentence
from tlcourse.datasets.silver import lookup_tags
from tlcourse.spans import Span, tags_of_spans, words

KINDS = {"person", "place", "organisation", "other"}


def needs_wordnet():
    if not assets.present("wordnet"):
        pytest.skip("wordnet is not in the cache; run `tlcourse assets fetch wordnet`")


@pytest.mark.assets
def test_every_gold_span_lies_in_the_text_that_was_marked_and_is_a_whole_name():
    found = gold_entities(organisations=True)
    assert len(found) == len({s.id for s in found}) == 320
    assert Counter(s.half for s in found) == {"random": 160, "matched": 160}
    for sentence in found:
        before = 0
        for span in sentence.spans:
            text = sentence.text[span.start : span.end]
            assert before <= span.start
            assert span.end <= len(sentence.text)
            assert span.type in KINDS
            assert text == text.strip() and text[:4] not in ("Mr. ", "the ")
            assert not sentence.text[span.start - 1 : span.start + 1].isalnum() or span.start == 0
            assert not sentence.text[span.end - 1 : span.end + 1].isalnum() or span.end == len(sentence.text)
            before = span.end
        assert len([t for t in sentence.tagged.tags if t[0] == "B"]) == len(sentence.spans)
        assert sentence.group == sentence.id.split("_")[0]
        assert sentence.group in gold_articles()


@pytest.mark.assets
def test_organisations_are_other_unless_they_are_kept():
    kept = Counter(s.type for x in gold_entities(organisations=True) for s in x.spans)
    merged = Counter(s.type for x in gold_entities() for s in x.spans)
    assert kept.keys() == KINDS
    assert merged == {k: kept[k] for k in ("person", "place")} | {
        "other": kept["other"] + kept["organisation"]
    }


@pytest.mark.assets
def test_the_file_republishes_no_text():
    body = gold_file()
    assert {key for entry in body["sentences"] for key in entry} == {"id", "half", "sha256", "entities"}
    assert {key for entry in body["second_pass"] for key in entry} == {"id", "entities"}
    text = json.dumps(body)
    assert not any(s.text[:40] in text for s in gold_entities() if len(s.text) > 40)


@pytest.mark.assets
def test_the_sentences_are_those_that_the_rule_draws():
    needs_wordnet()
    assert gold.draw_gold() == {entry["id"]: entry["half"] for entry in gold_file()["sentences"]}


@pytest.mark.assets
def test_the_lookup_scores_on_the_random_half_what_the_module_says():
    needs_wordnet()
    some = [s for s in gold_entities() if s.half == "random"]
    tags = [lookup_tags(editorial_gazetteer(), s.text) for s in some]
    found = metrics.entity_scores([s.tagged.tags for s in some], tags)["all"]
    assert (found.precision, found.recall) == (pytest.approx(0.921, abs=1e-3), pytest.approx(0.230, abs=1e-3))


@pytest.mark.assets
def test_the_random_half_does_not_depend_on_the_word_list():
    class Nothing:
        def find(self, text):
            return ()

    assert gold.draw_gold(Nothing()) == {
        entry["id"]: "random" for entry in gold_file()["sentences"] if entry["half"] == "random"
    }


@pytest.mark.assets
def test_the_second_pass_agrees_as_the_guide_says():
    first = {s.id: s for s in gold_entities(organisations=True)}
    again = gold_file()["second_pass"]
    assert len({entry["id"] for entry in again}) == 60
    truth, predictions = [], []
    for entry in again:
        sentence = first[entry["id"]]
        spans = [Span(*span) for span in entry["entities"]]
        truth.append(sentence.tagged.tags)
        predictions.append(tags_of_spans(words(sentence.text), spans))
    found = metrics.entity_scores(truth, predictions)["all"]
    assert found.f1 == pytest.approx(gold_file()["agreement"]["f1"], abs=5e-4)
    assert found.support == gold_file()["agreement"]["first"]
    assert found.predicted == gold_file()["agreement"]["second"]


def a_sentence(text="Bonn lies here"):
    return Sentence("1_1", "editorials", "1", text, 0.0, (), False)


@pytest.fixture
def one_entry(monkeypatch):
    def use(entities, text="Bonn lies here", hashed=None):
        entry = {"id": "1_1", "half": "random", "sha256": text_hash(hashed or text), "entities": entities}
        monkeypatch.setattr(gold, "gold_file", lambda: {"sentences": [entry]})
        monkeypatch.setattr(gold, "sentiment", lambda domain: (a_sentence(text),))
        gold_entities.cache_clear()

    yield use
    gold_entities.cache_clear()


def test_a_sentence_comes_in_words_with_tags(one_entry):
    one_entry([[0, 4, "place"], [10, 14, "organisation"]])
    (found,) = gold_entities()
    spans = (Span(0, 4, "place"), Span(10, 14, "other"))
    assert found == GoldSentence("1_1", "1", "Bonn lies here", "random", spans)
    assert found.tagged.words == ("Bonn", "lies", "here")
    assert found.tagged.tags == ("B-place", "O", "B-other")


def test_another_text_is_refused(one_entry):
    one_entry([], hashed="Bonn lies there")
    with pytest.raises(ValueError, match="gold sentence 1_1 is not the text that was marked; run `tlcourse"):
        gold_entities()


def test_an_unknown_sentence_is_refused(one_entry, monkeypatch):
    one_entry([])
    monkeypatch.setattr(gold, "sentiment", lambda domain: ())
    with pytest.raises(ValueError, match="gold sentence 1_1 is not the text that was marked"):
        gold_entities()


def test_a_span_out_of_the_text_is_refused(one_entry):
    one_entry([[0, 15, "place"]])
    with pytest.raises(ValueError, match="gold sentence 1_1 has 14 characters, a span ends at 15"):
        gold_entities()


def test_the_file_is_found_in_an_installed_package_too(tmp_path, monkeypatch):
    (tmp_path / "tlcourse" / "data").mkdir(parents=True)
    (tmp_path / "tlcourse" / "data" / "entities-gold.json").write_text('{"sentences": []}')
    monkeypatch.setattr(_kept, "_PACKAGE", tmp_path / "tlcourse")
    gold_file.cache_clear()
    assert gold_file() == {"sentences": []}
    gold_file.cache_clear()


def test_hash_is_sha256():
    assert text_hash("") == "e3b0c44298fc1c14"
