"""Judges of sentences that learn nothing here: VADER's rules, and one person."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from tlcourse.datasets.sentences import Sentence


def vader(texts: Sequence[str]) -> np.ndarray:
    """VADER's compound score of each text (Hutto & Gilbert 2014): (N,) float64 in −1…1.

    Rules and a word list, no labels. Zero where no word of the text is in the list, so whoever turns scores
    into classes has to say what becomes of zero.
    """
    analyser = _vader_analyser()
    return np.array([analyser(text)["compound"] for text in texts], dtype=np.float64)


def human_accuracy(sentences: Sequence[Sentence]) -> float:
    """Expected accuracy of one rater, drawn at random, at telling the sign of the mean of the others.

    Per sentence, the share of its raters whose sign agrees with the sign of the mean of all its other raters,
    where a zero on either side counts half; then the mean over sentences. It is what one person reaches, not
    a bound: the mean of many is steadier than one rater, and a model may agree with it more often.
    Raises ValueError on no sentences and on a sentence with fewer than two ratings.
    """
    if not sentences:
        raise ValueError("no sentences to judge; pass at least one")
    shares = []
    for sentence in sentences:
        ratings = np.array(sentence.ratings, dtype=np.float64)  # (raters,)
        if len(ratings) < 2:
            raise ValueError(f"sentence {sentence.id} has {len(ratings)} ratings; two are needed")
        others = ratings.sum() - ratings
        shares.append(np.mean(0.5 + 0.5 * np.sign(ratings) * np.sign(others)))
    return float(np.mean(shares))


@lru_cache(maxsize=1)
def _vader_analyser() -> Callable[[str], dict[str, float]]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer().polarity_scores
