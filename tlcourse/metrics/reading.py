"""Reading comprehension as SQuAD scores it: exact match and F1 (Rajpurkar et al. 2016; 2018 with no-answer questions).

Both compare normalised texts, and take the best over a question's answers. Of a question without an answer the only
right prediction is the empty text, and it counts 1 in both.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class ReadingScore:
    """Percentages over all questions and over those with and without an answer, None where there are none of a kind.

    by_question: id → (exact match, F1), each 0…1, for intervals over groups.
    """

    exact: float
    f1: float
    n: int
    answerable_exact: float | None
    answerable_f1: float | None
    no_answer: float | None
    by_question: Mapping[str, tuple[float, float]]


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, without the words a, an, the, blanks folded, in this order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 where the prediction equals one of the answers after normalisation, else 0; no answers: "" is right."""
    return _best(lambda a, b: float(a == b), prediction, answers)


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Largest F1 over the answers between the bags of normalised words, 0…1; an empty side counts as exact match."""
    return _best(_overlap, prediction, answers)


def reading_scores(predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]) -> ReadingScore:
    """Score predictions: id → text ("" for no answer) against id → acceptable texts (none for no answer).

    Raises ValueError where there is no question, and where a question has no prediction: the official scripts leave
    such questions out (2.0) or count them wrong (1.1), and both hide a mistake. Predictions for other questions are
    refused likewise.
    """
    if not answers:
        raise ValueError("no questions to score")
    for kind, ids in (
        ("no prediction for", answers.keys() - predictions.keys()),
        ("a prediction without", predictions.keys() - answers.keys()),
    ):
        if ids:
            raise ValueError(f"{kind} {len(ids)} of the questions, e.g. {min(ids)!r}; give one each")
    scores = {
        id: (exact_match(predictions[id], given), token_f1(predictions[id], given))
        for id, given in answers.items()
    }
    table = 100 * np.array(list(scores.values()))  # (N, 2)
    answerable = np.array([_has_answer(given) for given in answers.values()])  # (N,)
    return ReadingScore(
        exact=float(table[:, 0].mean()),
        f1=float(table[:, 1].mean()),
        n=len(table),
        answerable_exact=float(table[answerable, 0].mean()) if answerable.any() else None,
        answerable_f1=float(table[answerable, 1].mean()) if answerable.any() else None,
        no_answer=None if answerable.all() else float(table[~answerable, 0].mean()),
        by_question=scores,
    )


def no_answer_threshold(
    null_minus_best: Sequence[float], scores: Sequence[float], answerable: Sequence[bool]
) -> tuple[float, float]:
    """The threshold above which "no answer" is said that gives the best mean score, and that score in percent.

    null_minus_best: (N,) null score minus best span's; scores: (N,) exact match or F1 of the span, 0…1, if it is
    given as the answer; answerable: (N,). Choose it on validation questions and never on those it is reported for. The
    threshold is one of null_minus_best, or −∞ where never answering is best; of equals, the smallest.
    Raises ValueError on lengths that differ, on nothing, on NaN.
    """
    odds, scores = (np.asarray(x, dtype=np.float64) for x in (null_minus_best, scores))
    answerable = np.asarray(answerable, dtype=bool)
    if not odds.shape == scores.shape == answerable.shape or odds.ndim != 1 or not len(odds):
        raise ValueError(
            f"null_minus_best {odds.shape}, scores {scores.shape} and answerable {answerable.shape} "
            "must be vectors of one length, at least 1"
        )
    if np.isnan(odds).any() or np.isnan(scores).any():
        raise ValueError("null_minus_best or scores hold NaN; leave those questions out")
    # Questions with odds ≤ threshold are answered: walking up, each turns from "no answer" to its span.
    order = np.argsort(odds, kind="stable")
    gain = np.where(answerable, scores, -1.0)[order]
    levels, last = np.unique(odds[order][::-1], return_index=True)  # equal odds turn together
    totals = np.sum(~answerable) + np.concatenate([[0.0], np.cumsum(gain)[len(odds) - 1 - last]])
    best = int(np.argmax(totals))
    return float(np.concatenate([[-np.inf], levels])[best]), float(100 * totals[best] / len(odds))


def _has_answer(answers: Sequence[str]) -> bool:
    return any(normalise_answer(answer) for answer in answers)


def _best(score: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    """Answers of nothing but articles and punctuation are left out, as the script of SQuAD 2.0 does."""
    prediction = normalise_answer(prediction)
    texts = [text for text in map(normalise_answer, answers) if text] or [""]
    return max(score(prediction, text) for text in texts)


def _overlap(prediction: str, answer: str) -> float:
    given, wanted = prediction.split(), answer.split()
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))
