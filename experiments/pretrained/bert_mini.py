"""The course's own small BERT on the same five tasks.  make experiment NAME=pretrained/bert_mini

`bert-mini` was pretrained on the Bible and on WordNet alone, with a vocabulary of its own. Here it does what MiniLM
does in `experiments/pretrained/bert.py`, with learning rates chosen in the same way, beside the same network from a
random start. It is tested on those items only whose words its pretraining text does not define; in questions that
concerns the entry that is asked for, not the other one of the small dictionary. Masked words are as in
`experiments/pretrained/bert_masked.py`, on its own tokens, against counts of these tokens; one pretraining run stands
for all seeds there.
"""

from __future__ import annotations

from tlcourse import results, weights
from tlcourse.models.bert import BertForMaskedLM

BASE = results.load_script(results.SCRIPTS / "pretrained" / "bert.py")
MASKED = results.load_script(results.SCRIPTS / "pretrained" / "bert_masked.py")
SOURCE = "bert-mini"
SETTINGS = {
    "base": BASE.STUDY.recipe,
    "masked": MASKED.STUDY.recipe,
    "source": SOURCE,
    "weights": weights.read_card(SOURCE).sha256,
}
STUDY = results.Study("pretrained/bert_mini", SETTINGS, assets=["wordnet", "sentiment", "king-james-bible"])


def tune(source: str, task: str, arm: str, rate: float) -> dict:
    """One candidate rate on the validation part."""
    return BASE.tune(source, task, arm, rate)


def finetune(task: str, arm: str, rate: float, seed: int) -> dict:
    """One fine-tuned network on the test items that are fresh to it."""
    return BASE.finetune(SOURCE, task, arm, rate, seed, fresh_only=True)


def masked() -> dict:
    """The pretrained network as it is, once for each seed to be paired with the counts."""
    model, runs = BertForMaskedLM.from_pretrained(SOURCE), []
    for run in MASKED.evaluated(model, SOURCE, arm=SOURCE):
        runs += [run | {"seed": seed} for seed in MASKED.SETTINGS["seeds"]]
    return {"runs": runs}


def counting(corpus: str) -> dict:
    """Counts of the tokens that `bert-mini` reads."""
    return MASKED.counting(SOURCE, corpus)


def plan(rates: dict) -> dict:
    jobs = {"masked": (masked, {})}
    jobs |= {f"counts {corpus}": (counting, {"corpus": corpus}) for corpus in MASKED.SETTINGS["corpora"]}
    return jobs | BASE.each_seed(finetune, rates)


def main() -> None:
    BASE.run(STUDY, SOURCE, tune, plan)


if __name__ == "__main__":
    main()
