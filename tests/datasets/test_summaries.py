"""Descriptions and synopses as pairs, and the first sentence."""

import pytest

from tlcourse import assets, metrics
from tlcourse.datasets import summaries as module
from tlcourse.datasets.descriptions import Package
from tlcourse.datasets.documents import Parts
from tlcourse.datasets.summaries import SummaryPair, first_sentence, summary_pairs


def package(name, n_words=30):
    return Package(name, name, f"synopsis of {name}", (" ".join([name] * (n_words - 1)), "end."))


def test_pairs_are_the_packages_with_a_description_that_is_long_enough(monkeypatch):
    parts = Parts((package("a"), package("b", 19), package("c", 20)), (package("d"),), (package("e"),))
    monkeypatch.setattr(module, "package_split", lambda seed: parts)
    found = summary_pairs(0)
    assert [p.id for p in found.train] == ["a", "c"]
    text = "\n".join(package("d").paragraphs)
    assert found.validation == (SummaryPair("d", "d", text, "synopsis of d"),)
    assert [p.id for p in summary_pairs(0, min_words=1).train] == ["a", "b", "c"]


def test_no_words_are_refused():
    with pytest.raises(ValueError, match="min_words=0 must be at least 1"):
        summary_pairs(0, min_words=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("One two. Three.", "One two."), ("Only one", "Only one"), ("", ""), ("Why? Because.", "Why?")],
)
def test_the_first_sentence_ends_at_its_mark(text, expected):
    assert first_sentence(text) == expected


@pytest.mark.assets
@pytest.mark.usefixtures("real")
def test_the_first_sentence_of_real_descriptions_scores_what_was_measured():
    if not assets.present("debian-descriptions"):
        pytest.skip("not in the cache; run `tlcourse assets fetch debian-descriptions`")
    pairs = summary_pairs(0).test[:500]
    scores = metrics.rouge([first_sentence(p.text) for p in pairs], [p.summary for p in pairs])
    # Measured on 3,268: .324, .159, .285; a point release of Debian moves them a little.
    assert scores["rouge1"].mean() == pytest.approx(0.32, abs=0.06)
    assert scores["rougeL"].mean() == pytest.approx(0.29, abs=0.06)
