"""What pretraining is worth with few labels, and what residual connections do for depth.

make experiment NAME=pretrained/pretraining

A small VGG and a small ResNet learn five kinds of clothes (the source) by their labels, an autoencoder the same images
without. Each is then reused on handwritten digits, which are far from the source, and on the five other kinds of
clothes, which are near: frozen, with a linear probe, or tuned as a whole; beside them the same networks from a random
start, EfficientNet-Lite0 with its ImageNet weights, an autoencoder of the target's own unlabelled images, and pixels.
Depth: narrow ResNets of 8, 20 and 44 layers with and without residual connections, same number of steps.
Rates and penalties are chosen on an exploratory seed, six rates or seven penalties for every arm; five rates for each
depth, tried for as many steps as the run has, since deep plain networks learn late. Pretrained weights are kept under
_build, and made again where they are missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.models.autoencoder import Autoencoder, CodeModel, ImageConfig, squared_errors
from tlcourse.models.resnet import RESNET_MINI, ConvNorm, ResNet, ResNetConfig
from tlcourse.models.vgg import VGG, VGG_MINI
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer.extraction import LinearProbe

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "source_seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],  # pretrained networks, one for each seed of the target
    "rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "penalties": [100.0, 10.0, 1.0, 0.1, 0.01, 0.001, 1e-4],
    "vgg": {"widths": [16, 32, 64], "hidden": [64]},
    "resnet": {"widths": [16, 32, 64]},
    "autoencoder": {"widths": [16, 32], "n_latent": 64},
    "source": {"kinds": [0, 1, 2, 3, 4], "images": 10_000, "epochs": 2, "batch_size": 64},
    "source_tuning_images": 3_000,
    "clothes": [5, 6, 7, 8, 9],
    "labels": {"50": {"epochs": 30, "batch_size": 10}, "200": {"epochs": 15, "batch_size": 20}},
    "test": 500,
    "validation": 500,
    "imagenet_pixels": 64,
    "depth": {
        "seeds": [0, 1, 2, 3, 4],
        # Blocks a stage; three stages of two convolutions a block, stem and head: 8, 20, 44 layers.
        "blocks": [1, 3, 7],
        "rates": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
        "widths": [8, 16, 32],
        "steps": 200,
        "batch_size": 64,
        "gradient_images": 256,
        "test": 1000,
    },
}
STUDY = results.Study(
    "pretrained/pretraining", SETTINGS, assets=["fashion-mnist", "digits", "efficientnet-lite0"]
)
NETWORKS = ("vgg", "resnet", "autoencoder")
TARGETS = ("digits", "clothes")


# ---------------------------------------------------------------- images


class Labelled:
    """images: (N, 1, H, W) float in −1…1; labels: (N,)."""

    def __init__(self, images: Tensor, labels: np.ndarray) -> None:
        self.images, self.labels = images, torch.as_tensor(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.images[numbers], self.labels[numbers]

    def take(self, numbers: Sequence[int]) -> Labelled:
        return Labelled(*self.__getitems__(np.asarray(numbers)))


@lru_cache(maxsize=8)
def clothes(part: str, kinds: tuple[int, ...]) -> Labelled:
    """Fashion-MNIST's images of these kinds, which get the labels 0, 1, … in their order."""
    found = datasets.fashion_mnist(part)
    chosen = np.isin(found.labels, kinds)
    images = torch.from_numpy(found.images[chosen])[:, None].float() / 127.5 - 1
    return Labelled(images, np.searchsorted(kinds, found.labels[chosen]))


@lru_cache(maxsize=1)
def digits() -> Labelled:
    """All digits, from 8 × 8 enlarged to 28 × 28 pixels, in a fixed random order."""
    found = datasets.digits()
    order = np.random.default_rng(0).permutation(len(found.labels))
    images = torch.from_numpy(found.images[order])[:, None].float() / 8 - 1
    images = F.interpolate(images, size=(28, 28), mode="bilinear", antialias=False)
    return Labelled(images, found.labels[order])


@lru_cache(maxsize=2)
def target(name: str) -> dict[str, Labelled]:
    """pool: to draw labels from; validation; test, the same for all seeds."""
    n, held = SETTINGS["test"], SETTINGS["validation"]
    if name == "digits":
        whole = digits()
        cuts = {"test": range(n), "validation": range(n, n + held), "pool": range(n, len(whole))}
        return {part: whole.take(cut) for part, cut in cuts.items()}
    kinds = tuple(SETTINGS["clothes"])
    train, test = clothes("train", kinds), clothes("test", kinds)
    order = np.random.default_rng(0).permutation(len(test))[:n]
    return {
        "test": test.take(order),
        "validation": train.take(range(held)),
        "pool": train.take(range(held, len(train))),
    }


def drawn(name: str, n: int, seed: int) -> Labelled:
    """n images of a target's pool with their labels, as many of each class; on the exploratory seed none of those
    that it validates with."""
    pool = target(name)["pool"]
    order = np.random.default_rng(seed).permutation(len(pool))
    if seed == SETTINGS["exploratory_seed"] and name == "digits":
        order = order[order >= SETTINGS["validation"]]
    labels = pool.labels[order].numpy()
    classes = np.unique(labels)
    chosen = [order[labels == label][: n // len(classes)] for label in classes]
    return pool.take(np.concatenate(chosen))


# ---------------------------------------------------------------- networks


def network(kind: str, classes: int, seed: int) -> nn.Module:
    """At a random start; of the autoencoder there are no classes."""
    if kind == "vgg":
        return VGG(replace(VGG_MINI, n_channels=1, num_classes=classes, **SETTINGS["vgg"]), seed=seed)
    if kind == "resnet":
        return ResNet(
            replace(RESNET_MINI, n_channels=1, num_classes=classes, **SETTINGS["resnet"]), seed=seed
        )
    return Autoencoder.from_config(ImageConfig(28, 28, 1, **SETTINGS["autoencoder"]), seed=seed)


def classify(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def reconstruct(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return squared_errors(model(batch[0]), batch[0]).mean()


def run_fit(model: nn.Module, data: Labelled, *, rate: float, seed: int, loss=classify, **length: int):
    config = TrainingConfig(learning_rate=rate, seed=seed, **length)
    return fit(model, data, loss, config, collate=lambda batch: batch, progress=False)


def outputs(model: nn.Module, images: Tensor, method: str = "__call__") -> Tensor:
    data = Labelled(images, np.zeros(len(images), dtype=int))
    forward = lambda m, batch: getattr(m, method)(batch[0])  # noqa: E731
    return predict(model, data, batch_size=250, collate=lambda batch: batch, forward=forward)


def right(logits: Tensor, labels: Tensor) -> str:
    return "".join("1" if hit else "0" for hit in (logits.argmax(1) == labels).tolist())


def share(digits_: str) -> float:
    return round(digits_.count("1") / len(digits_), 4)


# ---------------------------------------------------------------- the source


def source_images(on: str, seed: int, n: int) -> Labelled:
    """What is pretrained on: `source`, or the unlabelled pool of a target, as often as needed to make n."""
    if on == "source":
        pool = clothes("train", tuple(SETTINGS["source"]["kinds"]))
    else:
        pool = target(on)["pool"]
        if seed == SETTINGS["exploratory_seed"]:
            pool = pool.take(range(SETTINGS["validation"] if on == "digits" else 0, len(pool)))
    order = np.random.default_rng(seed).permutation(len(pool))
    return pool.take(np.resize(order, n))


def pretrain(kind: str, on: str, seed: int, rate: float, n: int) -> nn.Module:
    settings = SETTINGS["source"]
    length = {"epochs": settings["epochs"], "batch_size": settings["batch_size"]}
    model = network(kind, len(settings["kinds"]), seed)
    loss = reconstruct if kind == "autoencoder" else classify
    run_fit(model, source_images(on, seed, n), rate=rate, seed=seed, loss=loss, **length)
    return model.eval()


@lru_cache(maxsize=32)
def pretrained(kind: str, on: str, seed: int, rate: float) -> nn.Module:
    """From the file of an earlier job, or trained now."""
    key = results.digest(STUDY.recipe, kind, on, seed, rate)[:24]
    place = results.WORK / "pretrained" / "pretraining-weights" / f"{key}.pt"
    if place.is_file():
        model = network(kind, len(SETTINGS["source"]["kinds"]), seed)
        model.load_state_dict(torch.load(place, weights_only=True))
        return model.eval()
    model = pretrain(kind, on, seed, rate, SETTINGS["source"]["images"])
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.{os.getpid()}.part")
    torch.save(model.state_dict(), partial)
    os.replace(partial, place)
    return model


def held_out(model: nn.Module, on: str, kind: str, part: str) -> dict:
    """Accuracy, or the share of the variance that is left unreconstructed."""
    if on == "source":
        kinds = tuple(SETTINGS["source"]["kinds"])
        whole = clothes("test", kinds)
        half = len(whole) // 2
        data = whole.take(range(half) if part == "validation" else range(half, len(whole)))
    else:
        data = target(on)[part]
    if kind != "autoencoder":
        return {"accuracy": share(right(outputs(model, data.images), data.labels))}
    left = float(squared_errors(outputs(model, data.images), data.images).mean())
    spread = float((data.images - data.images.mean(0)).square().mean())
    return {"left": round(left / spread, 4)}


def tune_source(kind: str, rate: float) -> dict:
    """A short pretraining on the exploratory seed; held-out accuracy, of the autoencoder the share that is left."""
    seed = SETTINGS["exploratory_seed"]
    key = {"task": "tune source", "network": kind, "rate": rate, "seed": seed}
    try:
        model = pretrain(kind, "source", seed, rate, SETTINGS["source_tuning_images"])
    except FloatingPointError:  # the loss is no number any more: the worst there can be
        return key | ({"left": 1e9} if kind == "autoencoder" else {"accuracy": 0.0})
    return key | held_out(model, "source", kind, "validation")


def source(kind: str, on: str, seed: int, rate: float) -> dict:
    model = pretrained(kind, on, seed, rate)
    key = {"task": "source", "network": kind, "on": on, "seed": seed, "rate": rate}
    count = sum(p.numel() for p in model.parameters())
    return key | {"parameters": count} | held_out(model, on, kind, "test")


# ---------------------------------------------------------------- the target


def starts(kind: str, name: str) -> tuple[str, ...]:
    """Where a network starts from: at random, from the source, an autoencoder also from the target's own images."""
    return ("random", "source", name) if kind == "autoencoder" else ("random", "source")


def arms(name: str) -> list[tuple[str, str, str]]:
    """(network, start, frozen or tuned)."""
    found = [(k, s, how) for k in NETWORKS for s in starts(k, name) for how in ("frozen", "tuned")]
    return [*found, ("efficientnet", "imagenet", "frozen"), ("pixels", "none", "frozen")]


def started(kind: str, start: str, classes: int, seed: int, rates: Mapping[str, float]) -> nn.Module:
    """A network with a new head; of the pretrained ones, the one that belongs to the seed."""
    fresh = network(kind, classes, seed)
    if start != "random":
        numbers = SETTINGS["source_seeds"]
        exploratory = seed == SETTINGS["exploratory_seed"]
        origin = pretrained(kind, start, seed if exploratory else numbers[seed % len(numbers)], rates[kind])
        state = {k: v for k, v in origin.state_dict().items() if not k.startswith("head.")}
        fresh.load_state_dict(fresh.state_dict() | state)
    return CodeModel(fresh, classes, frozen=False, seed=seed) if kind == "autoencoder" else fresh


@lru_cache(maxsize=1)
def imagenet() -> nn.Module:
    return encoders.efficientnet_lite0().eval()


def features(kind: str, start: str, images: Tensor, seed: int, rates: Mapping[str, float]) -> Tensor:
    """(N, D), of a frozen network."""
    if kind == "pixels":
        return images.flatten(1)
    if kind != "efficientnet":
        return outputs(started(kind, start, 2, seed, rates), images, "features")

    def pooled(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        side = (SETTINGS["imagenet_pixels"],) * 2
        large = F.interpolate(batch[0], size=side, mode="bilinear", antialias=False).repeat(1, 3, 1, 1)
        maps = model.forward_features(large.contiguous(memory_format=torch.channels_last))
        return model.forward_head(maps, pre_logits=True)

    data = Labelled(images, np.zeros(len(images), dtype=int))
    return predict(imagenet(), data, batch_size=50, collate=lambda batch: batch, forward=pooled)


@lru_cache(maxsize=2)
def imagenet_test(name: str) -> Tensor:
    return features("efficientnet", "imagenet", target(name)["test"].images, 0, {})


def probe(name: str, kind: str, start: str, n: int, seed: int, penalty: float, rates: Mapping) -> Tensor:
    """Logits of a linear probe for the test images."""
    train = drawn(name, n, seed)
    found = features(kind, start, train.images, seed, rates)
    if kind == "efficientnet":
        test = imagenet_test(name)
    else:
        test = features(kind, start, target(name)["test"].images, seed, rates)
    fitted = LinearProbe.fit(found, train.labels, penalty=penalty)
    return torch.from_numpy(fitted.logits(test))


def tuned(name: str, kind: str, start: str, n: int, seed: int, rate: float, rates: Mapping) -> nn.Module:
    train = drawn(name, n, seed)
    model = started(kind, start, int(train.labels.max()) + 1, seed, rates)
    run_fit(model, train, rate=rate, seed=seed, **SETTINGS["labels"][str(n)])
    return model


def tune(name: str, n: int, rates: Mapping[str, float]) -> dict:
    """Validation accuracy of every candidate of every arm on the exploratory seed; of probes the cross-entropy too,
    by which their penalty is chosen: accuracies of few labels are often equal."""
    seed, held = SETTINGS["exploratory_seed"], target(name)["validation"]
    tried = {}
    for kind, start, how in arms(name):
        if how == "frozen":
            train = drawn(name, n, seed)
            found, other = (features(kind, start, d.images, seed, rates) for d in (train, held))
            penalties = SETTINGS["penalties"]
            chosen = LinearProbe.choose(
                found, train.labels, validation=(other, held.labels), penalties=penalties
            )
            tried[f"{kind} {start} frozen"] = [[round(t.accuracy, 4), round(t.loss, 4)] for t in chosen.tried]
            continue
        scores = []
        for rate in SETTINGS["rates"]:
            try:
                model = tuned(name, kind, start, n, seed, rate, rates)
                scores.append(share(right(outputs(model, held.images), held.labels)))
            except FloatingPointError:
                scores.append(0.0)
        tried[f"{kind} {start} tuned"] = [[score, None] for score in scores]
    return {"task": "tune", "target": name, "n": n, "seed": seed, "tried": tried}


def compare(name: str, n: int, seed: int, rates: Mapping[str, float], best: Mapping[str, float]) -> dict:
    """Every arm on the test images of a target: right, "1011…" for each."""
    test, found = target(name)["test"], {}
    for kind, start, how in arms(name):
        arm = f"{kind} {start} {how}"
        if how == "frozen":
            logits = probe(name, kind, start, n, seed, best[arm], rates)
        else:
            logits = outputs(tuned(name, kind, start, n, seed, best[arm], rates), test.images)
        found[arm] = right(logits, test.labels)
    return {"task": "compare", "target": name, "n": n, "seed": seed, "right": found}


# ---------------------------------------------------------------- depth


@lru_cache(maxsize=2)
def small_clothes(part: str) -> Labelled:
    """All ten kinds, pixels averaged two by two: 14 × 14."""
    whole = clothes(part, tuple(range(10)))
    return Labelled(F.avg_pool2d(whole.images, 2), whole.labels)


def deep(blocks: int, residual: bool, seed: int) -> ResNet:
    widths = tuple(SETTINGS["depth"]["widths"])
    config = ResNetConfig((blocks,) * len(widths), widths, small_stem=True, residual=residual, n_channels=1)
    return ResNet(replace(config, num_classes=10), seed=seed)


def gradient_norms(model: ResNet, seed: int) -> list[float]:
    """Norm of the loss's gradient for the weights of each layer, from the stem to the head; shortcuts left out."""
    data = small_clothes("train")
    n = SETTINGS["depth"]["gradient_images"]
    batch = data.__getitems__(np.random.default_rng(seed).permutation(len(data))[:n])
    layers = [
        m.conv for name, m in model.named_modules() if isinstance(m, ConvNorm) and "shortcut" not in name
    ]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    loss = classify(model, batch)
    found = torch.autograd.grad(loss, [layer.weight for layer in (*layers, model.head)])
    model.load_state_dict(state)  # statistics of the batch norms moved
    return [float(f"{g.norm():.4g}") for g in found]


def train_deep(blocks: int, residual: bool, seed: int, rate: float):
    steps, batch_size = SETTINGS["depth"]["steps"], SETTINGS["depth"]["batch_size"]
    data = small_clothes("train")
    order = np.random.default_rng(seed).permutation(len(data))
    model = deep(blocks, residual, seed)
    norms = gradient_norms(model, seed)
    chosen = data.take(order[: steps * batch_size])
    history = run_fit(model, chosen, rate=rate, seed=seed, max_steps=steps, batch_size=batch_size)
    return model, norms, history, order


def tune_depth(blocks: int, residual: bool, rate: float) -> dict:
    """Accuracy on training images that the run did not see, exploratory seed."""
    seed, settings = SETTINGS["exploratory_seed"], SETTINGS["depth"]
    key = {"task": "tune depth", "blocks": blocks, "residual": residual, "rate": rate, "seed": seed}
    try:
        model, _, _, order = train_deep(blocks, residual, seed, rate)
    except FloatingPointError:
        return key | {"accuracy": 0.0}
    held = small_clothes("train").take(order[-settings["test"] :])
    return key | {"accuracy": share(right(outputs(model, held.images), held.labels))}


def depth(blocks: int, residual: bool, seed: int, rate: float) -> dict:
    """gradients: norms at the start; losses: mean of each twenty steps; right: on the test images."""
    settings = SETTINGS["depth"]
    model, norms, history, _ = train_deep(blocks, residual, seed, rate)
    test = small_clothes("test").take(range(settings["test"]))
    losses = np.array(history.losses)
    means = [round(float(part.mean()), 4) for part in np.split(losses, range(20, len(losses), 20))]
    key = {"task": "depth", "blocks": blocks, "residual": residual, "seed": seed, "rate": rate}
    facts = {"layers": len(norms), "gradients": norms, "losses": means}
    return key | facts | {"right": right(outputs(model, test.images), test.labels)}


# ---------------------------------------------------------------- which jobs


def plan_tuning() -> dict:
    """What depends on no earlier choice: rates of the pretraining and of the deep networks."""
    jobs = {}
    for rate in SETTINGS["rates"]:
        for kind in NETWORKS:
            jobs[f"tune source {kind} {rate:g}"] = (tune_source, {"kind": kind, "rate": rate})
    for rate in SETTINGS["depth"]["rates"]:
        for blocks in SETTINGS["depth"]["blocks"]:
            for residual in (True, False):
                arguments = {"blocks": blocks, "residual": residual, "rate": rate}
                jobs[f"tune {depth_name(blocks, residual)} {rate:g}"] = (tune_depth, arguments)
    return jobs


def depth_name(blocks: int, residual: bool) -> str:
    return f"depth {blocks} {'residual' if residual else 'plain'}"


def plan_sources(rates: Mapping[str, float]) -> dict:
    jobs = {}
    for seed in (SETTINGS["exploratory_seed"], *SETTINGS["source_seeds"]):
        for kind in NETWORKS:
            for on in ("source", *(TARGETS if kind == "autoencoder" else ())):
                arguments = {"kind": kind, "on": on, "seed": seed, "rate": rates[kind]}
                jobs[f"source {kind} {on} {seed}"] = (source, arguments)
    return jobs


def plan_target_tuning(rates: Mapping[str, float]) -> dict:
    return {
        f"tune {name} {n}": (tune, {"name": name, "n": int(n), "rates": dict(rates)})
        for name in TARGETS
        for n in SETTINGS["labels"]
    }


def plan(rates: Mapping[str, float], best: Mapping[str, Mapping], depths: Mapping[str, float]) -> dict:
    jobs = {}
    for seed in SETTINGS["depth"]["seeds"]:
        for blocks in SETTINGS["depth"]["blocks"]:
            for residual in (True, False):
                name = depth_name(blocks, residual)
                arguments = {"blocks": blocks, "residual": residual, "seed": seed, "rate": depths[name]}
                jobs[f"{name} {seed}"] = (depth, arguments)
    for seed in SETTINGS["seeds"]:
        for name in TARGETS:
            for n in SETTINGS["labels"]:
                arguments = {"name": name, "n": int(n), "seed": seed, "rates": dict(rates)}
                jobs[f"compare {name} {n} {seed}"] = (
                    compare,
                    arguments | {"best": dict(best[f"tune {name} {n}"])},
                )
    return jobs


def source_rates(tuning: Mapping[str, dict]) -> dict[str, float]:
    """By held-out accuracy, of the autoencoder by what is left."""

    def score(kind: str, rate: float) -> float:
        run = tuning[f"tune source {kind} {rate:g}"]
        return -run["left"] if kind == "autoencoder" else run["accuracy"]

    return {kind: max(SETTINGS["rates"], key=lambda rate: score(kind, rate)) for kind in NETWORKS}


def depth_rates(tuning: Mapping[str, dict]) -> dict[str, float]:
    settings = SETTINGS["depth"]
    names = [depth_name(b, r) for b in settings["blocks"] for r in (True, False)]
    accuracy = {n: [tuning[f"tune {n} {r:g}"]["accuracy"] for r in settings["rates"]] for n in names}
    return {name: settings["rates"][int(np.argmax(scores))] for name, scores in accuracy.items()}


def best_candidates(tuning: Mapping[str, dict]) -> dict[str, dict[str, float]]:
    """Job of the tuning → arm → its rate, by accuracy, or its penalty, by cross-entropy."""

    def best(arm: str, tried: list) -> float:
        if arm.endswith("frozen"):
            penalties = sorted(SETTINGS["penalties"], reverse=True)
            return penalties[int(np.argmin([loss for _, loss in tried]))]
        return SETTINGS["rates"][int(np.argmax([accuracy for accuracy, _ in tried]))]

    return {name: {arm: best(arm, t) for arm, t in run["tried"].items()} for name, run in tuning.items()}


def main() -> None:
    tuning = STUDY.run(plan_tuning())
    rates, depths = source_rates(tuning), depth_rates(tuning)
    print("chosen rates:", rates, depths)
    sources = STUDY.run(plan_sources(rates))
    targets = STUDY.run(plan_target_tuning(rates))
    best = best_candidates(targets)
    print("chosen for the targets:", best)
    found = STUDY.run(plan(rates, best, depths))
    records = tuning | sources | targets | found
    STUDY.write(records, rates=rates, depth_rates=depths, target_choices=best)


if __name__ == "__main__":
    main()
