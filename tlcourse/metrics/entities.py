"""Named entities as CoNLL scores them: an entity counts where its type and both its ends are right.

Ours rather than the library `seqeval`, which tests compare it with: its last release is of 2020, it has no wheel, and
a course needs the spans as well as the score.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tlcourse.spans import spans_of_tags


@dataclass(frozen=True)
class EntityScore:
    """precision, recall, f1: 0…1, zero where undefined; support, predicted: entities in truth and prediction."""

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


def entity_scores(
    truth: Sequence[Sequence[str]],
    predictions: Sequence[Sequence[str]],
    mode: Literal["default", "strict"] = "default",
) -> dict[str, EntityScore]:
    """Scores by type, and "all" of all entities together (micro average), out of tags O, B-type, I-type.

    truth, predictions: a list of tags a sentence, one a word. mode: what an I- that continues nothing means, as in
    `spans_of_tags`; "default" is conlleval's and the published figures', "strict" counts well-formed entities alone.
    Raises ValueError where the sentences or their lengths differ, on no sentences, on a type named "all".
    """
    if len(truth) != len(predictions) or not truth:
        raise ValueError(
            f"{len(truth)} sentences of truth and {len(predictions)} of predictions; give both for the same, at least 1"
        )
    wanted: set[tuple] = set()
    given: set[tuple] = set()
    for number, (true, predicted) in enumerate(zip(truth, predictions, strict=True)):
        if len(true) != len(predicted):
            raise ValueError(
                f"sentence {number} has {len(true)} words in the truth and {len(predicted)} in the predictions"
            )
        for found, tags in ((wanted, true), (given, predicted)):
            found |= {(number, s.start, s.end, s.type) for s in spans_of_tags(tags, mode)}
    counts = [Counter(entity[-1] for entity in found) for found in (wanted & given, wanted, given)]
    types = sorted(counts[1].keys() | counts[2].keys())
    if "all" in types:
        raise ValueError('a type is called "all", which names the score of all types; rename it')
    scores = {kind: _score(*(count[kind] for count in counts)) for kind in types}
    return scores | {"all": _score(*(count.total() for count in counts))}


def _score(right: int, support: int, predicted: int) -> EntityScore:
    return EntityScore(
        precision=right / predicted if predicted else 0.0,
        recall=right / support if support else 0.0,
        f1=2 * right / (support + predicted) if support + predicted else 0.0,
        support=support,
        predicted=predicted,
    )
