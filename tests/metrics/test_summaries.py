"""ROUGE against counts by hand and a slow longest common subsequence."""

from collections import Counter

import numpy as np
import pytest

from tlcourse.metrics import rouge

WORDS = ("cat", "sat", "mat", "on", "big")


def f_measure(common, n, m):
    return 2 * common / (n + m) if common else 0.0


def longest_common(a, b):
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + longest_common(a[1:], b[1:])
    return max(longest_common(a[1:], b), longest_common(a, b[1:]))


def test_rouge_equals_its_definition():
    rng = np.random.default_rng(0)
    rows = [[list(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(2)] for _ in range(60)]
    found = rouge([" ".join(p) for p, _ in rows], [" ".join(r) for _, r in rows], stem=False)
    for i, (p, r) in enumerate(rows):
        for kind, n in (("rouge1", 1), ("rouge2", 2)):
            grams = [Counter(zip(*(t[k:] for k in range(n)), strict=False)) for t in (p, r)]
            expected = f_measure((grams[0] & grams[1]).total(), grams[0].total(), grams[1].total())
            assert found[kind][i] == pytest.approx(expected)
        assert found["rougeL"][i] == pytest.approx(f_measure(longest_common(p, r), len(p), len(r)))


def test_stemming_case_and_punctuation_do_not_count():
    assert rouge(["The cats SAT."], ["the cat sat"])["rouge1"] == pytest.approx([1.0])
    assert rouge(["The cats SAT."], ["the cat sat"], stem=False)["rouge1"] == pytest.approx([2 / 3])
    assert rouge(["", "x"], ["a b", "x"])["rougeL"].tolist() == [0.0, 1.0]
    assert rouge(["x"], ["x"])["rouge1"].dtype == np.float64


@pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_summaries_without_their_references_are_refused(predictions, references):
    with pytest.raises(ValueError, match=r"\d summaries and \d references; give one each, at least 1"):
        rouge(predictions, references)
