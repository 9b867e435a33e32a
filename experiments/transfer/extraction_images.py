"""How general is each layer? EfficientNet-Lite0's stages on solar cells, and halves of Fashion-MNIST.

make experiment NAME=transfer/extraction_images

Stages: a linear probe on the pooled maps of each stage, with ImageNet's weights and with random ones, on block splits;
penalties from an exploratory split. Halves: the experiment of Yosinski et al. (2014), on images of 14 × 14 pixels.
Five of the ten kinds of clothes are source A, the other five target B; of a small ResNet trained on A, the first k
parts are copied and the rest is trained on B, the copies frozen or trained too. The control copies from a network
trained on B itself. The same with few images of B, without the control. Beside them: a linear probe on B's pixels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.models.resnet import ResNet, ResNetConfig
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer import extraction, finetuning

BASE = results.load_script(results.SCRIPTS / "transfer" / "finetuning_images.py")
SETTINGS = {
    "base": BASE.STUDY.recipe,  # how cells are drawn and scored
    "exploratory_seed": 100,
    "stages": {
        "layers": ["bn1", *(f"blocks.{i}" for i in range(7)), "bn2"],
        "size": 96,
        "labels": {"200": 10, "800": 5},  # labels → seeds 0, 1, …
        "random_starts": 2,
        "penalties": [100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001],
    },
    "halves": {
        "seeds": [0, 1, 2, 3, 4],
        "small_seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        "network": {"n_blocks": [1, 1, 1], "widths": [8, 16, 32], "small_stem": True, "n_channels": 1},
        "parts": ["stem", "stages.0", "stages.1", "stages.2"],
        "classes": 5,
        "images": 3000,
        "few": 100,  # of B, in place of these
        "test": 2000,
        "epochs": {"3000": 8, "100": 40},
        "batch_size": {"3000": 64, "100": 20},
        "rates": [1e-3, 3e-3, 1e-2, 3e-2],
        "tuned_with": 2,  # parts copied where the rates of copies are chosen
        "penalties": [10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01],  # of the probe on pixels
    },
}
STUDY = results.Study(
    "transfer/extraction_images",
    SETTINGS,
    assets=["efficientnet-lite0", "solar-cells", "fashion-mnist"],
    plan=("main", "plan", "plan_features", "plan_tuning", "plan_copies", "best_rates", "sizes"),
)


# ---------------------------------------------------------------- stages


@lru_cache(maxsize=2)
def stage_features(start: int | None) -> dict[str, Tensor]:
    """{layer: (N, C)} of all cells, the mean over positions. start: None is ImageNet's weights, else a seed."""
    cells = datasets.solar_cells(SETTINGS["stages"]["size"])
    data = encoders.ImageData(cells.images, cells.labels)
    batches = [
        encoders.collate_images([data[i] for i in range(first, min(first + 64, len(data)))])["images"]
        for first in range(0, len(data), 64)
    ]
    model = encoders.efficientnet_lite0(pretrained=start is None, seed=start or 0)
    wanted = dict.fromkeys(SETTINGS["stages"]["layers"], extraction.mean_pixels)
    return extraction.extract(model, batches, wanted, cache=results.WORK / "features")


def extracted(start: int | None) -> dict:
    """For the other jobs; how wide each layer is."""
    found = stage_features(start)
    widths = {name: rows.shape[1] for name, rows in found.items()}
    return {"task": "features", "start": start, "widths": widths, "cells": len(found["bn1"])}


def tune_stages(start: int | None, n: int) -> dict:
    """The penalty of each layer's probe with the lowest cross-entropy on the exploratory split's validation blocks."""
    seed = SETTINGS["exploratory_seed"]
    _, defective, split = BASE.cells_and_split("block", seed)
    here, chosen = BASE.drawn(split.train, n, seed), {}
    for layer, x in stage_features(start).items():
        found = extraction.LinearProbe.choose(
            x[here],
            defective[here],
            validation=(x[split.validation], defective[split.validation]),
            penalties=SETTINGS["stages"]["penalties"],
        )
        chosen[layer] = {"penalty": found.penalty, "at_edge": found.at_edge}
    return {"task": "tune stages", "start": start, "n": n, "chosen": chosen}


def stages(start: int | None, n: int, seed: int, penalties: dict[str, float]) -> dict:
    """A probe on every layer, scored on the test blocks."""
    cells, defective, split = BASE.cells_and_split("block", seed)
    here = BASE.drawn(np.concatenate([split.train, split.validation]), n, seed)
    runs = []
    for layer, x in stage_features(start).items():
        found = extraction.LinearProbe.fit(x[here], defective[here], penalty=penalties[layer])
        logits = found.logits(x[split.test])
        arm = "ImageNet" if start is None else "random"
        key = {"task": "stages", "arm": arm, "layer": layer, "n": n, "seed": seed}
        margins = logits[:, 1] - logits[:, 0]
        runs.append(key | BASE.scored(margins, defective[split.test], cells.block[split.test]))
    return {"runs": runs}


# ---------------------------------------------------------------- halves


@lru_cache(maxsize=2)
def clothes(part: str) -> datasets.Images:
    return datasets.fashion_mnist(part)


def half(seed: int, which: str, part: str, n: int | None = None) -> tuple[np.ndarray, encoders.ImageData]:
    """Positions and images of one half's kinds, labelled 0 … 4, means of 2 × 2 pixels.

    part: "train", "validation" (of train), "test"; n: of train, so many.
    """
    settings = SETTINGS["halves"]
    kinds = np.random.default_rng((seed, 0)).permutation(10)
    kinds = kinds[: settings["classes"]] if which == "A" else kinds[settings["classes"] :]
    data = clothes("test" if part == "test" else "train")
    known = np.random.default_rng((seed, 1)).permutation(np.flatnonzero(np.isin(data.labels, kinds)))
    first = settings["images"] if part == "validation" else 0
    where = known[first : first + (n or settings["images"] if part == "train" else settings["test"])]
    names = np.empty(10, dtype=np.int64)
    names[kinds] = range(len(kinds))
    images = data.images[where].reshape(-1, 14, 2, 14, 2).mean((2, 4)).round().astype(np.uint8)
    return where, encoders.ImageData(images, names[data.labels[where]])


def collate(rows) -> dict[str, Tensor]:
    """Grey bytes to −1…1: images (B, 1, 14, 14), labels (B,)."""
    grey = torch.from_numpy(np.stack([image for image, _ in rows])).float().div(127.5).sub(1)
    return {"images": grey.unsqueeze(1), "labels": torch.tensor([y for _, y in rows])}


def network(seed: int) -> ResNet:
    settings = SETTINGS["halves"]
    return ResNet(ResNetConfig(**settings["network"], num_classes=settings["classes"]), seed=seed)


def learned(model: ResNet, data: encoders.ImageData, rate: float, seed: int) -> ResNet:
    epochs, batch_size = (SETTINGS["halves"][key][str(len(data))] for key in ("epochs", "batch_size"))
    config = TrainingConfig(epochs=epochs, batch_size=batch_size, learning_rate=rate, seed=seed)
    fit(
        model,
        data,
        lambda m, b: F.cross_entropy(m(b["images"]), b["labels"]),
        config,
        collate=collate,
        progress=False,
    )
    return model


@lru_cache(maxsize=2)
def source(seed: int, which: str, rate: float) -> ResNet:
    """Trained on all images of a half."""
    return learned(network(seed), half(seed, which, "train")[1], rate, seed)


def copied(source: nn.Module, k: int, *, frozen: bool, seed: int) -> ResNet:
    """A new network whose first k parts are the source's; frozen ones keep their statistics too."""
    model, parts = network(seed), SETTINGS["halves"]["parts"][:k]
    state = {
        name: value
        for name, value in source.state_dict().items()
        if any(name.startswith(f"{part}.") for part in parts)
    }
    model.load_state_dict(model.state_dict() | state)
    if frozen:
        finetuning.freeze(model, *parts, hold_statistics=True)
    return model


def right(model: ResNet, data: encoders.ImageData) -> np.ndarray:
    """(N,) whether each image's kind is guessed."""
    logits = predict(model, data, collate=collate, batch_size=256, forward=lambda m, b: m(b["images"]))
    return logits.argmax(1).numpy() == data.labels


def pixels(data: encoders.ImageData) -> np.ndarray:
    """(N, 196)."""
    return data.images.reshape(len(data), -1)


def tune_pixels(n: int) -> dict:
    """The penalty of a probe on the pixels of n images of B."""
    seed = SETTINGS["exploratory_seed"]
    data, held_out = half(seed, "B", "train", n)[1], half(seed, "B", "validation")[1]
    found = extraction.LinearProbe.choose(
        pixels(data),
        data.labels,
        validation=(pixels(held_out), held_out.labels),
        penalties=SETTINGS["halves"]["penalties"],
    )
    return {"task": "tune pixels", "n": n, "penalty": found.penalty, "at_edge": found.at_edge}


def tune_half(kind: str, n: int, rate: float, source_rate: float | None = None) -> dict:
    """Validation accuracy of one rate: nothing copied, or two parts of source A, frozen or trained on."""
    seed, settings = SETTINGS["exploratory_seed"], SETTINGS["halves"]
    model = network(seed)
    if kind != "base":
        start = source(seed, "A", source_rate)
        model = copied(start, settings["tuned_with"], frozen=kind == "frozen", seed=seed + 1)
    learned(model, half(seed, "B", "train", n)[1], rate, seed)
    accuracy = float(right(model, half(seed, "B", "validation")[1]).mean())
    return {"task": "tune half", "kind": kind, "n": n, "rate": rate, "accuracy": accuracy}


def halves(seed: int, n: int, source_rate: float, rates: dict[str, float], penalty: float) -> dict:
    """Source, control and random network, each copied up to every depth; no copy; and pixels; on n images of B.

    The start that is copied and the rest have seeds of their own.
    """
    target = half(seed, "B", "train", n)[1]
    places, test = half(seed, "B", "test")
    arms = [("A", "frozen"), ("A", "trained"), ("random", "frozen")]
    starts = {"A": source(seed, "A", source_rate), "random": network(seed)}
    if n == SETTINGS["halves"]["images"]:
        starts["B"] = source(seed, "B", source_rate)
        arms.append(("B", "frozen"))
    runs = [{"task": "half test", "n": n, "seed": seed, "groups": places.tolist()}]

    def note(start: str, kind: str, k: int, hits: np.ndarray) -> None:
        key = {"task": "halves", "n": n, "seed": seed, "source": start, "kind": kind, "k": k}
        found = {"accuracy": round(float(hits.mean()), 5), "right": "".join("1" if h else "0" for h in hits)}
        runs.append(key | found)

    probe = extraction.LinearProbe.fit(pixels(target), target.labels, penalty=penalty)
    note("none", "pixels", 0, probe.predict(pixels(test)) == test.labels)
    note("none", "base", 0, right(learned(network(seed + 1000), target, rates["base"], seed + 1000), test))
    for start, kind in arms:
        for k in range(1, len(SETTINGS["halves"]["parts"]) + 1):
            model = copied(starts[start], k, frozen=kind == "frozen", seed=seed + 1000)
            note(start, kind, k, right(learned(model, target, rates[kind], seed + 1000), test))
    return {"runs": runs}


# ---------------------------------------------------------------- which jobs


def starts() -> list[int | None]:
    return [None, *range(SETTINGS["stages"]["random_starts"])]


def plan_features() -> dict:
    return {f"features {start}": (extracted, {"start": start}) for start in starts()}


def sizes() -> dict[int, list[int]]:
    """Images of B → seeds."""
    settings = SETTINGS["halves"]
    return {settings["images"]: settings["seeds"], settings["few"]: settings["small_seeds"]}


def plan_tuning() -> dict:
    jobs = {}
    for n in sizes():
        jobs[f"tune pixels {n}"] = (tune_pixels, {"n": n})
        for rate in SETTINGS["halves"]["rates"]:
            jobs[f"tune half base {n} {rate:g}"] = (tune_half, {"kind": "base", "n": n, "rate": rate})
    for start in starts():
        for n in SETTINGS["stages"]["labels"]:
            jobs[f"tune stages {start} {n}"] = (tune_stages, {"start": start, "n": int(n)})
    return jobs


def plan_copies(source_rate: float) -> dict:
    jobs = {}
    for n in sizes():
        for kind in ("frozen", "trained"):
            for rate in SETTINGS["halves"]["rates"]:
                arguments = {"kind": kind, "n": n, "rate": rate, "source_rate": source_rate}
                jobs[f"tune half {kind} {n} {rate:g}"] = (tune_half, arguments)
    return jobs


def best_rates(records: dict[str, dict]) -> dict[str, dict[str, float]]:
    """By number of images and kind; of equals, the smaller."""
    found: dict[tuple[str, str], dict] = {}
    for r in sorted((r for r in records.values() if r["task"] == "tune half"), key=lambda r: r["rate"]):
        key = str(r["n"]), r["kind"]
        if key not in found or r["accuracy"] > found[key]["accuracy"]:
            found[key] = r
    chosen: dict[str, dict[str, float]] = {}
    for (n, kind), r in found.items():
        chosen.setdefault(n, {})[kind] = r["rate"]
    return chosen


def plan(tuning: dict[str, dict], rates: dict[str, dict[str, float]]) -> dict:
    jobs = {}
    for n, seeds in sizes().items():
        arguments = {"n": n, "source_rate": rates[str(SETTINGS["halves"]["images"])]["base"]}
        arguments |= {"rates": rates[str(n)], "penalty": tuning[f"tune pixels {n}"]["penalty"]}
        jobs |= {f"halves {n} {seed}": (halves, {"seed": seed} | arguments) for seed in seeds}
    for n, n_seeds in SETTINGS["stages"]["labels"].items():
        for seed in range(n_seeds):
            for start in (None, seed % SETTINGS["stages"]["random_starts"]):
                chosen = tuning[f"tune stages {start} {n}"]["chosen"]
                penalties = {layer: c["penalty"] for layer, c in chosen.items()}
                arguments = {"start": start, "n": int(n), "seed": seed, "penalties": penalties}
                jobs[f"stages {start} {n} {seed}"] = (stages, arguments)
    return jobs


def main() -> None:
    records = STUDY.run(plan_features())
    tuning = STUDY.run(plan_tuning())
    source_rate = best_rates(tuning)[str(SETTINGS["halves"]["images"])]["base"]
    tuning |= STUDY.run(plan_copies(source_rate))
    rates = best_rates(tuning)
    print("chosen rates:", rates)
    STUDY.write(records | tuning | STUDY.run(plan(tuning, rates)), rates=rates)


if __name__ == "__main__":
    main()
