"""Two views of one thing: which way of joining them beats the better view alone, and when none does.

make experiment NAME=transfer/fusion

Digits: a handwritten image and a spoken word of the same digit, both noisy, paired at random within the class anew in
every part; images and voices of the test are in no other part. Sentences: TF-IDF and MiniLM features of one editorial
sentence, split by article. Every arm is a small network on the same features, D numbers a view, with as many
parameters as all others to within 5 % (frozen matrices count), and the same number of candidate rates, chosen on an
exploratory seed, averaged over the levels of noise at which both views tell something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, cross_entropy

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.models.autoencoder import MelConfig, log_mel
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer import fusion

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "digits": {
        "pairs": {"train": 300, "test": 300},  # of the validation part, all
        # sd; ink is 1 and paper 0, the loudest sample is 1. The last of each leaves hardly anything of its view.
        "noise_image": [0.2, 0.4, 0.8, 2.0],
        "noise_sound": [0.1, 0.5, 1.0, 3.0],
        "mel": {"sample_rate": 8000, "window": 256, "hop": 80, "n_mels": 20},
        "segments": 8,  # of time, each averaged
        "width": 32,  # D
        "parameters": 4000,
        "classes": 10,
        "epochs": 20,
        "batch_size": 50,
        # Looked at on the exploratory seed only: would other rates, or longer training, change the order?
        "checks": [([0.4, 0.5], 60), ([0.4, 3.0], 20), ([2.0, 0.5], 20)],
        "rates": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0],  # products want the high ones
    },
    "sentences": {
        "domain": "editorials",
        "width": 64,
        "parameters": 12000,
        "classes": 2,
        "epochs": 10,
        "batch_size": 100,
        "rates": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1],
        "max_length": 48,
        "penalties": [
            0.1,
            1.0,
            10.0,
            100.0,
            1e3,
            1e4,
        ],  # C, of logistic regression on the features as they are
    },
    "rank": 16,  # of the bilinear products
    # Of canonical correlations, from three numbers of directions and three ridges on the exploratory seed.
    "cca": {"width": 16, "ridge": 1.0},
    "tolerance": 0.05,  # of the number of parameters
}
STUDY = results.Study("transfer/fusion", SETTINGS, assets=["digits", "minilm", "sentiment"])
VIEWS = ("first", "second")
PARTS = ("train", "validation", "test")
DEEP = {"first deep": "first", "second deep": "second"}  # as deep as the arms with a network a view
# Single views first; then without a matrix; with one; by training; by probabilities.
ARMS = (
    *VIEWS,
    *DEEP,
    *("concat", "sum", "product", "bilinear"),
    *("learned", "learned product", "procrustes", "cca"),
    *("one task", "multi-task", "uncertainty"),
    *("mixed", "mixed uncertainty", "average"),
)


# ---------------------------------------------------------------- the views


class Pairs:
    """views: two (N, D); labels (N,); groups: (N,), what a test item shares with others."""

    def __init__(self, views: Sequence[Tensor], labels: np.ndarray, groups: np.ndarray) -> None:
        self.views, self.labels, self.groups = list(views), torch.as_tensor(labels), groups

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, numbers: list[int]) -> tuple[list[Tensor], Tensor]:
        return [view[numbers] for view in self.views], self.labels[numbers]


@lru_cache(maxsize=1)
def clips() -> datasets.SpokenWords:
    return datasets.spoken_words(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )


def digit_pairs(noise_image: float, noise_sound: float, seed: int) -> dict[str, Pairs]:
    """Parts of one seed. Image and clip of a pair share the digit and nothing else; noise is drawn for each pair."""
    settings = SETTINGS["digits"]
    images, words = datasets.digits(), clips()
    order = np.random.default_rng(seed).permutation(len(images.labels))
    cuts = np.split(order, [int(0.6 * len(order)), int(0.75 * len(order))])
    voices = datasets.spoken_split(words, seed, test=0.25, validation=0.15)
    found = {}
    for number, (part, chosen) in enumerate(zip(PARTS, cuts, strict=True)):
        random = np.random.default_rng((seed, number))
        chosen = chosen[: settings["pairs"].get(part)]
        labels = images.labels[chosen]
        pool = getattr(voices, part)
        sounds = np.array([random.choice(pool[words.labels[pool] == digit]) for digit in labels])
        pixels = images.images[chosen].reshape(len(chosen), -1) / 16
        pixels = pixels + noise_image * random.standard_normal(pixels.shape)
        found[part] = (pixels, spectrogram(sounds, noise_sound, random), labels, words.voice[sounds])
    return reduced(found, lambda n: PCA(n, svd_solver="full"), settings["width"])


def spectrogram(sounds: np.ndarray, noise: float, random: np.random.Generator) -> np.ndarray:
    """Log-mel bands of noisy clips, averaged over a few segments of time: (N, bands · segments)."""
    settings = SETTINGS["digits"]
    waves = clips().waveforms[sounds]
    waves = waves + noise * random.standard_normal(waves.shape)
    waves = torch.from_numpy(waves / (1.001 * np.abs(waves).max(1, keepdims=True))).float()
    mel = log_mel(waves, MelConfig(**settings["mel"]))  # (N, bands, frames)
    return adaptive_avg_pool1d(mel, settings["segments"]).flatten(1).double().numpy()


def reduced(parts: Mapping[str, tuple], make: Callable, width: int) -> dict[str, Pairs]:
    """Principal components of each view, fitted on the training part; mean 0 and mean variance 1 there."""
    views = []
    for v in range(2):
        component = make(width).fit(parts["train"][v])
        scores = {part: component.transform(values[v]) for part, values in parts.items()}
        mean, scale = scores["train"].mean(0), scores["train"].std(0)
        scale = np.sqrt(np.mean(scale**2))
        views.append({part: torch.from_numpy((x - mean) / scale).float() for part, x in scores.items()})
    return {part: Pairs([v[part] for v in views], *values[2:]) for part, values in parts.items()}


# ---------------------------------------------------------------- sentences


@lru_cache(maxsize=1)
def sentence_features() -> dict[str, np.ndarray]:
    """MiniLM's mean-pooled states (384,) of every sentence of the domain that is clear enough, by its id."""
    settings = SETTINGS["sentences"]
    sentences = [s for s in datasets.sentiment(settings["domain"]) if abs(s.valence) >= 0.5]
    data = encoders.encode_texts(datasets.texts(sentences), max_length=settings["max_length"])
    pooled = predict(
        encoders.SentenceClassifier(encoders.minilm()),
        data,
        collate=encoders.collate_sentences,
        lengths=data.lengths,
        forward=lambda m, b: m.features(b["input_ids"], b["attention_mask"]),
    )
    return {s.id: row for s, row in zip(sentences, pooled.double().numpy(), strict=True)}


def sentence_parts(seed: int, *, whole: bool) -> dict[str, tuple]:
    """TF-IDF of words and letters (sparse), MiniLM, labels and articles of each part of a group-wise split.

    whole: on fresh seeds, where nothing is chosen, the validation part is training data too.
    """
    split = datasets.sentiment_split(SETTINGS["sentences"]["domain"], seed)
    parts = {part: getattr(split, part) for part in PARTS}
    if whole:
        parts["train"] = parts["train"] + parts["validation"]
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5))
    tfidf = FeatureUnion([("words", words), ("letters", letters)]).fit(datasets.texts(parts["train"]))
    features = sentence_features()
    return {
        part: (
            csr_matrix(tfidf.transform(datasets.texts(sentences))),
            np.stack([features[s.id] for s in sentences]),
            datasets.labels(sentences),
            np.array([int(s.group) for s in sentences]),
        )
        for part, sentences in parts.items()
    }


def sentence_pairs(parts: Mapping[str, tuple], seed: int) -> dict[str, Pairs]:
    make = lambda n: TruncatedSVD(n, random_state=seed)  # noqa: E731
    return reduced(parts, make, SETTINGS["sentences"]["width"])


def side_by_side(parts: Mapping[str, tuple], kind: str) -> dict[str, csr_matrix]:
    """Features as they are: `first` TF-IDF, `second` MiniLM with mean row norm 1, as TF-IDF has, or `concat`."""
    scale = np.linalg.norm(parts["train"][1], axis=1).mean()
    both = {part: (values[0], csr_matrix(values[1] / scale)) for part, values in parts.items()}
    if kind == "concat":
        return {part: hstack(views).tocsr() for part, views in both.items()}
    return {part: views[VIEWS.index(kind)] for part, views in both.items()}


# ---------------------------------------------------------------- the arms


class OneView(nn.Module):
    def __init__(self, number: int, head: nn.Module) -> None:
        super().__init__()
        self.number, self.head = number, head

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        return self.head(views[self.number])


class Fused(nn.Module):
    def __init__(self, joined: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.joined, self.head = joined, head

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        return self.head(self.joined(views))


class Several(nn.Module):
    """Networks with an output a task, and the weights of their losses, which train with them."""

    def __init__(self, networks: nn.Module, weighting: nn.Module) -> None:
        super().__init__()
        self.networks, self.weighting = networks, weighting

    def forward(self, views: Sequence[Tensor]) -> dict[str, Tensor]:
        inputs = dict(zip(VIEWS, views, strict=True))
        if isinstance(self.networks, nn.ModuleDict):
            return {name: network(inputs[name]) for name, network in self.networks.items()}
        return self.networks(inputs)


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLUs between them."""
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return nn.Sequential(*[m for layer in layers[:-1] for m in (layer, nn.ReLU())], layers[-1])


def build(arm: str, hidden: int, views: Sequence[Tensor], classes: int, seed: int) -> nn.Module:
    """The network of an arm; Procrustes and CCA are computed from the training views, (N, D) each."""
    d = views[0].shape[1]
    both, product = [d, d], fusion.ProductFusion
    head = lambda width: mlp(width, hidden, classes)  # noqa: E731
    if arm in VIEWS:
        return OneView(VIEWS.index(arm), head(d))
    if arm in DEEP:
        return OneView(VIEWS.index(DEEP[arm]), mlp(d, hidden, hidden, classes))
    if arm == "concat":
        return Fused(fusion.ConcatFusion(both), head(2 * d))
    if arm == "sum":
        return Fused(fusion.SumFusion(both), head(d))
    if arm == "product":
        return Fused(product(both), head(d))
    if arm == "bilinear":
        return Fused(fusion.BilinearFusion(both, d, rank=SETTINGS["rank"], seed=seed), head(d))
    if arm == "learned":
        return Fused(fusion.TransformFusion.learned(both, d, seed=seed), head(d))
    if arm == "learned product":
        return Fused(fusion.TransformFusion.learned(both, d, fusion=product, seed=seed), head(d))
    if arm == "procrustes":
        return Fused(fusion.TransformFusion.procrustes(views), head(d))
    if arm == "cca":
        found = fusion.TransformFusion.cca(views, **SETTINGS["cca"])
        return Fused(found, head(found.width))
    if arm in ("one task", "multi-task", "uncertainty"):
        return multi_task(arm, hidden, d, classes)
    if arm in ("mixed", "mixed uncertainty"):
        networks = {view: mlp(d, hidden, hidden, classes) for view in VIEWS}
        mixed = fusion.MixedModel(networks, shared=["2", "4"])  # the two upper layers
        if arm == "mixed uncertainty":
            return Several(mixed, fusion.UncertaintyWeights(list(VIEWS)))
        return Several(mixed, fusion.FixedWeights(dict.fromkeys(VIEWS, 1.0)))
    if arm == "average":
        networks = nn.ModuleDict({view: mlp(d, hidden, hidden, classes) for view in VIEWS})
        return Several(networks, fusion.FixedWeights(dict.fromkeys(VIEWS, 1.0)))
    raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS)}")


def multi_task(arm: str, hidden: int, d: int, classes: int) -> Several:
    """An encoder a view, a head on both together; of several tasks, a head on each view's own features too."""
    encoders_ = {view: nn.Sequential(nn.Linear(d, hidden), nn.ReLU()) for view in VIEWS}
    heads: dict[str, nn.Module] = {"both": mlp(2 * hidden, hidden, classes)}
    if arm != "one task":
        heads |= {view: nn.Linear(hidden, classes) for view in VIEWS}
    reads = {view: view for view in VIEWS if view in heads}
    model = fusion.MultiTaskModel(encoders_, fusion.ConcatFusion([hidden, hidden]), heads, reads=reads)
    if arm == "uncertainty":
        return Several(model, fusion.UncertaintyWeights(list(heads)))
    return Several(model, fusion.FixedWeights(dict.fromkeys(heads, 1.0)))


def matched(arm: str, views: Sequence[Tensor], task: str, seed: int) -> nn.Module:
    """The arm at a random start, as wide as brings its parameters nearest to the wanted number."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arm, hidden_width(arm, task), views, SETTINGS[task]["classes"], seed)


@lru_cache(maxsize=64)
def hidden_width(arm: str, task: str) -> int:
    """Raises ValueError where no width brings the number of parameters within the tolerance."""
    settings = SETTINGS[task]
    wanted, d = settings["parameters"], settings["width"]
    # Procrustes and CCA want views to be computed from; which, does not change their sizes.
    views = [torch.randn(4 * d, d, generator=torch.Generator().manual_seed(v)) for v in range(2)]

    def parameters(hidden: int) -> int:
        with torch.random.fork_rng(devices=[]):
            return size(build(arm, hidden, views, settings["classes"], 0))

    low, high = 1, 1024
    while high - low > 1:  # the number of parameters rises with the width
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(middle) <= wanted else (low, middle)
    best = min((low, high), key=lambda hidden: abs(parameters(hidden) - wanted))
    if abs(parameters(best) - wanted) > SETTINGS["tolerance"] * wanted:
        raise ValueError(
            f"{arm} has {parameters(best)} parameters, not {wanted} to within {SETTINGS['tolerance']:.0%}"
        )
    return best


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def loss(model: nn.Module, batch: tuple[list[Tensor], Tensor]) -> Tensor:
    views, labels = batch
    outputs = model(views)
    if isinstance(outputs, Tensor):
        return cross_entropy(outputs, labels)
    targets, losses = dict.fromkeys(outputs, labels), dict.fromkeys(outputs, cross_entropy)
    return fusion.joint_loss(outputs, targets, losses, model.weighting).total


@torch.inference_mode()
def probabilities(model: nn.Module, pairs: Pairs) -> dict[str, Tensor]:
    """(N, C) of the arm, under "": where each view has its own, their mean; beside it, multiplied and scaled."""
    outputs = model.eval()(pairs.views)
    if isinstance(outputs, Tensor):
        return {"": outputs.softmax(1)}
    if "both" in outputs:
        return {"": outputs["both"].softmax(1)}
    each = [outputs[view].softmax(1) for view in VIEWS]
    logs = sum(outputs[view].log_softmax(1) for view in VIEWS)
    return {"": fusion.ProbabilityAverage(2)(each), " multiplied": logs.softmax(1)}


def trained(
    arm: str, pairs: Mapping[str, Pairs], task: str, rate: float, seed: int, epochs: int | None = None
) -> nn.Module:
    settings = SETTINGS[task]
    model = matched(arm, pairs["train"].views, task, seed)
    config = TrainingConfig(
        epochs=epochs or settings["epochs"], batch_size=settings["batch_size"], learning_rate=rate, seed=seed
    )
    fit(model, pairs["train"], loss, config, collate=lambda batch: batch, progress=False)
    return model


def right(found: Tensor, pairs: Pairs) -> np.ndarray:
    return (found.argmax(1) == pairs.labels).numpy()


# ---------------------------------------------------------------- jobs


def pairs_of(task: str, seed: int, noise: Sequence[float], *, whole: bool) -> dict[str, Pairs]:
    if task == "digits":
        return digit_pairs(*noise, seed)
    return sentence_pairs(sentence_parts(seed, whole=whole), seed)


def tune(task: str, noise: Sequence[float]) -> dict:
    """Validation accuracy of every candidate rate of every arm, on the exploratory seed."""
    seed = SETTINGS["exploratory_seed"]
    found = {"task": "tune", "of": task, "noise": list(noise), "seed": seed}
    return found | {"accuracy": tried(task, noise, seed)}


def check(noise: Sequence[float], epochs: int) -> dict:
    """The same for digits with another length of training, or where a view is noise; no rate is chosen by it."""
    seed = SETTINGS["exploratory_seed"]
    found = {"task": "check", "noise": list(noise), "epochs": epochs, "seed": seed}
    return found | {"accuracy": tried("digits", noise, seed, epochs)}


def tried(task: str, noise: Sequence[float], seed: int, epochs: int | None = None) -> dict[str, list[float]]:
    pairs, rates = pairs_of(task, seed, noise, whole=False), SETTINGS[task]["rates"]
    return {arm: [validated(arm, pairs, task, rate, seed, epochs) for rate in rates] for arm in ARMS}


def validated(
    arm: str, pairs: Mapping[str, Pairs], task: str, rate: float, seed: int, epochs: int | None = None
) -> float:
    """Accuracy on the validation part; 0 at a rate at which the loss is no number any more."""
    try:
        model = trained(arm, pairs, task, rate, seed, epochs)
    except FloatingPointError:
        return 0.0
    held = pairs["validation"]
    return round(float(right(probabilities(model, held)[""], held).mean()), 4)


def compare(task: str, noise: Sequence[float], seed: int, rates: Mapping[str, float]) -> dict:
    """Every arm on the test part of one seed.

    right: arm → "1011…"; groups: of the test items, the voice or the article, numbered; parameters: of each arm;
    weights: of the losses at the end of training, of arms with several; strengths: correlations that CCA finds, and
    how well Procrustes' rotation fits, on the training pairs.
    """
    pairs = pairs_of(task, seed, noise, whole=True)
    digits, parameters, weights = {}, {}, {}
    for arm in ARMS:
        model = trained(arm, pairs, task, rates[arm], seed)
        parameters[arm] = size(model)
        if isinstance(model, Several):
            weights[arm] = {name: round(weight, 3) for name, weight in model.weighting.weights().items()}
        for name, found in probabilities(model, pairs["test"]).items():
            digits[arm + name] = "".join("1" if r else "0" for r in right(found, pairs["test"]))
    views = pairs["train"].views
    correlations = fusion.cca(views, **SETTINGS["cca"]).strengths
    return {
        "task": task,
        "noise": list(noise),
        "seed": seed,
        "right": digits,
        "groups": numbered(pairs["test"].groups),
        "train": len(pairs["train"]),
        "parameters": parameters,
        "weights": weights,
        "strengths": {
            "cca": [round(float(c), 3) for c in correlations],
            "procrustes": round(float(fusion.procrustes(views).strengths[1]), 4),
        },
    }


def numbered(groups: np.ndarray) -> list[int]:
    """Articles by their own numbers, voices by theirs in the whole collection: the same in every seed."""
    if groups.dtype.kind in "iu":
        return [int(group) for group in groups]
    return np.searchsorted(np.unique(clips().voice), groups).tolist()


def tune_whole() -> dict:
    """Validation accuracy of logistic regression on sentences' features as they are, for each C."""
    seed = SETTINGS["exploratory_seed"]
    parts = sentence_parts(seed, whole=False)
    accuracy = {kind: [] for kind in (*VIEWS, "concat")}
    for kind, scores in accuracy.items():
        inputs = side_by_side(parts, kind)
        for c in SETTINGS["sentences"]["penalties"]:
            model = LogisticRegression(C=c, max_iter=2000).fit(inputs["train"], parts["train"][2])
            scores.append(round(float(model.score(inputs["validation"], parts["validation"][2])), 4))
    return {"task": "tune whole", "seed": seed, "accuracy": accuracy}


def whole(seed: int, penalties: Mapping[str, float]) -> dict:
    """Logistic regression on all of TF-IDF, on all of MiniLM, and on both side by side."""
    parts = sentence_parts(seed, whole=True)
    found = {}
    for kind, c in penalties.items():
        inputs = side_by_side(parts, kind)
        model = LogisticRegression(C=c, max_iter=2000).fit(inputs["train"], parts["train"][2])
        hits = model.predict(inputs["test"]) == parts["test"][2]
        found[kind] = "".join("1" if r else "0" for r in hits)
    groups = numbered(parts["test"][3])
    return {"task": "whole", "seed": seed, "right": found, "groups": groups}


# ---------------------------------------------------------------- which jobs


def levels() -> list[list[float]]:
    """Noise of image and sound; not the last of both, where there is nothing to find."""
    images, sounds = SETTINGS["digits"]["noise_image"], SETTINGS["digits"]["noise_sound"]
    return [[i, s] for i in images for s in sounds if (i, s) != (images[-1], sounds[-1])]


def named(kind: str, task: str, noise: Sequence[float], *more: object) -> str:
    return " ".join(str(word) for word in (kind, task, *(f"{level:g}" for level in noise), *more))


def plan_tuning() -> dict:
    """Rates are chosen where both views tell something."""
    images, sounds = SETTINGS["digits"]["noise_image"], SETTINGS["digits"]["noise_sound"]
    clear = [noise for noise in levels() if noise[0] < images[-1] and noise[1] < sounds[-1]]
    jobs = {"tune whole": (tune_whole, {})}
    for task, noise in [("sentences", []), *(("digits", noise) for noise in clear)]:
        jobs[named("tune", task, noise)] = (tune, {"task": task, "noise": noise})
    for noise, epochs in SETTINGS["digits"]["checks"]:
        jobs[named("check", "digits", noise, epochs)] = (check, {"noise": noise, "epochs": epochs})
    return jobs


def plan(rates: Mapping[str, Mapping[str, float]], penalties: Mapping[str, float]) -> dict:
    jobs = {}
    for seed in SETTINGS["seeds"]:
        for task, noise in [("sentences", []), *(("digits", noise) for noise in levels())]:
            arguments = {"task": task, "noise": noise, "seed": seed, "rates": rates[task]}
            jobs[named("compare", task, noise, seed)] = (compare, arguments)
        jobs[f"whole {seed}"] = (whole, {"seed": seed, "penalties": penalties})
    return jobs


def chosen(tuning: Mapping[str, dict]) -> tuple[dict, dict]:
    """The rate of each arm for each task, by accuracy averaged over the noise levels; C of each kind of feature."""
    rates = {}
    for task in ("digits", "sentences"):
        runs = [run["accuracy"] for run in tuning.values() if run.get("of") == task]
        mean = {arm: np.mean([run[arm] for run in runs], axis=0) for arm in ARMS}
        rates[task] = {arm: SETTINGS[task]["rates"][int(scores.argmax())] for arm, scores in mean.items()}
    scores = tuning["tune whole"]["accuracy"]
    penalties = {kind: SETTINGS["sentences"]["penalties"][int(np.argmax(s))] for kind, s in scores.items()}
    return rates, penalties


def main() -> None:
    tuning = STUDY.run(plan_tuning())
    rates, penalties = chosen(tuning)
    print("chosen rates:", rates, "and C:", penalties)
    STUDY.write(tuning | STUDY.run(plan(rates, penalties)), rates=rates, penalties=penalties)


if __name__ == "__main__":
    main()
