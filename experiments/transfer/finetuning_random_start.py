"""Is the random start starved? Tweets again, twice as long.

make experiment NAME=transfer/finetuning_random_start
In `experiments/transfer/finetuning.py` the random start gets one epoch more than full fine-tuning and a rate chosen on
editorials. Here it gets twice its epochs, and its rate is chosen again at that length, on tweets, where it
comes closest to the pretrained start. A script of its own, so that it leaves the other's results as they are.
"""

from __future__ import annotations

from tlcourse import datasets, results

BASE = results.load_script(results.SCRIPTS / "transfer" / "finetuning.py")
SETTINGS = {
    "base": BASE.STUDY.recipe,
    "domain": "tweets",
    "n": 2000,
    "n_tuning": 1900,  # the exploratory split's training part has 1,940
    "epochs": 6,
    "exploratory_seed": BASE.SETTINGS["exploratory_seed"],
    "seeds": BASE.SETTINGS["seeds"],
    "rates": BASE.SETTINGS["rates"]["random"],
}
STUDY = results.Study("transfer/finetuning_random_start", SETTINGS, assets=["minilm", "sentiment"])


def trained(rate: float, seed: int, n: int, part: str):
    """MiniLM's architecture from random weights, `epochs` times over n tweets of a part of the split."""
    model = BASE.build("random", seed)
    sentences = BASE.training_sentences(SETTINGS["domain"], n, seed, part)
    BASE.train(model, sentences, arm="random", rate=rate, epochs=SETTINGS["epochs"], seed=seed)
    return model


def tune(rate: float) -> dict:
    """Validation accuracy of one candidate rate on the exploratory split."""
    seed = SETTINGS["exploratory_seed"]
    held_out = datasets.sentiment_split(SETTINGS["domain"], seed).validation
    right = (
        BASE.margins(trained(rate, seed, SETTINGS["n_tuning"], "train"), held_out) > 0
    ) == datasets.labels(held_out)
    return {
        "task": "tune",
        "arm": "random_longer",
        "rate": rate,
        "seed": seed,
        "accuracy": float(right.mean()),
    }


def finetune(rate: float, seed: int) -> dict:
    """One run on the test tweets of a fresh split."""
    domain, n = SETTINGS["domain"], SETTINGS["n"]
    test, clear = BASE.test_sentences(domain, seed, n)
    key = {"task": "finetune", "arm": "random_longer", "domain": domain, "n": n, "seed": seed, "rate": rate}
    return key | BASE.scored(BASE.margins(trained(rate, seed, n, "all"), test), test, clear)


def plan_tuning() -> dict:
    return {f"tune {rate:g}": (tune, {"rate": rate}) for rate in SETTINGS["rates"]}


def plan(rate: float) -> dict:
    return {f"finetune {seed}": (finetune, {"rate": rate, "seed": seed}) for seed in SETTINGS["seeds"]}


def main() -> None:
    tuning = STUDY.run(plan_tuning())
    best = max(tuning.values(), key=lambda run: (run["accuracy"], -run["rate"]))["rate"]
    print("chosen rate:", best)
    STUDY.write(tuning | STUDY.run(plan(best)), rates={"random_longer": best})


if __name__ == "__main__":
    main()
