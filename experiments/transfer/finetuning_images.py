"""Fine-tuning EfficientNet-Lite0 on solar cells: blocks against random splits, moving against held statistics.

make experiment NAME=transfer/finetuning_images — a script of its own, so that each of the two stays under an hour.
Learning rates are chosen on an exploratory block split's validation part, four candidates for every arm.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer import finetuning

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4],
    "small_seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "size": 96,
    "pixel_size": 32,
    "batch_size": 32,
    "epochs": {
        "full 200": 8,
        "held 200": 8,
        "random 200": 12,
        "full 800": 5,
        "held 800": 5,
        "random 800": 10,
    },
    "rates": {
        "full": [1e-4, 3e-4, 1e-3, 3e-3],
        "held": [1e-4, 3e-4, 1e-3, 3e-3],
        "random": [1e-3, 3e-3, 1e-2, 3e-2],
    },
}
STUDY = results.Study("transfer/finetuning_images", SETTINGS, assets=["efficientnet-lite0", "solar-cells"])


def cells_and_split(by: str, seed: int):
    cells = datasets.solar_cells(SETTINGS["size"])
    return cells, (cells.probability >= 0.5).astype(int), datasets.solar_split(cells, seed, by=by)


def drawn(indices: np.ndarray, n: int, seed: int) -> np.ndarray:
    """The first n of a seeded shuffle: nested over n."""
    return np.random.default_rng(seed).permutation(np.sort(indices))[:n]


def scored(scores: np.ndarray, labels: np.ndarray, blocks: np.ndarray) -> dict:
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "scores": [round(float(s), 3) for s in scores],
        "labels": "".join(str(y) for y in labels),
        "groups": [int(b) for b in blocks],
    }


def loss(model, batch):
    return cross_entropy(model(batch["images"]), batch["labels"])


def margins(model, images: np.ndarray) -> np.ndarray:
    data = encoders.ImageData(images, np.zeros(len(images), dtype=int))
    logits = predict(model, data, collate=encoders.collate_images, forward=lambda m, b: m(b["images"]))
    return (logits[:, 1] - logits[:, 0]).double().numpy()


def train(arm: str, images: np.ndarray, labels: np.ndarray, *, rate: float, seed: int, epochs: int):
    """`full` and `held` start from ImageNet weights; `held` keeps its batch-norm statistics as they are."""
    model = encoders.efficientnet_lite0(2, pretrained=arm != "random", seed=seed)
    if arm == "held":
        finetuning.hold_statistics(model)
    config = TrainingConfig(
        epochs=epochs, max_steps=None, batch_size=SETTINGS["batch_size"], learning_rate=rate, seed=seed
    )
    fit(
        model,
        encoders.ImageData(images, labels),
        loss,
        config,
        collate=encoders.collate_images,
        progress=False,
    )
    return model


def tune(arm: str, rate: float) -> dict:
    """Validation AUC of one candidate rate, 200 labels of the exploratory block split."""
    seed = SETTINGS["exploratory_seed"]
    cells, defective, split = cells_and_split("block", seed)
    chosen = drawn(split.train, 200, seed)
    epochs = SETTINGS["epochs"][f"{arm} 200"]
    model = train(arm, cells.images[chosen], defective[chosen], rate=rate, seed=seed, epochs=epochs)
    auc = roc_auc_score(defective[split.validation], margins(model, cells.images[split.validation]))
    return {"task": "tune", "arm": arm, "rate": rate, "n": 200, "seed": seed, "auc": float(auc)}


def finetune(arm: str, by: str, n: int, seed: int, rate: float) -> dict:
    """One fine-tuned network on the test part of its split."""
    cells, defective, split = cells_and_split(by, seed)
    chosen = drawn(np.concatenate([split.train, split.validation]), n, seed)
    epochs = SETTINGS["epochs"][f"{arm} {n}"]
    model = train(arm, cells.images[chosen], defective[chosen], rate=rate, seed=seed, epochs=epochs)
    key = {"task": "finetune", "arm": arm, "by": by, "n": n, "seed": seed, "rate": rate}
    test = split.test
    return key | scored(margins(model, cells.images[test]), defective[test], cells.block[test])


def probe(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int):
    """Standardised logistic regression, C by cross-validated AUC inside the label budget.

    No group lies in two folds: cells of one block would vouch for each other, and C would come out too large.
    """
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        {"logisticregression__C": list(np.logspace(-5, 0, 6))},
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=seed),
        scoring="roc_auc",
    )
    return search.fit(features, labels, groups=groups)


def frozen(by: str, sizes: list[int], seed: int) -> dict:
    """Linear probes on pooled ImageNet features and on pixels."""
    cells, defective, split = cells_and_split(by, seed)
    network = encoders.efficientnet_lite0()
    data = encoders.ImageData(cells.images, defective)
    pooled = predict(
        network,
        data,
        collate=encoders.collate_images,
        forward=lambda m, b: m.forward_head(m.forward_features(b["images"]), pre_logits=True),
    ).numpy()
    side = (SETTINGS["pixel_size"],) * 2
    pixels = np.stack(
        [np.asarray(Image.fromarray(i).resize(side, Image.Resampling.BOX)).ravel() for i in cells.images]
    )
    groups = cells.block if by == "block" else np.arange(len(cells.block))  # folds as the split is drawn
    runs = []
    for n in sizes:
        chosen = drawn(np.concatenate([split.train, split.validation]), n, seed)
        for name, inputs in (("probe", pooled), ("pixels", pixels / 255.0)):
            found = probe(inputs[chosen], defective[chosen], groups[chosen], seed)
            margin = found.decision_function(inputs[split.test])
            key = {"task": "finetune", "arm": name, "by": by, "n": n, "seed": seed}
            runs.append(key | scored(margin, defective[split.test], cells.block[split.test]))
    return {"runs": runs}


def plan_tuning() -> dict:
    return {
        f"tune {arm} {rate:g}": (tune, {"arm": arm, "rate": rate})
        for arm, candidates in SETTINGS["rates"].items()
        for rate in candidates
    }


def plan(rates: dict[str, float]) -> dict:
    jobs = {}
    for seed in SETTINGS["small_seeds"]:
        if seed in SETTINGS["seeds"]:
            for arm, by in (("held", "block"), ("full", "block"), ("random", "block"), ("held", "random")):
                arguments = {"arm": arm, "by": by, "n": 800, "seed": seed, "rate": rates[arm]}
                jobs[f"finetune {arm} {by} 800 {seed}"] = (finetune, arguments)
            jobs[f"frozen random {seed}"] = (frozen, {"by": "random", "sizes": [800], "seed": seed})
        for arm in ("full", "held"):
            arguments = {"arm": arm, "by": "block", "n": 200, "seed": seed, "rate": rates[arm]}
            jobs[f"finetune {arm} block 200 {seed}"] = (finetune, arguments)
        jobs[f"frozen block {seed}"] = (frozen, {"by": "block", "sizes": [200, 800], "seed": seed})
    return jobs


def main() -> None:
    tuning = STUDY.run(plan_tuning())
    rates = {}
    for arm, candidates in SETTINGS["rates"].items():
        score = {r: tuning[f"tune {arm} {r:g}"]["auc"] for r in candidates}
        rates[arm] = max(candidates, key=lambda r: (score[r], -r))
    print("chosen rates:", rates)
    STUDY.write(tuning | STUDY.run(plan(rates)), rates=rates)


if __name__ == "__main__":
    main()
