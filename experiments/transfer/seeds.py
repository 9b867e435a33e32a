"""Five seeds of what? How much of a result is the data drawn, and how much the random start.

make experiment NAME=transfer/seeds

Five cases of the other studies, each with their functions and the rates that they chose, on fresh numbers: every draw
of the data with every start. The data: what is drawn from a pool to learn from and, where the study draws it too, to
test on. The start: the new weights at random, the order of batches, dropout and, of a VGG or an autoencoder, its own
pretraining. A zoo network and MiniLM are the same in all runs. In those studies one number is both data and start, but
for distance's random start, which is one network; here they vary separately.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

from tlcourse import results
from tlcourse.transfer.extraction import LinearProbe

FUSION, DISTANCE, PRETRAINING, AUTOENCODERS = (
    results.load_script(results.SCRIPTS / f"{name}.py")
    for name in ("transfer/fusion", "transfer/distance", "pretrained/pretraining", "pretrained/autoencoders")
)
BASES = (FUSION, DISTANCE, PRETRAINING, AUTOENCODERS)
BODY = {base.STUDY.name: results.load(base.STUDY.name).body for base in BASES}
SETTINGS = {
    "bases": {base.STUDY.name: base.STUDY.recipe for base in BASES},
    "data": list(range(200, 210)),
    "starts": list(range(300, 320, 2)),  # autoencoders' random starts have the numbers between
    "noise": [0.4, 0.5],  # of image and sound: the middle of fusion's levels
    "images": {"target": "clothes", "source": "zoo-clothes-a"},
    "texts": {"target": "topics", "source": "minilm"},
    "pretraining": {"target": "digits", "network": "vgg", "n": 200},
    "autoencoder": {"modality": "images", "n": "10"},
}
STUDY = results.Study(
    "transfer/seeds",
    SETTINGS,
    assets=sorted({asset for base in BASES for asset in base.STUDY.assets}),
    plan=("main", "plan"),
)
Scores = dict[str, list[float]]  # arm → % right on the test items, by start


def percent(right: str | np.ndarray) -> float:
    hits = [mark == "1" for mark in right] if isinstance(right, str) else right
    return round(100 * float(np.mean(hits)), 3)


def of_starts(score: Callable[[str, int], float], arms: tuple[str, ...]) -> Scores:
    return {arm: [score(arm, start) for start in SETTINGS["starts"]] for arm in arms}


def fused(data: int) -> Scores:
    """A noisy image and a noisy sound of one digit: each alone, and features side by side."""
    rates = BODY[FUSION.STUDY.name]["rates"]["digits"]
    pairs = FUSION.pairs_of("digits", data, SETTINGS["noise"], whole=True)

    def score(arm: str, start: int) -> float:
        model = FUSION.trained(arm, pairs, "digits", rates[arm], start)
        return percent(FUSION.right(FUSION.probabilities(model, pairs["test"])[""], pairs["test"]))

    return of_starts(score, ("first", "second", "concat"))


def tuned(kind: str, data: int) -> Scores:
    """A source of the distance study against a network at a random start, all weights tuned. kind: images, texts."""
    target, source = SETTINGS[kind]["target"], SETTINGS[kind]["source"]
    rates = BODY[DISTANCE.STUDY.name]["rates"][kind]
    parts = DISTANCE.target_parts(target, data)
    classes = DISTANCE.n_classes_of(parts)

    def score(arm: str, start: int) -> float:
        opened = DISTANCE.open_source(arm, kind)
        if arm == "random start":
            begin_anew(opened.core, start)
        model = DISTANCE.fine_tuned(opened, parts.train, classes, rate=rates[arm], seed=start)
        return DISTANCE.scored(DISTANCE.logits_of(model, opened, parts.test), parts.test, target)["score"]

    return of_starts(score, ("random start", source))


def begin_anew(network: nn.Module, start: int) -> None:
    """The study has one random start for all its runs; here it is drawn too."""
    network.load_state_dict(type(network)(network.config, seed=start).state_dict())


def pretrained(data: int) -> Scores:
    """A small VGG from a random start or from clothes, all weights tuned on a few handwritten digits."""
    settings, body = SETTINGS["pretraining"], BODY[PRETRAINING.STUDY.name]
    name, network, n = settings["target"], settings["network"], settings["n"]
    best, test = body["target_choices"][f"tune {name} {n}"], PRETRAINING.target(name)["test"]
    train = PRETRAINING.drawn(name, n, data)

    def score(arm: str, start: int) -> float:
        model = PRETRAINING.network(network, int(train.labels.max()) + 1, start)
        if arm == "source":  # pretrained from this start, where the study has one for each of its seeds
            origin = PRETRAINING.pretrained(network, "source", start, body["rates"][network]).state_dict()
            origin = {k: v for k, v in origin.items() if not k.startswith("head.")}
            model.load_state_dict(model.state_dict() | origin)
        length = PRETRAINING.SETTINGS["labels"][str(n)]
        PRETRAINING.run_fit(model, train, rate=best[f"{network} {arm} tuned"], seed=start, **length)
        return percent(PRETRAINING.right(PRETRAINING.outputs(model, test.images), test.labels))

    return of_starts(score, ("random", "source"))


def encoded(data: int) -> Scores:
    """Few labels on an autoencoder's encoder: as it is, tuned, and the same network from a random start."""
    modality, n = SETTINGS["autoencoder"]["modality"], SETTINGS["autoencoder"]["n"]
    chosen = BODY[AUTOENCODERS.STUDY.name]["chosen"][modality]
    items = AUTOENCODERS.load(modality, data)
    labels = items.labels
    at = AUTOENCODERS.drawn(labels["train"], n, data)
    found: Scores = {"frozen": [], "fine-tuned": [], "random start": []}
    for start in SETTINGS["starts"]:
        model = AUTOENCODERS.trained("plain", items, chosen["plain"], start)
        read = AUTOENCODERS.codes(items, model, "train")[at]
        probe = LinearProbe.fit(read, labels["train"][at], penalty=chosen[f"frozen {n}"])
        guessed = {"frozen": probe.predict(AUTOENCODERS.codes(items, model, "test"))}
        for arm in AUTOENCODERS.TUNED:
            rate = chosen[f"{arm} {n}"]
            network = AUTOENCODERS.classifier(items, arm, model, at, n, rate, start)
            guessed[arm] = AUTOENCODERS.guesses(items, network, "test")
        for arm, scores in found.items():
            scores.append(percent(guessed[arm] == labels["test"]))
    return found


def crossed(case: str, data: int) -> dict:
    """One draw of the data with every start."""
    return {"case": case, "data": data, "scores": CASES[case](data)}


CASES: dict[str, Callable[[int], Scores]] = {
    "fusion": fused,
    "images": lambda data: tuned("images", data),
    "texts": lambda data: tuned("texts", data),
    "pretraining": pretrained,
    "autoencoder": encoded,
}


def plan() -> dict:
    return {f"{c} {data}": (crossed, {"case": c, "data": data}) for c in CASES for data in SETTINGS["data"]}


def main() -> None:
    of_choices = ("rates", "target_choices", "chosen")
    used = {name: {key: body[key] for key in of_choices if key in body} for name, body in BODY.items()}
    STUDY.write(STUDY.run(plan()), used=used)


if __name__ == "__main__":
    main()
