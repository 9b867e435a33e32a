"""Can a source be chosen without training? Scores against fine-tuning.  make experiment NAME=transfer/distance

Sources: the networks of `experiments/transfer/zoo.py` and their random start, EfficientNet-Lite0 and the same cut off
after a stage, MiniLM and the same cut off after a layer, the project's language models. Every source is fine-tuned as
a whole on the same few labels of each target; the rate of a source is the best of a grid on the validation parts of
exploratory splits, of targets whose scores are not too noisy to choose by and whose classes the source does not know;
all else is on fresh splits. The measures see exactly the labels that fine-tuning sees, and so does what needs no
source: logistic regression on pixels or on TF-IDF.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from tlcourse import datasets, results, weights
from tlcourse.models import encoders
from tlcourse.models.albert import Albert
from tlcourse.models.bert import Bert, BertForSequenceClassification
from tlcourse.models.gpt2 import GPT2
from tlcourse.models.resnet import ResNet
from tlcourse.tokenizers import ByteLevelBPE, WordPiece
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer.distance import Source, Target, logme, rank_sources
from tlcourse.transfer.extraction import mean_tokens

ZOO = results.load_script(results.SCRIPTS / "transfer" / "zoo.py")
IMAGES = [f"zoo-{name}" for name in ZOO.SETTINGS["images"]["sources"]]
CLASSES, MASKED = (
    [f"zoo-{name}" for name in ZOO.SETTINGS["texts"][kind]["sources"]] for kind in ("classes", "masked")
)
OWN = ["bert-mini", "albert-mini", "gpt2-mini-bible", "gpt2-mini-wordnet"]
SETTINGS = {
    "zoo": ZOO.STUDY.recipe,
    "weights": {name: weights.read_card(name).sha256 for name in [*IMAGES, *CLASSES, *MASKED, *OWN]},
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3],
    "n": 200,
    "most_held_out": {"images": 500, "texts": 400},
    "batch_size": 16,
    "head_rate": 3e-3,
    "samples": 200,
    "rounds": 5,
    "strengths": [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0],
    "images": {
        "targets": ["digits", "clothes", "solar"],
        "tuned_on": ["digits", "clothes"],
        "sources": [*IMAGES, "random start", "lite0 stage 3", "lite0 stage 5", "lite0"],
        "known": {"digits": ["zoo-digits"], "clothes": ["zoo-clothes", "zoo-clothes-b"], "solar": []},
        "same_labels": {"clothes": ["zoo-clothes-b"]},
        "epochs": 6,
        "lite0_side": 48,
        "stages": {"lite0 stage 3": 3, "lite0 stage 5": 5, "lite0": 7},
        "rates": {"lite0": [3e-4, 1e-3, 3e-3, 1e-2], "others": [1e-3, 3e-3, 1e-2, 3e-2]},
        "cost": ["lite0", "zoo-clothes"],
    },
    "texts": {
        "targets": ["editorials", "products", "topics"],
        "tuned_on": ["topics"],
        "sources": [*CLASSES, *MASKED, "random start", "minilm layer 2", "minilm", *OWN],
        "known": {"editorials": [], "products": [], "topics": []},
        "same_labels": {"editorials": ["zoo-films"], "products": ["zoo-films"]},
        "epochs": 3,
        "length": 32,
        "topics": 8,
        "layers": {"minilm layer 2": 2, "minilm": 6},
        "rates": {
            "minilm": [3e-5, 1e-4, 3e-4, 1e-3],
            "own": [1e-4, 3e-4, 1e-3, 3e-3],
            "others": [3e-4, 1e-3, 3e-3, 1e-2],
        },
        "cost": ["minilm", "zoo-films"],
    },
}
STUDY = results.Study(
    "transfer/distance",
    SETTINGS,
    assets=[
        *("fashion-mnist", "digits", "solar-cells", "efficientnet-lite0", "minilm"),
        *("sentiment", "wordnet", "shakespeare", "king-james-bible", "debian-descriptions"),
    ],
)


def modality(target: str) -> str:
    return "images" if target in SETTINGS["images"]["targets"] else "texts"


def sources_of(target: str) -> list[str]:
    """All but those whose training data has the target's classes."""
    settings = SETTINGS[modality(target)]
    return [name for name in settings["sources"] if name not in settings["known"][target]]


# ---------------------------------------------------------------- targets


@dataclass(frozen=True)
class Items:
    """Images (N, 28, 28) bytes or N texts, labels (N,) from 0, groups (N,): what belongs together, article or block."""

    inputs: Sequence
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Items:
        chosen = [self.inputs[i] for i in rows]
        stacked = np.stack(chosen) if isinstance(self.inputs, np.ndarray) else chosen
        return Items(stacked, self.labels[rows], self.groups[rows])


def single(inputs: Sequence, labels: np.ndarray) -> Items:
    """Items that stand alone."""
    return Items(inputs, labels, np.arange(len(labels)))


@dataclass(frozen=True)
class Parts:
    train: Items
    validation: Items
    test: Items


def target_parts(target: str, seed: int) -> Parts:
    """n items to learn from, and as many to choose a rate with and to test on as there are, up to a limit."""
    train, validation, test = POOLS[target](seed)
    most = SETTINGS["most_held_out"][modality(target)]
    return Parts(
        drawn(train, SETTINGS["n"], seed), drawn(validation, most, seed + 1), drawn(test, most, seed + 2)
    )


def drawn(items: Items, n: int, seed: int) -> Items:
    return items.take(np.random.default_rng(seed).permutation(len(items))[:n])


def shuffled_parts(items: Items, seed: int) -> tuple[Items, Items, Items]:
    """Single items apart, two fifths to learn from, a fifth to choose with, the rest to test on."""
    order = np.random.default_rng(seed).permutation(len(items))
    cuts = np.split(order, [2 * len(order) // 5, 3 * len(order) // 5])
    return tuple(items.take(rows) for rows in cuts)


def digits(seed: int) -> tuple[Items, Items, Items]:
    data = ZOO.enlarged_digits()
    return shuffled_parts(single(data.images, data.labels), seed)


@lru_cache(maxsize=1)
def unseen_clothes() -> Items:
    """The second half of the kinds, from the file that no source has read."""
    data = ZOO.half("b", datasets.fashion_mnist("test"))
    return single(data.images, data.labels)


def clothes(seed: int) -> tuple[Items, Items, Items]:
    return shuffled_parts(unseen_clothes(), seed)


def solar(seed: int) -> tuple[Items, Items, Items]:
    """Defective or not; whole blocks of files apart."""
    cells = datasets.solar_cells(ZOO.SETTINGS["images"]["side"])
    split = datasets.solar_split(cells, seed)
    items = Items(cells.images, cells.labels, cells.block)
    return tuple(items.take(rows) for rows in (split.train, split.validation, split.test))


def sentiment(domain: str, seed: int) -> tuple[Items, Items, Items]:
    """Whole articles or reviews apart."""
    split = datasets.sentiment_split(domain, seed)
    return tuple(
        Items(datasets.texts(part), datasets.labels(part), np.array([int(s.group) for s in part]))
        for part in (split.train, split.validation, split.test)
    )


@lru_cache(maxsize=1)
def noun_definitions() -> Items:
    """Definitions of the commonest classes of nouns, out of text that no source has read."""
    lexname = {s.id: s.lexname for s in datasets.distinct_synsets()}
    found = [
        (document.sentences[0].partition(": ")[2], lexname[document.id])
        for document in datasets.corpus("wordnet", "test")
        if lexname[document.id].startswith("noun.") and ": " in document.sentences[0]
    ]
    names, counts = np.unique([name for _, name in found], return_counts=True)
    kept = sorted(names[np.argsort(-counts, kind="stable")[: SETTINGS["texts"]["topics"]]])
    found = [(text, kept.index(name)) for text, name in found if name in kept]
    return single([text for text, _ in found], np.array([label for _, label in found]))


def topics(seed: int) -> tuple[Items, Items, Items]:
    return shuffled_parts(noun_definitions(), seed)


POOLS: dict[str, Callable[[int], tuple[Items, Items, Items]]] = {
    "digits": digits,
    "clothes": clothes,
    "solar": solar,
    "editorials": lambda seed: sentiment("editorials", seed),
    "products": lambda seed: sentiment("products", seed),
    "topics": topics,
}


# ---------------------------------------------------------------- sources


class Pixels(nn.Module):
    """One of our ResNets: what its head reads, (B, 64)."""

    def __init__(self, network: ResNet):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network.features(batch["images"])


class Stages(nn.Module):
    """EfficientNet-Lite0 up to a stage, the mean over the places of its maps: (B, D)."""

    def __init__(self, n_stages: int):
        super().__init__()
        network = encoders.efficientnet_lite0()
        whole = n_stages == len(network.blocks)
        self.stem = nn.Sequential(network.conv_stem, network.bn1, *network.blocks[:n_stages])
        self.top = nn.Sequential(network.conv_head, network.bn2) if whole else nn.Identity()
        self.head = network.classifier if whole else None

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        side = SETTINGS["images"]["lite0_side"]
        images = F.interpolate(batch["images"], (side, side), mode="bilinear").expand(-1, 3, -1, -1)
        return self.top(self.stem(images.contiguous(memory_format=torch.channels_last))).mean((2, 3))


class Words(nn.Module):
    """A transformer: the mean of its last states over the words, or, where a class was read off it, [CLS]: (B, D)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if isinstance(self.network, BertForSequenceClassification):
            return self.network.pooler(self.network.bert(ids, mask))
        states = (
            self.network.features(ids, mask) if isinstance(self.network, GPT2) else self.network(ids, mask)
        )
        return mean_tokens(states, batch)


@dataclass(frozen=True)
class Opened:
    """A source: body, batch → features (B, D); head, features → its own logits, None where it has none; the body
    without anything of the head, whose parameters can be compared; read: inputs → rows; collate: rows → batch."""

    body: nn.Module
    head: nn.Module | None
    core: nn.Module
    read: Callable[[Items], Sequence]
    collate: Callable[[Sequence], dict[str, Tensor]]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the core, less its head."""
        found = self.core.named_parameters()
        return {name: p.detach().clone() for name, p in found if not name.startswith("head.")}


def open_source(name: str, kind: str) -> Opened:
    """A fresh copy, with the weights that the source ends with. kind: "images" or "texts"."""
    return open_images(name) if kind == "images" else open_texts(name)


def open_images(name: str) -> Opened:
    stages = SETTINGS["images"]["stages"]
    if name in stages:
        body = Stages(stages[name])
        return Opened(body, body.head, body, image_rows, image_batch)
    if name == "random start":
        network = ZOO.image_network(2, ZOO.SETTINGS["seed"])
        return Opened(Pixels(network), None, network, image_rows, image_batch)
    network = ResNet.from_pretrained(name)
    return Opened(Pixels(network), network.head, network, image_rows, image_batch)


def image_rows(items: Items) -> list[tuple[Tensor, int]]:
    return list(zip(ZOO.pixels(items.inputs), items.labels.tolist(), strict=True))


def image_batch(rows: Sequence) -> dict[str, Tensor]:
    return {"images": torch.stack([x for x, _ in rows]), "labels": torch.tensor([y for _, y in rows])}


def open_texts(name: str) -> Opened:
    if name == "random start":  # of the small networks: their vocabulary, their start
        folder = CLASSES[0]
        model = BertForSequenceClassification.from_pretrained(folder)
        network = Bert(model.config, seed=ZOO.SETTINGS["seed"])
    elif name in CLASSES:
        folder, network = name, BertForSequenceClassification.from_pretrained(name)
    elif name in SETTINGS["texts"]["layers"]:
        folder, network = "minilm", Bert.from_pretrained("minilm")
        network.layers = network.layers[: SETTINGS["texts"]["layers"][name]]
    else:
        kind = GPT2 if name.startswith("gpt2") else Albert if name.startswith("albert") else Bert
        folder, network = name, kind.from_pretrained(name)
    body = Words(network)
    core = network.bert if name in CLASSES else network
    head = network.classifier if name in CLASSES else None
    return Opened(body, head, core, *text_reader(folder, isinstance(network, GPT2)))


def text_reader(folder: str, next_token: bool) -> tuple[Callable, Callable]:
    """What turns items into rows and rows into batches: [CLS] text [SEP], or the end of text and the text."""
    vocab, length = vocabulary(folder, next_token), SETTINGS["texts"]["length"]
    if next_token:
        first, last, pad = [vocab.eos_token_id], [], vocab.eos_token_id
    else:
        first, last, pad = [vocab.cls_token_id], [vocab.sep_token_id], vocab.pad_token_id
    room = length - len(first) - len(last)

    def read(items: Items) -> list[tuple[list[int], int]]:
        ids = [[*first, *vocab.encode(text)[:room], *last] for text in items.inputs]
        return list(zip(ids, items.labels.tolist(), strict=True))

    def collate(rows: Sequence[tuple[list[int], int]]) -> dict[str, Tensor]:
        ids = [torch.tensor(ids) for ids, _ in rows]
        input_ids = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
        mask = torch.arange(input_ids.shape[1]) < torch.tensor([len(i) for i in ids])[:, None]
        labels = torch.tensor([y for _, y in rows])
        return {"input_ids": input_ids, "attention_mask": mask.long(), "labels": labels}

    return read, collate


@lru_cache(maxsize=8)
def vocabulary(folder: str, next_token: bool) -> ByteLevelBPE | WordPiece:
    return (ByteLevelBPE if next_token else WordPiece).load(weights.locate(folder))


# ---------------------------------------------------------------- fine-tuning


class Classifier(nn.Module):
    """A body and a new linear layer, from zero, on its features, standardised as they are before training."""

    def __init__(self, body: nn.Module, features: Tensor, n_classes: int):
        super().__init__()
        self.body = body
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("scale", features.std(0).clamp_min(1e-3 * features.std()))
        self.head = nn.Linear(features.shape[1], n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.head((self.body(batch) - self.mean) / self.scale)


def features_of(opened: Opened, items: Items) -> Tensor:
    rows = opened.read(items)
    lengths = None if isinstance(items.inputs, np.ndarray) else [len(ids) for ids, _ in rows]
    forward = lambda body, batch: body(batch)  # noqa: E731
    return predict(opened.body, rows, collate=opened.collate, lengths=lengths, forward=forward)


def fine_tuned(opened: Opened, train: Items, n_classes: int, *, rate: float, seed: int) -> Classifier:
    """All of the source, and the new layer at a rate of its own."""
    model = Classifier(opened.body, features_of(opened, train), n_classes)
    for name, parameter in model.body.named_parameters():
        parameter.requires_grad_(not name.startswith(UNUSED))
    groups = [
        {"params": list(model.body.parameters()), "lr": rate},
        {"params": list(model.head.parameters()), "lr": SETTINGS["head_rate"]},
    ]
    kind = "images" if isinstance(train.inputs, np.ndarray) else "texts"
    config = TrainingConfig(
        epochs=SETTINGS[kind]["epochs"], batch_size=SETTINGS["batch_size"], learning_rate=rate, seed=seed
    )
    rows = opened.read(train)
    lengths = None if kind == "images" else [len(ids) for ids, _ in rows]

    def loss(m: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(m(batch), batch["labels"])

    fit(
        model,
        rows,
        loss,
        config,
        collate=opened.collate,
        lengths=lengths,
        parameter_groups=groups,
        progress=False,
    )
    return model


UNUSED = ("network.head", "network.classifier", "head")  # of the source's own task


def logits_of(model: Classifier, opened: Opened, items: Items) -> np.ndarray:
    return features_of(Opened(model, None, model, opened.read, opened.collate), items).numpy()


def scored(logits: np.ndarray, items: Items, target: str) -> dict:
    """score: percent right; of solar cells, which are mostly sound, 100 times the area under the ROC curve.

    Beside it what an interval needs: right or wrong of each item; of solar cells how defective each looks.
    """
    if target == "solar":
        looks = (logits[:, 1] - logits[:, 0]).astype(float)
        score = round(100 * float(roc_auc_score(items.labels, looks)), 3)
        return {"score": score, "scores": [float(f"{x:.4g}") for x in looks]}
    right = logits.argmax(1) == items.labels
    return {
        "score": round(100 * float(right.mean()), 3),
        "right": "".join("01"[r] for r in right.astype(int)),
    }


def n_classes_of(parts: Parts) -> int:
    return 1 + int(max(part.labels.max() for part in (parts.train, parts.validation, parts.test)))


def tune(source: str, target: str, rate: float) -> dict:
    """Validation score of one rate on the exploratory split."""
    seed = SETTINGS["exploratory_seed"]
    parts, opened = target_parts(target, seed), open_source(source, modality(target))
    model = fine_tuned(opened, parts.train, n_classes_of(parts), rate=rate, seed=seed)
    score = scored(logits_of(model, opened, parts.validation), parts.validation, target)["score"]
    return {"task": "tune", "source": source, "target": target, "rate": rate, "seed": seed, "score": score}


def finetune(source: str, target: str, rate: float, seed: int) -> dict:
    """Test score on a fresh split."""
    parts, opened = target_parts(target, seed), open_source(source, modality(target))
    model = fine_tuned(opened, parts.train, n_classes_of(parts), rate=rate, seed=seed)
    key = {"task": "finetune", "source": source, "target": target, "rate": rate, "seed": seed}
    return key | scored(logits_of(model, opened, parts.test), parts.test, target)


def baseline(target: str, seed: int) -> dict:
    """Without a source: logistic regression on pixels or TF-IDF, its strength by cross-validation of the same labels.

    And what all runs of this split share: labels and groups of the test items.
    """
    parts = target_parts(target, seed)
    if modality(target) == "images":
        read, first = (lambda items: items.inputs.reshape(len(items), -1) / 255), StandardScaler()
    else:
        read, first = (lambda items: items.inputs), TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    grid = {"logisticregression__C": SETTINGS["strengths"]}
    scoring = "roc_auc" if target == "solar" else "accuracy"
    model = make_pipeline(first, LogisticRegression(max_iter=2000))
    search = GridSearchCV(model, grid, scoring=scoring, cv=4).fit(read(parts.train), parts.train.labels)
    logits = search.decision_function(read(parts.test))
    logits = np.stack([np.zeros_like(logits), logits], axis=1) if logits.ndim == 1 else logits
    key = {"task": "baseline", "target": target, "seed": seed, "strength": search.best_params_.popitem()[1]}
    shared = {"labels": parts.test.labels.tolist(), "groups": parts.test.groups.tolist()}
    return key | scored(logits, parts.test, target) | shared


def direct(source: str, target: str, seed: int) -> dict:
    """Test score of the source's own classifier as it is, where its labels are the target's."""
    parts, opened = target_parts(target, seed), open_source(source, modality(target))
    with torch.inference_mode():
        logits = opened.head(features_of(opened, parts.test)).numpy()
    key = {"task": "direct", "source": source, "target": target, "seed": seed}
    return key | scored(logits, parts.test, target)


# ---------------------------------------------------------------- measures


def measure(target: str, seed: int, rate: float) -> dict:
    """Every measure of every source, on the labels that fine-tuning sees. rate: for the model trained on the target.

    That model, for CKA and parameter distance, is the small networks' random start, fine-tuned.
    """
    kind, parts = modality(target), target_parts(target, seed)
    start = open_source("random start", kind)
    fine_tuned(start, parts.train, n_classes_of(parts), rate=rate, seed=seed)
    known = Target(
        labels=parts.train.labels,
        features=features_of(start, parts.train),
        embedded=reference(kind, parts.train),
        parameters=start.weights,
    )
    ranking = rank_sources([described(name, kind, parts.train) for name in sources_of(target)], known)
    return {
        "task": "measure",
        "target": target,
        "seed": seed,
        "scores": {m: rounded(table) for m, table in ranking.scores.items()},
        "lacking": {m: dict(table) for m, table in ranking.lacking.items()},
        "seconds_by_measure": {m: round(ranking.cost(m), 4) for m in ranking.measures},
    }


def rounded(table: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in table.items()}


def described(name: str, kind: str, train: Items) -> Source:
    opened = open_source(name, kind)
    features = features_of(opened, train)
    probabilities = None
    if opened.head is not None:
        with torch.inference_mode():
            probabilities = opened.head(features).double().softmax(1)
    return Source(
        name=name,
        features=features,
        probabilities=probabilities,
        embedded=own_data(name, kind),
        parameters=opened.weights,
        n_parameters=sum(p.numel() for n, p in opened.body.named_parameters() if not n.startswith(UNUSED)),
    )


@lru_cache(maxsize=32)
def own_data(name: str, kind: str) -> Tensor | None:
    """A sample of what a source was trained on, in the reference model; None where there is none here."""
    data = image_data(name) if kind == "images" else text_data(name)
    return None if data is None else reference(kind, drawn(data, SETTINGS["samples"], ZOO.SETTINGS["seed"]))


def image_data(name: str) -> Items | None:
    if name not in IMAGES:
        return None
    data = ZOO.image_source(name.removeprefix("zoo-"), "train")
    return single(data.images, data.labels)


def text_data(name: str) -> Items | None:
    corpora = {"gpt2-mini-bible": ["bible"], "gpt2-mini-wordnet": ["wordnet"]}
    corpora |= {name: ["bible", "wordnet"] for name in ("bert-mini", "albert-mini")}
    if name in [*CLASSES, *MASKED]:
        texts = ZOO.text_source(name.removeprefix("zoo-"), "train")[0]
    elif name in corpora:
        each = [single(found, np.zeros(len(found), int)) for found in map(passages, corpora[name])]
        n = SETTINGS["samples"] // len(each)
        texts = [text for items in each for text in drawn(items, n, ZOO.SETTINGS["seed"]).inputs]
    else:
        return None
    return single(texts, np.zeros(len(texts), dtype=int))


@lru_cache(maxsize=2)
def passages(corpus: str) -> list[str]:
    return ZOO.passages(corpus, "train")[0]


def reference(kind: str, items: Items) -> Tensor:
    """Samples in the feature space that sources and target share: EfficientNet-Lite0's or MiniLM's."""
    return features_of(reference_model(kind), items)


@lru_cache(maxsize=2)
def reference_model(kind: str) -> Opened:
    return open_source("lite0" if kind == "images" else "minilm", kind)


def cost(source: str, target: str, rate: float) -> dict:
    """Processor seconds of one fine-tuning run, of the features that LogME needs, and of LogME, in one process."""
    parts, opened = target_parts(target, 0), open_source(source, modality(target))
    found: dict[str, list[float]] = {"features": [], "logme": [], "fine-tuning": []}
    features_of(opened, parts.train.take(np.arange(16)))  # the first call of a network is slower
    for _ in range(SETTINGS["rounds"]):
        start = time.process_time()
        features = features_of(opened, parts.train)
        middle = time.process_time()
        logme(features, parts.train.labels)
        found["features"].append(round(middle - start, 4))
        found["logme"].append(round(time.process_time() - middle, 4))
    for seed in range(2):
        opened = open_source(source, modality(target))
        start = time.process_time()
        fine_tuned(opened, parts.train, n_classes_of(parts), rate=rate, seed=seed)
        found["fine-tuning"].append(round(time.process_time() - start, 3))
    key = {"task": "cost", "source": source, "target": target}
    return key | {"cpu": found, "features": features.shape[1]}


# ---------------------------------------------------------------- plan


def grid(source: str, kind: str) -> list[float]:
    rates = SETTINGS[kind]["rates"]
    large = "own" if source in OWN else source.partition(" ")[0]
    return rates[large if large in rates else "others"]


def plan_tuning() -> dict:
    return {
        f"tune {target} {source} {rate:g}": (tune, {"source": source, "target": target, "rate": rate})
        for kind in ("images", "texts")
        for target in SETTINGS[kind]["tuned_on"]
        for source in sources_of(target)
        for rate in grid(source, kind)
    }


def plan(rates: dict[str, dict[str, float]]) -> dict:
    """rates: of each source, by kind of target."""
    jobs = {}
    for kind in ("images", "texts"):
        for target in SETTINGS[kind]["targets"]:
            for seed in SETTINGS["seeds"]:
                which = {"target": target, "seed": seed}
                jobs[f"baseline {target} {seed}"] = (baseline, which)
                for source in SETTINGS[kind]["same_labels"].get(target, []):
                    jobs[f"direct {target} {source} {seed}"] = (direct, which | {"source": source})
                jobs[f"measure {target} {seed}"] = (measure, which | {"rate": rates[kind]["random start"]})
                for source in sources_of(target):
                    arguments = which | {"source": source, "rate": rates[kind][source]}
                    jobs[f"finetune {target} {source} {seed}"] = (finetune, arguments)
        for source in SETTINGS[kind]["cost"]:
            target = SETTINGS[kind]["targets"][-1]
            arguments = {"source": source, "target": target, "rate": rates[kind][source]}
            jobs[f"cost {source}"] = (cost, arguments)
    return jobs


def best_rates(tuning: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Of each source the rate with the best mean score over targets, by kind of target; of equals, the smaller."""
    rates = {}
    for kind in ("images", "texts"):
        scores = {}
        for run in tuning.values():
            if modality(run["target"]) == kind:
                scores.setdefault(run["source"], {}).setdefault(run["rate"], []).append(run["score"])
        rates[kind] = {
            source: max(sorted(found), key=lambda rate, found=found: np.mean(found[rate]))
            for source, found in scores.items()
        }
    return rates


def at_edge(rates: dict[str, dict[str, float]]) -> list[str]:
    """Sources whose best rate is the first or last of its grid: a better one may lie outside."""
    return [
        f"{source}, {kind}"
        for kind, best in rates.items()
        for source, rate in best.items()
        if rate in (grid(source, kind)[0], grid(source, kind)[-1])
    ]


def main(say: Callable[[str], None] = print) -> None:
    tuning = STUDY.run(plan_tuning())
    rates = best_rates(tuning)
    say(f"chosen rates: {rates}")
    STUDY.write(tuning | STUDY.run(plan(rates)), rates=rates, at_edge=at_edge(rates))


if __name__ == "__main__":
    main()
