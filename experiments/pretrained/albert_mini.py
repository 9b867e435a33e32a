"""`albert-mini` on the four tasks that ALBERT is named for, from its checkpoint and from a random start.

make experiment NAME=pretrained/albert_mini

Items, seeds, epochs, grids of rates and scores are those of `experiments/pretrained/bert_mini.py`, run for run, so that
the two can be paired: nothing but the network and its pretraining differ. What needs no network is in
`experiments/pretrained/bert.py`: overlap of letters or words, lookup of names, TF-IDF, shapes of words.
"""

from __future__ import annotations

from tlcourse import results, weights
from tlcourse.models import albert

BASE = results.load_script(results.SCRIPTS / "pretrained" / "bert.py")
BASE.HEADS = {  # in this script's own copy
    "pairs": albert.AlbertForSequenceClassification,
    "topics": albert.AlbertForSequenceClassification,
    "reading": albert.AlbertForQuestionAnswering,
    "entities": albert.AlbertForTokenClassification,
}
SOURCE = "albert-mini"
SETTINGS = {"base": BASE.STUDY.recipe, "source": SOURCE, "weights": weights.read_card(SOURCE).sha256}
STUDY = results.Study("pretrained/albert_mini", SETTINGS, assets=["wordnet", "sentiment", "king-james-bible"])


def tune(source: str, task: str, arm: str, rate: float) -> dict:
    """One candidate rate on the validation part."""
    return BASE.tune(source, task, arm, rate)


def finetune(task: str, arm: str, rate: float, seed: int) -> dict:
    """One fine-tuned network on the test items whose words its pretraining text does not define."""
    return BASE.finetune(SOURCE, task, arm, rate, seed, fresh_only=True)


def plan(rates: dict) -> dict:
    return BASE.each_seed(finetune, rates)


def main() -> None:
    BASE.run(STUDY, SOURCE, tune, plan)


if __name__ == "__main__":
    main()
