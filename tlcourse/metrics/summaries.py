"""Summaries by the words they share with a reference: ROUGE (Lin 2004)."""

from collections.abc import Sequence

import numpy as np

KINDS = ("rouge1", "rouge2", "rougeL")


def rouge(
    predictions: Sequence[str], references: Sequence[str], *, stem: bool = True
) -> dict[str, np.ndarray]:
    """F-measure of each summary by the library rouge-score, 0…1: kind → (N,) float64.

    Shared single words, word pairs, and longest common subsequence, after lower-casing and, with stem, Porter's
    stemmer, as published figures use it. Each value is of one summary: give them to `bootstrap_interval`.
    Raises ValueError where there are none, or not as many references.
    """
    from rouge_score.rouge_scorer import RougeScorer

    if len(predictions) != len(references) or not len(predictions):
        raise ValueError(
            f"{len(predictions)} summaries and {len(references)} references; give one each, at least 1"
        )
    scorer = RougeScorer(list(KINDS), use_stemmer=stem)
    rows = [scorer.score(reference, text) for reference, text in zip(references, predictions, strict=True)]
    return {kind: np.array([row[kind].fmeasure for row in rows], dtype=np.float64) for kind in KINDS}
