"""Autoencoders of pictures, sentences, spoken words and videos: what they keep, and what that is worth to a classifier.

make experiment NAME=pretrained/autoencoders

A seed has its own parts (clothes drawn anew; definitions, voices and handwriting split anew), its own random start and
its own labelled items. On the exploratory seed's validation part every rate, penalty and weight is chosen, among five
candidates each (four for an autoencoder's rate), more where the best lies at the end of the list; everything that is
reported comes from the test parts of other seeds. With n labels there are n: no validation labels beside them. PCA
and the encoder at its random start have as many components as the code.

Losses and errors are in units of what the best constant is off by: 1 is the mean of the training data, for sentences
the shares of words at each place.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlcourse import datasets, results
from tlcourse.datasets import moving, spoken
from tlcourse.models import autoencoder as ae
from tlcourse.training import TrainingConfig, fit
from tlcourse.transfer.extraction import LinearProbe

PARTS = ("train", "validation", "test")
SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "full_seeds": [0, 1, 2, 3, 4],  # with all labels, for the kinds and the linear autoencoder
    "labels": ["10", "50"],  # as many of each class; and all
    "tuning_draws": 2,
    "sizes": {
        "images": [4000, 500, 400],
        "text": [4000, 500, 400],
        "audio": [560, 200, 200],
        "video": [2000, 300, 400],
    },
    "n_latent": {"images": 16, "text": 64, "audio": 16, "video": 32},
    "widths": {"images": [8, 16], "audio": [8, 16], "video": [8, 16]},
    "vocabulary": 500,
    "n_words": 12,
    "topics": [
        *("noun.animal", "noun.plant", "noun.person", "noun.location", "noun.food"),
        *("noun.body", "noun.substance", "noun.communication", "verb.motion", "adj.all"),
    ],
    "frames": 6,  # that are read; one more is to be made
    "mel": {"sample_rate": 8000, "window": 256, "hop": 128, "n_mels": 32, "floor": 0.01},
    "seconds": 0.752,
    "steps": {"images": 400, "text": 500, "audio": 300, "video": 400},
    "classifier_steps": {"10": 60, "50": 100, "all": 200},
    "batch_size": 64,
    "rates": [1e-3, 3e-3, 1e-2, 3e-2],
    "classifier_rates": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "penalties": [1e-4, 1e-3, 1e-2, 1e-1, 1.0],
    "weights": [0.1, 0.3, 0.5, 0.7, 0.9],
    "joint_of": ["images", "audio"],
    "linear_of": ["images", "audio"],
    "linear_rows": 1000,
    "linear_steps": 300,
    "joint_labels": "50",
    "kinds_of": "images",
    "kinds_labels": "all",
    "noise": 0.3,
    "hidden": 0.6,
    "patch": 4,
    "likelihood_sd": 0.2,
    "n_draws": 50,
    "words": results.digest(spoken.card_of_words()["sha256"]),
}
STUDY = results.Study(
    "pretrained/autoencoders",
    SETTINGS,
    assets=["fashion-mnist", "wordnet", "digits"],
    plan=("main", "chosen_in", "plan"),
)
MODALITIES = ("images", "text", "audio", "video")
KINDS = ("denoising", "variational", "masked")
PROBES = ("raw", "PCA", "random encoder", "frozen")
TUNED = ("fine-tuned", "random start")
PAD, UNKNOWN, FIRST = 0, 1, 2  # word numbers


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Data:
    """A modality on a seed's parts; dicts are by part.

    inputs: what is read; targets: what is to be made; flat: (N, D) input of a classifier without encoder, and rows:
    (N, D) of PCA; labels (N,); groups: of the test items. constant: the best one; unit: its error. scored: of text,
    which words count; vocabulary: by number.
    """

    modality: str
    config: Any
    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    flat: dict[str, np.ndarray]
    rows: dict[str, Any]
    labels: dict[str, np.ndarray]
    groups: list[int]
    constant: Tensor
    unit: float
    scored: dict[str, Tensor] | None = None
    vocabulary: tuple[str, ...] = ()
    velocity: dict[str, np.ndarray] | None = None

    def read(self, model: nn.Module, x: Tensor) -> tuple:
        """What the encoder is called with."""
        return (x, (x != PAD).long()) if self.modality == "text" else (x,)

    def errors(self, output: Tensor, part: str, at: Tensor | slice) -> Tensor:
        """Of each item, (B,), in units of the constant's."""
        target = self.targets[part][at]
        if self.modality == "text":
            scored = self.scored[part][at]
            errors = torch.where(scored, ae.token_errors(output, target), 0)  # padding may be impossible: ∞
            return errors.sum(1) / scored.sum(1).clamp(min=1) / self.unit  # 0 where no word is known
        return ae.squared_errors(output, target).flatten(1).mean(1) / self.unit


@lru_cache(maxsize=2)
def load(modality: str, seed: int) -> Data:
    """Cached, for jobs of one worker follow each other on the same seed."""
    makers = {"images": images, "text": sentences, "audio": words, "video": videos}
    return makers[modality](seed, dict(zip(PARTS, SETTINGS["sizes"][modality], strict=True)))


def images(seed: int, sizes: dict[str, int]) -> Data:
    """Fashion-MNIST, 0…1. Its test images are their own groups, known by their number."""
    rng, found = np.random.default_rng(seed), {}
    train, test = datasets.fashion_mnist("train"), datasets.fashion_mnist("test")
    order = rng.permutation(len(train.images))
    found["train"] = order[: sizes["train"]]
    found["validation"] = order[sizes["train"] : sizes["train"] + sizes["validation"]]
    found["test"] = rng.permutation(len(test.images))[: sizes["test"]]
    of = {"train": train, "validation": train, "test": test}
    inputs = {p: torch.from_numpy(of[p].images[i][:, None] / 255).float() for p, i in found.items()}
    labels = {p: of[p].labels[i] for p, i in found.items()}
    config = ae.ImageConfig(28, 28, 1, SETTINGS["n_latent"]["images"], SETTINGS["widths"]["images"])
    return numbers("images", config, inputs, inputs, labels, found["test"].tolist())


def words(seed: int, sizes: dict[str, int]) -> Data:
    """Log-mel spectrograms of spoken digits, standardised by the training voices; a voice is a group."""
    mel = ae.MelConfig(**SETTINGS["mel"])
    clips = datasets.spoken_words(seconds=SETTINGS["seconds"])
    split = datasets.spoken_split(clips, seed)
    loud = ae.log_mel(torch.from_numpy(clips.waveforms), mel)  # (N, n_mels, frames)
    loud = (loud - loud[split.train].mean()) / loud[split.train].std()
    index = {p: getattr(split, p)[: sizes[p]] for p in PARTS}
    inputs = {p: loud[i] for p, i in index.items()}
    labels = {p: clips.labels[i] for p, i in index.items()}
    names = sorted(set(clips.voice))
    groups = [names.index(voice) for voice in clips.voice[index["test"]]]
    shape = (*loud.shape[1:], SETTINGS["n_latent"]["audio"], SETTINGS["widths"]["audio"])
    return numbers("audio", ae.AudioConfig(*shape), inputs, inputs, labels, groups)


def videos(seed: int, sizes: dict[str, int]) -> Data:
    """Digits that move; those of other writers are tested on, and a writer's run of the file is a group."""
    split, n = datasets.digit_split(seed), SETTINGS["frames"]
    clips = {
        p: datasets.moving_digits(
            getattr(split, p), n_clips=sizes[p], n_frames=n + 1, seed=len(PARTS) * seed + k
        )
        for k, p in enumerate(PARTS)
    }
    targets = {p: torch.from_numpy(c.frames) for p, c in clips.items()}
    sides = targets["train"].shape[2:]  # (1, H, W)
    config = ae.VideoConfig(
        n, *sides[1:], 1, SETTINGS["n_latent"]["video"], widths=SETTINGS["widths"]["video"]
    )
    groups = moving.writer_blocks()[clips["test"].image].tolist()
    inputs = {p: ae.split_next(t).frames for p, t in targets.items()}
    labels = {p: c.labels for p, c in clips.items()}
    velocity = {p: c.velocity for p, c in clips.items()}
    return numbers("video", config, inputs, targets, labels, groups, velocity)


def numbers(modality, config, inputs, targets, labels, groups, velocity=None) -> Data:
    """Of what is made of numbers: PCA and classifiers read it flattened."""
    flat = {p: x.flatten(1).numpy() for p, x in inputs.items()}
    constant = targets["train"].mean(0, keepdim=True)
    unit = float((targets["train"] - constant).square().mean())
    return Data(
        modality, config, inputs, targets, flat, flat, labels, groups, constant, unit, velocity=velocity
    )


def sentences(seed: int, sizes: dict[str, int]) -> Data:
    """WordNet's definitions in ten classes, the first words of each; the meanings of a word are a group.

    The vocabulary is that of the training part. Words outside it are read as unknown and not scored.
    """
    parts, classes = datasets.gloss_topics(seed), SETTINGS["topics"]
    chosen = {p: balanced(parts.part(p), sizes[p] // len(classes), seed) for p in PARTS}
    split = {
        p: [re.findall("[a-z]+", g.text.lower())[: SETTINGS["n_words"]] for g in chosen[p]] for p in PARTS
    }
    count = Counter(word for text in split["train"] for word in text)
    known = {word: FIRST + i for i, (word, _) in enumerate(count.most_common(SETTINGS["vocabulary"]))}
    V, T = FIRST + len(known), SETTINGS["n_words"]
    ids = {p: torch.full((len(texts), T), PAD) for p, texts in split.items()}
    for p, texts in split.items():
        for row, text in zip(ids[p], texts, strict=True):
            row[: len(text)] = torch.tensor([known.get(word, UNKNOWN) for word in text])
    scored = {p: x >= FIRST for p, x in ids.items()}
    shares = torch.ones(T, V)  # one of each word, so that none is impossible
    shares[:, :FIRST] = 0
    for place in range(T):
        at = ids["train"][:, place]
        shares[place] += torch.bincount(at[at >= FIRST], minlength=V)
    constant = (shares / shares.sum(1, keepdim=True)).log()[None]  # (1, T, V)
    errors = ae.token_errors(constant.expand(len(ids["train"]), -1, -1), ids["train"])
    unit = float(
        (torch.where(scored["train"], errors, 0).sum(1) / scored["train"].sum(1).clamp(min=1)).mean()
    )
    return Data(
        "text",
        ae.TextConfig(
            vocab_size=V, d_model=64, n_layers=1, n_heads=4, d_inner=128, n_positions=T, dropout=0.0,
            attention_dropout=0.0, n_latent=SETTINGS["n_latent"]["text"],
        ),
        ids,
        ids,
        flat={p: np.stack([np.bincount(row[row >= FIRST], minlength=V) for row in x.numpy()]) for p, x in ids.items()},
        rows={p: one_hot(x, V) for p, x in ids.items()},
        labels={p: datasets.topic_labels(g, tuple(classes)) for p, g in chosen.items()},
        groups=[zlib.crc32(g.group.encode()) % 10**6 for g in chosen["test"]],
        constant=constant,
        unit=unit,
        scored=scored,
        vocabulary=("", "…", *known),
    )  # fmt: skip


def balanced(glosses: Sequence, n: int, seed: int) -> tuple:
    """n definitions of each class that have three words or more of letters, one of each group."""
    rng, found = np.random.default_rng(seed), []
    for name in SETTINGS["topics"]:
        of_class = {
            g.group: g for g in glosses if g.lexname == name and len(re.findall("[a-z]+", g.text)) > 2
        }
        groups = sorted(of_class)
        found += [of_class[groups[i]] for i in rng.permutation(len(groups))[:n]]
    return tuple(found)


def one_hot(ids: Tensor, V: int) -> scipy.sparse.csr_matrix:
    """(N, T · V): a one for each known word at its place."""
    row, place = (ids >= FIRST).nonzero(as_tuple=True)
    column = place * V + ids[row, place]
    shape = (len(ids), ids.shape[1] * V)
    return scipy.sparse.csr_matrix((np.ones(len(row)), (row.numpy(), column.numpy())), shape)


# ---------------------------------------------------------------- training


def fitted(model: nn.Module, n: int, loss: Callable, *, steps: int, rate: float, seed: int) -> nn.Module:
    """Trained in place. loss(model, positions of items (B,))."""
    config = TrainingConfig(
        max_steps=steps,
        batch_size=min(SETTINGS["batch_size"], n),
        learning_rate=rate,
        weight_decay=0.0,
        seed=seed,
    )
    fit(model, range(n), loss, config, collate=torch.tensor, progress=False)
    return model.eval()


def built(kind: str, data: Data, seed: int) -> ae.Autoencoder:
    if kind == "denoising":
        model = ae.DenoisingAutoencoder.from_config(data.config, seed=seed)
        model.corruption = ae.GaussianNoise(SETTINGS["noise"])
        return model
    kinds = {
        "plain": ae.Autoencoder,
        "variational": ae.VariationalAutoencoder,
        "masked": ae.MaskedAutoencoder,
    }
    return kinds[kind].from_config(data.config, seed=seed)


def loss_of(kind: str, data: Data, seed: int) -> Callable[[nn.Module, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def plain(model: nn.Module, at: Tensor) -> Tensor:
        output = model(*data.read(model, data.inputs["train"][at]))
        return data.errors(output, "train", at).mean()

    def masked(model: nn.Module, at: Tensor) -> Tensor:
        x = data.inputs["train"][at]
        hidden = ae.hidden_patches(x, SETTINGS["patch"], SETTINGS["hidden"], generator)
        return ae.mean_where(ae.squared_errors(model(x, hidden=hidden), x), hidden) / data.unit

    def variational(model: nn.Module, at: Tensor) -> Tensor:
        x = data.inputs["train"][at]
        draw = model.draw(x, generator=generator)
        likelihood = ae.gaussian_log_likelihood(draw.reconstruction, x, SETTINGS["likelihood_sd"])
        return -ae.lower_bound(likelihood, draw.posterior).mean() / x[0].numel()

    return {"masked": masked, "variational": variational}.get(kind, plain)


def trained(kind: str, data: Data, rate: float, seed: int) -> ae.Autoencoder:
    model, steps = built(kind, data, seed), SETTINGS["steps"][data.modality]
    n = len(data.inputs["train"])
    return fitted(model, n, loss_of(kind, data, seed), steps=steps, rate=rate, seed=seed)


@torch.inference_mode()
def outputs(data: Data, model: nn.Module, part: str) -> Tensor:
    return torch.cat([model(*data.read(model, x)) for x in data.inputs[part].split(250)])


@torch.inference_mode()
def codes(data: Data, model: nn.Module, part: str) -> np.ndarray:
    found = [model.encode(*data.read(model, x)) for x in data.inputs[part].split(250)]
    return torch.cat(found).numpy()


# ---------------------------------------------------------------- what is kept


def pca_of(modality: str, seed: int) -> PCA:
    solver = "arpack" if modality == "text" else "randomized"  # the rows of text are sparse
    pca = PCA(SETTINGS["n_latent"][modality], svd_solver=solver, random_state=0)
    return pca.fit(load(modality, seed).rows["train"])


def words_right(data: Data, scores: Tensor) -> Tensor:
    """Of each item of the test part, how many scored words have the highest score at their place, % of an item's words.

    Their mean is the share of all scored words.
    """
    guessed = scores[:, :, FIRST:].argmax(2) + FIRST
    scored = data.scored["test"]
    right = (guessed == data.targets["test"]) & scored
    return 100 * right.sum(1) / scored.sum(1).float().mean()


def reconstruction(data: Data, model: nn.Module, pca: PCA) -> dict:
    """Errors on the test part, % of the constant's there; of videos those of the frames that were read."""
    made = outputs(data, model, "test")
    target = data.targets["test"]
    shown = torch.from_numpy(pca.inverse_transform(pca.transform(data.rows["test"]))).float()
    if data.modality == "text":
        constant = data.constant.expand(len(made), -1, -1)
        errors, of = (data.errors(x, "test", slice(None)) for x in (made, constant))
        found = {"nats": percents(errors, of), "words right": words_right(data, made)}
        found["words right, PCA"] = words_right(data, shown.unflatten(1, constant.shape[1:]))
        return in_groups(found | {"words right, mean": words_right(data, constant)}, data.groups)
    n = data.inputs["test"].shape[1] if data.modality == "video" else None
    constant = (target - data.constant).square()
    shown = shown.reshape(data.inputs["test"].shape)
    found = {
        "error": percents((made - target)[:, :n].square(), constant[:, :n]),
        "error, PCA": percents((shown - data.inputs["test"]).square(), constant[:, :n]),
    }
    if data.modality == "video":
        found |= next_frame(data, made, pca, constant)
    return in_groups(found, data.groups)


def next_frame(data: Data, made: Tensor, pca: PCA, constant: Tensor) -> dict[str, Tensor]:
    """Errors of the frame after those read: the network's, of a regression on PCA's components, of the last frame."""
    target, last = data.targets["test"][:, -1], data.inputs["test"][:, -1]
    linear = ridge(pca.transform(data.rows["train"]), data.targets["train"][:, -1].flatten(1).numpy())
    guess = linear.predict(pca.transform(data.rows["test"])).reshape(target.shape)
    scale = constant[:, -1]
    return {
        "next": percents((made[:, -1] - target).square(), scale),
        "next, PCA": percents((torch.from_numpy(guess).float() - target).square(), scale),
        "next, last frame": percents((last - target).square(), scale),
    }


def in_groups(found: dict[str, Tensor], groups: list[int]) -> dict:
    """What each item has (N,), as the mean of all and as those of the groups, in the order of the groups' numbers."""
    names, index = np.unique(groups, return_inverse=True)
    sums = {name: np.bincount(index, x.double().numpy(), len(names)) for name, x in found.items()}
    of_groups = {name: np.round(x / np.bincount(index), 2).tolist() for name, x in sums.items()}
    return {name: float(x.double().mean()) for name, x in found.items()} | {"of groups": of_groups}


def percents(errors: Tensor, of: Tensor) -> Tensor:
    """Of each item (N, …), % of the mean of the others: (N,)."""
    return 100 * errors.flatten(1).mean(1) / of.mean() if errors.ndim > 1 else 100 * errors / of.mean()


def percent(errors: Tensor, of: Tensor) -> float:
    return 100 * float(errors.mean() / of.mean())


def ridge(x: np.ndarray, y: np.ndarray) -> RidgeCV:
    return RidgeCV(np.logspace(-3, 5, 9)).fit(x, y)


def moved(data: Data, model: nn.Module, seed: int, kind: str = "plain") -> float:
    """How far the encoder's weights went in training, % of their length at the start."""
    start, now = (
        torch.cat([weight.detach().flatten() for weight in network.encoder.parameters()])
        for network in (built(kind, data, seed), model)
    )
    return 100 * float((now - start).norm() / start.norm())


def linear(modality: str, seed: int) -> dict:
    """A linear autoencoder, trained until it stands still, and PCA: errors on the training rows, and the angle.

    With as many components as stand before the widest gap of the spectrum, among two to sixteen.
    """
    x = torch.from_numpy(load(modality, seed).rows["train"][: SETTINGS["linear_rows"]]).double()
    x = x - x.mean(0)
    _, singular, directions = torch.linalg.svd(x, full_matrices=False)
    k = int((singular[1:16] / singular[2:17]).argmax()) + 2
    model = ae.Autoencoder.from_config(ae.VectorConfig(x.shape[1], k), seed=seed).double()
    with torch.no_grad():  # as small as the encoder; torch starts it larger, and the way from there is long
        model.decoder.layers[0].weight.mul_(math.sqrt(k / x.shape[1]))
        model.decoder.layers[0].bias.zero_()
    scale = x.square().mean()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=SETTINGS["linear_steps"], history_size=20, line_search_fn="strong_wolfe",
        tolerance_change=1e-12,
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean() / scale
        loss.backward()
        return loss

    optimizer.step(closure)
    best = float(singular[k:].square().sum() / singular.square().sum())
    plane, _ = torch.linalg.qr(model.decoder.layers[0].weight.detach())  # (D, k)
    cosines = torch.linalg.svdvals(plane.T @ directions[:k].T)
    angle = math.degrees(math.acos(min(1.0, float(cosines.min()))))
    key = {"task": "linear", "modality": modality, "seed": seed, "components": k}
    return key | {"error": 100 * float(closure().detach()), "error, PCA": 100 * best, "degrees": angle}


# ---------------------------------------------------------------- what it is worth to a classifier


def drawn(labels: np.ndarray, n: str, seed: int) -> np.ndarray:
    """Positions of n items, as many of each class; "all" for all of them. Larger draws hold the smaller ones."""
    if n == "all":
        return np.arange(len(labels))
    rng = np.random.default_rng([seed, 1])
    each = [rng.permutation(np.flatnonzero(labels == c))[: int(n) // 10] for c in range(10)]
    return np.concatenate(each)


def views(data: Data, model: nn.Module, pca: PCA, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """What a linear probe can read: name → part → (N, D)."""
    untrained = built("plain", data, seed)
    return {
        "raw": data.flat,
        "PCA": {p: pca.transform(data.rows[p]) for p in PARTS},
        "random encoder": {p: codes(data, untrained, p) for p in PARTS},
        "frozen": {p: codes(data, model, p) for p in PARTS},
    }


def classifier(data: Data, arm: str, model: nn.Module, at: np.ndarray, n: str, rate: float, seed: int):
    """The encoder with a linear layer, both trained on the labelled items; `random start` forgets the encoder's."""
    start = built("plain", data, seed + 1) if arm == "random start" else model
    network = ae.CodeModel(start, 10, frozen=False, seed=seed)
    network.autoencoder.decoder.requires_grad_(False)
    x, y = data.inputs["train"][at], torch.from_numpy(data.labels["train"][at])

    def loss(m: nn.Module, items: Tensor) -> Tensor:
        return cross_entropy(m(*data.read(m, x[items])), y[items])

    return fitted(network, len(at), loss, steps=SETTINGS["classifier_steps"][n], rate=rate, seed=seed)


def joint(data: Data, at: np.ndarray, rate: float, weight: float, seed: int) -> nn.Module:
    """One loss from the start: reconstruction of everything, and class of the labelled items."""
    network = ae.CodeModel(built("plain", data, seed), 10, frozen=False, seed=seed)
    x, y = data.inputs["train"][at], torch.from_numpy(data.labels["train"][at])
    plain = loss_of("plain", data, seed)

    def loss(m: nn.Module, items: Tensor) -> Tensor:
        return ae.joint_loss(cross_entropy(m(x), y), plain(m.autoencoder, items), weight)

    steps = SETTINGS["steps"][data.modality]
    return fitted(network, len(data.inputs["train"]), loss, steps=steps, rate=rate, seed=seed)


def guesses(data: Data, network: nn.Module, part: str) -> np.ndarray:
    return outputs(data, network, part).argmax(1).numpy()


def right(guessed: np.ndarray, labels: np.ndarray) -> str:
    return "".join("1" if r else "0" for r in guessed == labels)


# ---------------------------------------------------------------- jobs


def tune_autoencoder(kind: str, modality: str) -> dict:
    """Loss of each rate on the exploratory seed's validation part."""
    seed = SETTINGS["exploratory_seed"]
    data = load(modality, seed)
    held = swap(data)

    def tried(rate: float) -> float:
        model = trained(kind, data, rate, seed)
        model.train(kind == "denoising")  # which damages its inputs then, as it learns
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            return float(loss_of(kind, held, seed)(model, torch.arange(len(held.inputs["train"]))))

    runs = search(kind, modality, SETTINGS["rates"], tried)
    if kind == "plain":  # tune_classifiers has its probes
        return {"runs": runs}
    n, y = SETTINGS["kinds_labels"], data.labels
    model = trained(kind, data, min(runs, key=lambda run: run["loss"])["value"], seed)
    read = {part: codes(data, model, part) for part in PARTS}

    def probed(penalty: float) -> float:
        at = drawn(y["train"], n, seed)
        probe = LinearProbe.fit(read["train"][at], y["train"][at], penalty=penalty)
        return probe.loss(read["validation"], y["validation"])

    return {"runs": runs + search(f"{kind} probe", modality, SETTINGS["penalties"], probed)}


def search(
    what: str, modality: str, values: Sequence[float], loss: Callable[[float], float], more: int = 4
) -> list[dict]:
    """A run for each value, and up to `more` further ones while the best is the least or the largest tried."""
    tried = {value: attempt(loss, value) for value in values}
    for _ in range(more):
        order = sorted(tried)
        best, step = min(order, key=tried.get), order[1] / order[0]
        if best not in (order[0], order[-1]):
            break
        further = float(f"{best / step if best == order[0] else best * step:.3g}")
        tried[further] = attempt(loss, further)
    key = {"task": "tune", "what": what, "modality": modality}
    return [key | {"value": value, "loss": tried[value]} for value in sorted(tried)]


def attempt(loss: Callable[[float], float], value: float) -> float:
    try:
        return round(loss(value), 5)
    except FloatingPointError:  # at too large a rate
        return 1e9


def swap(data: Data) -> Data:
    """The same data with the validation part in the place of the training part, for a loss to be evaluated there."""
    parts = {name: getattr(data, name) for name in ("inputs", "targets", "scored")}
    parts = {name: x and {"train": x["validation"]} for name, x in parts.items()}
    return Data(**{**vars(data), **parts})


def tune_classifiers(modality: str, rate: float) -> dict:
    """Cross-entropy of each penalty, rate or weight on the exploratory seed's validation part, over draws of labels."""
    seed, runs = SETTINGS["exploratory_seed"], []
    data, model, _, seen = base(modality, seed, rate)
    y = data.labels

    def loss(arm: str, n: str) -> Callable[[float], float]:
        draws = 1 if n == "all" or arm == "joint" else SETTINGS["tuning_draws"]
        return lambda value: float(np.mean([one(arm, n, value, seed + draw) for draw in range(draws)]))

    def one(arm: str, n: str, value: float, draw: int) -> float:
        at = drawn(y["train"], n, draw)
        if arm in PROBES:
            probe = LinearProbe.fit(seen[arm]["train"][at], y["train"][at], penalty=value)
            logits = probe.logits(seen[arm]["validation"])
        elif arm == "joint":
            logits = outputs(data, joint(data, at, rate, value, seed), "validation").numpy()
        else:
            logits = outputs(data, classifier(data, arm, model, at, n, value, seed), "validation").numpy()
        return float(cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(y["validation"])))

    for n in (*SETTINGS["labels"], "all"):
        for arm in PROBES + TUNED:
            values = SETTINGS["penalties"] if arm in PROBES else SETTINGS["classifier_rates"]
            runs += search(f"{arm} {n}", modality, values, loss(arm, n))
    if modality in SETTINGS["joint_of"]:
        n = SETTINGS["joint_labels"]
        runs += search(f"joint {n}", modality, SETTINGS["weights"], loss("joint", n), more=0)
    return {"runs": runs}


@lru_cache(maxsize=1)
def base(modality: str, seed: int, rate: float) -> tuple[Data, nn.Module, PCA, dict]:
    """A seed's data, autoencoder, PCA and what a probe can read; jobs that follow each other in a worker share them."""
    data, pca = load(modality, seed), pca_of(modality, seed)
    model = trained("plain", data, rate, seed)
    return data, model, pca, views(data, model, pca, seed)


def seed_of(modality: str, seed: int, chosen: dict[str, float]) -> dict:
    """Everything about a modality's plain autoencoder on one seed: errors, then classifiers on every budget."""
    rate = chosen["plain"]
    data, model, pca, seen = base(modality, seed, rate)
    y, full = data.labels, seed in SETTINGS["full_seeds"]
    key = {"modality": modality, "seed": seed}
    kept = {"task": "kept"} | key | reconstruction(data, model, pca)
    runs = [kept | {"moved": moved(data, model, seed), "groups": data.groups}]
    for n in SETTINGS["labels"] + ["all"] * full:
        at = drawn(y["train"], n, seed)
        key = {"task": "classify", "modality": modality, "seed": seed, "n": n}
        for arm in PROBES:
            view = seen[arm]
            probe = LinearProbe.fit(view["train"][at], y["train"][at], penalty=chosen[f"{arm} {n}"])
            runs.append(key | {"arm": arm, "right": right(probe.predict(view["test"]), y["test"])})
        for arm in TUNED:
            network = classifier(data, arm, model, at, n, chosen[f"{arm} {n}"], seed)
            runs.append(key | {"arm": arm, "right": right(guesses(data, network, "test"), y["test"])})
        if modality in SETTINGS["joint_of"] and n == SETTINGS["joint_labels"]:
            network = joint(data, at, rate, chosen[f"joint {n}"], seed)
            runs.append(key | {"arm": "joint", "right": right(guesses(data, network, "test"), y["test"])})
    if modality == "video" and full:
        runs.append({"task": "velocity", "seed": seed} | velocities(data, seen))
    return {"runs": runs}


def velocities(data: Data, seen: dict) -> dict:
    """Share of the velocity's variance on the test part that a ridge regression explains, %, by what it reads."""
    y = data.velocity
    scores = {
        arm: ridge(view["train"], y["train"]).score(view["test"], y["test"]) for arm, view in seen.items()
    }
    return {arm: round(100 * float(score), 2) for arm, score in scores.items()}


def kinds_of(seed: int, chosen: dict[str, float]) -> dict:
    """The kinds beside the plain autoencoder, each on what it is for, and a probe on its codes with all labels."""
    data, plain, pca, _ = base(SETTINGS["kinds_of"], seed, chosen["plain"])
    n, y, runs = SETTINGS["kinds_labels"], data.labels, []
    at = drawn(y["train"], n, seed)
    for kind, measured in (("denoising", denoised), ("variational", bounds), ("masked", filled)):
        model = trained(kind, data, chosen[kind], seed)
        found = {"task": "kind", "kind": kind, "modality": data.modality, "seed": seed, "n": n}
        found |= measured(data, model, plain, pca, seed) | {"moved": moved(data, model, seed, kind)}
        read = codes(data, model, "train")[at]
        probe = LinearProbe.fit(read, y["train"][at], penalty=chosen[f"{kind} probe"])
        guessed = probe.predict(codes(data, model, "test"))
        runs.append(found | {"right": right(guessed, y["test"])})
    return {"runs": runs}


@torch.inference_mode()
def denoised(data: Data, model: nn.Module, plain: nn.Module, pca: PCA, seed: int) -> dict:
    """Errors against the whole image, read with noise."""
    x = data.inputs["test"]
    noisy = ae.GaussianNoise(SETTINGS["noise"])(x, torch.Generator().manual_seed(seed))
    scale = (x - data.constant).square()
    linear = pca.inverse_transform(pca.transform(noisy.flatten(1).numpy())).reshape(x.shape)
    made = {"itself": model(noisy), "plain": plain(noisy), "PCA": torch.from_numpy(linear), "noisy": noisy}
    return {name: percent((image - x).square(), scale) for name, image in made.items()}


@torch.inference_mode()
def filled(data: Data, model: nn.Module, plain: nn.Module, pca: PCA, seed: int) -> dict:
    """Errors on the hidden patches alone."""
    x = data.inputs["test"]
    hidden = ae.hidden_patches(x, SETTINGS["patch"], SETTINGS["hidden"], torch.Generator().manual_seed(seed))
    read = model.hide(x, hidden)
    scale = ae.mean_where((x - data.constant).square(), hidden)
    linear = pca.inverse_transform(pca.transform(read.flatten(1).numpy())).reshape(x.shape)
    made = {"itself": model(x, hidden=hidden), "plain": plain(read), "PCA": torch.from_numpy(linear)}
    return {
        name: 100 * float(ae.mean_where((image - x).square(), hidden) / scale) for name, image in made.items()
    }


@torch.inference_mode()
def bounds(data: Data, model: nn.Module, plain: nn.Module, pca: PCA, seed: int) -> dict:
    """Nats an image of the test part: the lower bound, its KL, and the importance-weighted bound on the same draws."""
    x, generator = data.inputs["test"], torch.Generator().manual_seed(seed)

    def likelihood(made: Tensor, target: Tensor) -> Tensor:
        return ae.gaussian_log_likelihood(made, target, SETTINGS["likelihood_sd"])

    found = {"bound": [], "weighted": [], "kl": []}
    for rows in x.split(50):
        posterior = model.posterior(rows)
        noise = ae.standard_normal(posterior.mean, generator, n_draws=SETTINGS["n_draws"])
        weights = ae.log_weights(model, rows, likelihood, noise)
        found["bound"].append(weights.mean(0))
        found["weighted"].append(ae.importance_weighted_bound(weights))
        found["kl"].append(posterior.kl())
    means = {name: float(torch.cat(values).mean()) for name, values in found.items()}
    # A number of the code whose mean hardly moves from image to image says nothing (Burda et al. 2016).
    means["active"] = int((model.posterior(x).mean.var(0) > 0.01).sum())
    return means | {"error": percent((model(x) - x).square(), (x - data.constant).square())}


def look(modality: str, rate: float) -> dict:
    """A few things to look at, seed 0: an item and what became of it, as whole numbers or words."""
    data, model, pca, _ = base(modality, 0, rate)
    made, found = outputs(data, model, "test"), {"task": "look", "modality": modality, "seed": 0}
    if modality == "text":
        made = made.clone()  # out of inference mode
        made[:, :, :FIRST] = -math.inf  # padding and unknown words are not what it learned
        at = slice(0, None, len(made) // 8)  # eight sentences, of all classes

        def written(ids: Tensor) -> list[str]:
            there = data.inputs["test"][at] != PAD
            return [
                " ".join(data.vocabulary[i] for i in row[some]) for row, some in zip(ids, there, strict=True)
            ]

        return found | {"whole": written(data.inputs["test"][at]), "made": written(made[at].argmax(2))}
    shown = torch.from_numpy(pca.inverse_transform(pca.transform(data.rows["test"][:4]))).float()
    shown = shown.reshape(4, *data.inputs["test"].shape[1:])
    n = {"images": 4, "audio": 2, "video": 1}[modality]
    items = {"whole": data.targets["test"][:n], "made": made[:n], "PCA": shown[:n]}
    return found | {name: (100 * x).round().int().tolist() for name, x in items.items()}


def latent_map(rate: float) -> dict:
    """Codes of two numbers, of the autoencoder and of PCA, for test images of seed 0, with their classes."""
    modality, seed = "images", 0
    data = load(modality, seed)
    config = ae.ImageConfig(28, 28, 1, 2, SETTINGS["widths"][modality])
    small = Data(**{**vars(data), "config": config})
    model = trained("plain", small, rate, seed)
    flat = PCA(2, random_state=0).fit(data.flat["train"]).transform(data.flat["test"])
    return {
        "task": "map",
        "seed": seed,
        "codes": np.round(codes(small, model, "test").astype(float), 2).tolist(),
        "PCA": np.round(flat.astype(float), 2).tolist(),
        "labels": data.labels["test"].tolist(),
    }


# ---------------------------------------------------------------- which jobs


def chosen_in(tuning: dict[str, dict]) -> dict[str, dict[str, float]]:
    """modality → what → the value with the least loss."""
    best: dict = {}
    for run in (run for record in tuning.values() for run in record["runs"]):
        place = (run["modality"], run["what"])
        if place not in best or run["loss"] < best[place]["loss"]:
            best[place] = run
    found = {modality: {} for modality in MODALITIES}
    for (modality, what), run in best.items():
        found[modality][what] = run["value"]
    return found


def plan(chosen: dict[str, dict[str, float]]) -> dict:
    """Jobs of one seed and modality stand together, so that a worker trains their autoencoder once."""
    jobs, of = {}, SETTINGS["kinds_of"]
    for seed in SETTINGS["seeds"]:
        for modality in MODALITIES:
            arguments = {"modality": modality, "seed": seed, "chosen": chosen[modality]}
            jobs[f"seed {modality} {seed}"] = (seed_of, arguments)
    for seed in SETTINGS["full_seeds"]:
        for modality in SETTINGS["linear_of"]:
            jobs[f"linear {modality} {seed}"] = (linear, {"modality": modality, "seed": seed})
        jobs[f"kinds {seed}"] = (kinds_of, {"seed": seed, "chosen": chosen[of]})
    for modality in MODALITIES:
        jobs[f"look {modality}"] = (look, {"modality": modality, "rate": chosen[modality]["plain"]})
    return jobs | {"map": (latent_map, {"rate": chosen[of]["plain"]})}


def main() -> None:
    tuning = STUDY.run(
        {f"tune {m} plain": (tune_autoencoder, {"kind": "plain", "modality": m}) for m in MODALITIES}
        | {f"tune {k}": (tune_autoencoder, {"kind": k, "modality": SETTINGS["kinds_of"]}) for k in KINDS}
    )
    rates = chosen_in(tuning)
    tuning |= STUDY.run(
        {
            f"tune {m} classifiers": (tune_classifiers, {"modality": m, "rate": rates[m]["plain"]})
            for m in MODALITIES
        }
    )
    chosen = chosen_in(tuning)
    print("chosen:", chosen)
    STUDY.write(tuning | STUDY.run(plan(chosen)), chosen=chosen)


if __name__ == "__main__":
    main()
