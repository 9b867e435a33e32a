"""Which layer, which pooling, and are clusters worth it? Features of frozen text encoders.

make experiment NAME=transfer/extraction

Two encoders, MiniLM and the course's `bert-mini`; two targets, the sentiment of editorials and the class of WordNet's
definitions, of words that `bert-mini` did not meet. Three studies: a linear probe on every layer, pooled in three
ways, beside `bert-mini`'s shape with a random start, TF-IDF, VADER and the largest class; attention pooling, which
starts as the mean under the probe's weights, against the same head trained on without it, and what its weights are
good for; clusters as an embedding layer, hard and soft, as they are and trained, against the plain probe on few
labels. Penalties, rates and numbers of clusters are chosen on a split of an exploratory seed, by its validation part;
clusters have more to choose from than the plain probe, so that what they lose is not for want of tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.pipeline import FeatureUnion, Pipeline
from torch import Tensor, nn

from tlcourse import datasets, results, weights
from tlcourse.models.bert import Bert
from tlcourse.tokenizers import WordPiece
from tlcourse.training import TrainingConfig, fit
from tlcourse.transfer import extraction
from tlcourse.transfer.extraction import AttentionPooling, ClusterEmbedding, LinearProbe

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4],
    "small_seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "bert-mini": weights.read_card("bert-mini").sha256,
    "sources": ["minilm", "bert-mini"],
    "untrained": "bert-mini, random start",  # under the layers' probes alone
    "tasks": ["editorials", "definitions"],
    "clear": 0.5,  # |valence| of the editorials that are kept
    "classes": 8,  # of definitions, the most frequent
    "definitions": 2400,
    "shares": {"test": 0.25, "validation": 0.15},
    "max_length": 48,
    "poolings": ["mean", "[CLS]", "max"],
    "labels": 500,
    "penalties": [30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001],
    "tfidf": {"letters": [None, [2, 5]], "C": [0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]},
    "attention": {"heads": 4, "epochs": 12, "batch_size": 32, "rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]},
    "looks": {"texts": 6, "words": 12, "at_least": 8},  # whose weights are kept; a word's occurrences
    "clusters": {
        "source": "minilm",
        "labels": [20, 50, 100, 400],
        "unlabelled": 1000,  # texts of the training part that the clusters are found in
        "numbers": [4, 16, 64, 256],
        "widths": [None, 1024],
        "epochs": 40,
        "batch_size": 16,
        "rates": [3e-4, 1e-3, 3e-3, 1e-2],
    },
}
NOTHING = 1e-6  # what is smaller counts as 0
STUDY = results.Study(
    "transfer/extraction",
    SETTINGS,
    assets=["minilm", "sentiment", "wordnet"],
    plan=("main", "plan", "plan_features", "plan_tuning", "plan_rates", "chosen_rates", "probed"),
)


# ---------------------------------------------------------------- data


class Pool(NamedTuple):
    """Texts of a task, (N,) labels and what must not straddle a split, as numbers; the classes' names."""

    texts: list[str]
    labels: np.ndarray
    groups: np.ndarray
    classes: list[str]


@lru_cache(maxsize=2)
def pool(task: str) -> Pool:
    if task == "editorials":
        kept = [s for s in datasets.sentiment(task) if abs(s.valence) >= SETTINGS["clear"]]
        groups = np.array([int(s.group) for s in kept])
        return Pool(datasets.texts(kept), datasets.labels(kept), groups, ["negative", "positive"])
    known = {document.group for document in datasets.corpus("wordnet", "train")}
    parts = datasets.gloss_topics(0)
    glosses = [g for g in (*parts.validation, *parts.test) if g.group not in known]
    names, counts = np.unique([g.lexname for g in glosses], return_counts=True)
    classes = sorted(names[np.argsort(-counts, kind="stable")[: SETTINGS["classes"]]])
    glosses = [g for g in glosses if g.lexname in classes]
    order = np.random.default_rng(0).permutation(len(glosses))[: SETTINGS["definitions"]]
    drawn = [glosses[i] for i in order]
    groups = np.unique([g.group for g in drawn], return_inverse=True)[1]
    labels = np.array([classes.index(g.lexname) for g in drawn])
    return Pool([g.text for g in drawn], labels, groups, [str(name) for name in classes])


def split(task: str, seed: int) -> dict[str, np.ndarray]:
    """Whole groups into test, validation and train; positions in the pool, in random order."""
    groups, rng = pool(task).groups, np.random.default_rng((seed, 0))
    names = rng.permutation(np.unique(groups))
    ends = [round(len(names) * share) for share in np.cumsum(list(SETTINGS["shares"].values()))]
    parts = dict(zip([*SETTINGS["shares"], "train"], np.split(names, ends), strict=True))
    return {part: rng.permutation(np.flatnonzero(np.isin(groups, of))) for part, of in parts.items()}


def parts_of(task: str, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n positions to learn from and those to score on: of the exploratory seed, the validation part."""
    found = split(task, seed)
    if seed == SETTINGS["exploratory_seed"]:
        return found["train"][:n], found["validation"]
    return np.concatenate([found["train"], found["validation"]])[:n], found["test"]


# ---------------------------------------------------------------- features


def max_tokens(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """(B, T, D) → (B, D), the largest value over the positions that are shown."""
    return output.masked_fill(batch["attention_mask"].unsqueeze(2) == 0, -torch.inf).amax(1)


def three_ways(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """(B, T, D) → (B, 3, D), in the order of SETTINGS["poolings"]."""
    ways = (extraction.mean_tokens, extraction.first_token, max_tokens)
    return torch.stack([way(output, batch) for way in ways], 1)


def all_tokens(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """(B, T, D) → (B, 48, D) in half precision, filled up with zeros."""
    return F.pad(output, (0, 0, 0, SETTINGS["max_length"] - output.shape[1])).half()


def encoder(source: str) -> Bert:
    """A checkpoint, or its shape with a random start."""
    name, _, start = source.partition(", ")
    model = Bert.from_pretrained(name)
    return Bert(model.config, seed=0) if start else model


@lru_cache(maxsize=2)
def words_of(source: str) -> WordPiece:
    return WordPiece.load(weights.locate(source.partition(", ")[0]))


@lru_cache(maxsize=4)
def encoded(source: str, task: str) -> list[list[int]]:
    """Word pieces of each text with [CLS] and [SEP]."""
    vocabulary = words_of(source)
    room = SETTINGS["max_length"] - 2
    first, last = vocabulary.cls_token_id, vocabulary.sep_token_id
    return [[first, *vocabulary.encode(text)[:room], last] for text in pool(task).texts]


@lru_cache(maxsize=2)
def features(source: str, task: str) -> dict[str, Tensor]:
    """Of a whole pool, on disk after the first time: a layer's name → (N, 3, D), "" → the last tokens (N, 48, D)."""
    model = encoder(source)
    names = {f"layers.{i}": extraction.part(0, three_ways) for i in range(model.config.n_layers)}
    ids = encoded(source, task)
    order = np.argsort([len(row) for row in ids], kind="stable")
    batches = [padded([ids[i] for i in order[start : start + 64]]) for start in range(0, len(ids), 64)]
    wanted = {"embeddings": three_ways, **names, "": all_tokens}
    found = extraction.extract(model, batches, wanted, cache=results.WORK / "features")
    places = torch.from_numpy(np.argsort(order))
    # MiniLM's last norm switches three dimensions off: what is left of them, 1e-7, standardising would blow up.
    return {name: F.hardshrink(rows[places], NOTHING) for name, rows in found.items()}


def padded(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)  # [PAD] is 0
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


def layer_names(source: str, task: str) -> list[str]:
    return [name for name in features(source, task) if name]


def extracted(source: str, task: str) -> dict:
    """For the other jobs; how many texts of how many groups, the share of the largest class, a text of each class.

    Only definitions are free to show.
    """
    kept = pool(task)
    firsts = np.unique(kept.labels, return_index=True)[1] if task == "definitions" else []
    examples = [[kept.classes[kept.labels[i]], kept.texts[i]] for i in firsts]
    n, width = len(kept.texts), features(source, task)[""].shape[2]
    facts = {"texts": n, "groups": len(set(kept.groups.tolist())), "width": width, "examples": examples}
    majority = float(np.bincount(kept.labels).max() / n)
    return {"task": "features", "source": source, "target": task, **facts, "majority": round(majority, 4)}


def scored(guesses: np.ndarray, task: str, where: np.ndarray) -> dict:
    """Accuracy, macro-F1, which are right, and their groups, one digit a text."""
    hits = guesses == pool(task).labels[where]
    groups = pool(task).groups[where].tolist()
    return {
        "accuracy": round(float(hits.mean()), 5),
        "f1": round(float(f1_score(pool(task).labels[where], guesses, average="macro")), 5),
        "right": "".join("1" if hit else "0" for hit in hits),
        "groups": groups,
    }


# ---------------------------------------------------------------- which layer, which pooling


def probes(source: str, task: str, seed: int, function: Callable) -> dict:
    """{layer: {pooling: function(learned features, their labels, features to score, layer, pooling)}}."""
    here, there = parts_of(task, seed, SETTINGS["labels"])
    y, found = pool(task).labels[here], {}
    for layer in layer_names(source, task):
        x = features(source, task)[layer]
        found[layer] = {
            pooling: function(x[here, i], y, x[there, i], layer, pooling)
            for i, pooling in enumerate(SETTINGS["poolings"])
        }
    return found


def tune_layers(source: str, task: str) -> dict:
    """The penalty of each layer's probe that has the lowest cross-entropy on the validation part."""
    seed = SETTINGS["exploratory_seed"]
    held_out = pool(task).labels[parts_of(task, seed, SETTINGS["labels"])[1]]

    def chosen(x, y, x_held_out, layer, pooling):
        found = LinearProbe.choose(x, y, validation=(x_held_out, held_out), penalties=SETTINGS["penalties"])
        return {
            "penalty": found.penalty,
            "at_edge": found.at_edge,
            "accuracy": round(found.accuracy(x_held_out, held_out), 5),
        }

    return {
        "task": "tune layers",
        "source": source,
        "target": task,
        "chosen": probes(source, task, seed, chosen),
    }


def layers(source: str, task: str, seed: int, penalties: dict[str, dict[str, float]]) -> dict:
    """A probe on every layer, pooled in three ways, on the test groups."""
    where = parts_of(task, seed, SETTINGS["labels"])[1]

    def score(x, y, x_test, layer, pooling):
        found = LinearProbe.fit(x, y, penalty=penalties[layer][pooling])
        return scored(found.predict(x_test), task, where)

    found = probes(source, task, seed, score)
    key = {"task": "layers", "source": source, "target": task, "seed": seed}
    names = list(found)
    return {
        "runs": [
            {**key, "layer": names.index(layer), "pooling": pooling, **run}
            for layer, ways in found.items()
            for pooling, run in ways.items()
        ]
    }


# ---------------------------------------------------------------- without an encoder


def tfidf(letters: Sequence[int] | None, C: float) -> Pipeline:
    """Logistic regression on TF-IDF of words and pairs of words, and of letters within words."""
    parts = [("words", TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)))]
    if letters is not None:
        kind = {"analyzer": "char_wb", "ngram_range": tuple(letters)}
        parts.append(("letters", TfidfVectorizer(sublinear_tf=True, **kind)))
    return Pipeline([("features", FeatureUnion(parts)), ("model", LogisticRegression(C=C, max_iter=2000))])


def tune_tfidf(task: str) -> dict:
    """What is counted and how strongly it is held down: the lowest cross-entropy on the validation part."""
    here, there = parts_of(task, SETTINGS["exploratory_seed"], SETTINGS["labels"])
    kept, options, losses = pool(task), SETTINGS["tfidf"], {}
    for i, letters in enumerate(options["letters"]):
        for C in options["C"]:
            model = tfidf(letters, C).fit([kept.texts[n] for n in here], kept.labels[here])
            guesses = model.predict_proba([kept.texts[n] for n in there])
            losses[i, C] = log_loss(kept.labels[there], guesses, labels=model.classes_)
    i, C = min(losses, key=losses.get)
    at_edge = C in (options["C"][0], options["C"][-1])
    return {
        "task": "tune tfidf",
        "target": task,
        "letters": options["letters"][i],
        "C": C,
        "at_edge": at_edge,
    }


def baselines(task: str, seed: int, letters: Sequence[int] | None, C: float) -> dict:
    """TF-IDF, the largest class, and for sentiment VADER, which reads no label."""
    here, there = parts_of(task, seed, SETTINGS["labels"])
    kept = pool(task)
    texts = [kept.texts[n] for n in there]
    model = tfidf(letters, C).fit([kept.texts[n] for n in here], kept.labels[here])
    majority = np.full(len(there), np.bincount(kept.labels[here]).argmax())
    guesses = {"TF-IDF": model.predict(texts), "largest class": majority}
    if task == "editorials":
        compound = datasets.vader(texts)
        coin = np.random.default_rng(seed).choice([-1, 1], len(there))
        guesses["VADER"] = (np.where(compound == 0, coin, compound) > 0).astype(int)  # 0: a guess
    key = {"task": "baseline", "target": task, "seed": seed}
    return {"runs": [key | {"arm": arm} | scored(guess, task, there) for arm, guess in guesses.items()]}


# ---------------------------------------------------------------- attention pooling


class AttentiveClassifier(nn.Module):
    """Attention pooling, then a linear layer: tokens (B, T, D), mask (B, T) → logits (B, C)."""

    def __init__(self, d_model: int, head: nn.Linear, *, seed: int) -> None:
        super().__init__()
        self.pooling = AttentionPooling(d_model, SETTINGS["attention"]["heads"], seed=seed)
        self.head = head

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.pooling(tokens, mask).features)


class Attended(NamedTuple):
    """A trained classifier, the batches to score it on, and the positions of their texts."""

    model: AttentiveClassifier
    batches: list[dict[str, Tensor]]
    where: np.ndarray


def attentive(source: str, task: str, seed: int, penalty: float, rate: float, *, frozen: bool) -> Attended:
    """Starts as the mean under the probe; with frozen, the head alone is trained."""
    here, there = parts_of(task, seed, SETTINGS["labels"])
    known, ids, y = features(source, task), encoded(source, task), pool(task).labels
    last = layer_names(source, task)[-1]
    probe = LinearProbe.fit(known[last][here, 0], y[here], penalty=penalty)
    model = AttentiveClassifier(known[""].shape[2], probe.linear(), seed=seed)
    model.pooling.requires_grad_(not frozen)
    settings = SETTINGS["attention"]
    config = TrainingConfig(
        epochs=settings["epochs"], batch_size=settings["batch_size"], learning_rate=rate, seed=seed
    )

    def collate(positions: Sequence[int]) -> dict[str, Tensor]:
        lengths = torch.tensor([len(ids[i]) for i in positions])
        width = int(lengths.max())
        tokens = known[""][list(positions), :width].float()
        mask = (torch.arange(width) < lengths[:, None]).long()
        return {"tokens": tokens, "mask": mask, "labels": torch.from_numpy(y[list(positions)])}

    def loss(model, batch):
        return F.cross_entropy(model(batch["tokens"], batch["mask"]), batch["labels"])

    fit(
        model,
        here.tolist(),
        loss,
        config,
        collate=collate,
        lengths=[len(ids[i]) for i in here],
        progress=False,
    )
    model.eval()
    return Attended(
        model, [collate(there[start : start + 64].tolist()) for start in range(0, len(there), 64)], there
    )


def tune_attention(source: str, task: str, penalty: float, rate: float, frozen: bool) -> dict:
    """Cross-entropy of one rate on the exploratory split's validation part."""
    seed = SETTINGS["exploratory_seed"]
    model, batches, where = attentive(source, task, seed, penalty, rate, frozen=frozen)
    with torch.inference_mode():
        logits = torch.cat([model(batch["tokens"], batch["mask"]) for batch in batches])
    loss = F.cross_entropy(logits, torch.from_numpy(pool(task).labels[where]))
    key = {"task": "tune attention", "source": source, "target": task, "rate": rate, "frozen": frozen}
    return key | {"loss": round(float(loss), 5)}


def pooled_by(weights: Tensor, tokens: Tensor) -> Tensor:
    """Weights (B, A, T) and tokens (B, T, D) → (B, D), each head on its own slice, as `AttentionPooling` does."""
    slices = tokens.unflatten(2, (weights.shape[1], -1))  # (B, T, A, K)
    return torch.einsum("bat,btak->bak", weights, slices).flatten(1)


def dealt_anew(weights: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """(B, A, T) the same weights of each head, on other positions of the text, at random."""
    order = torch.rand(weights.shape, generator=generator).masked_fill(mask[:, None] == 0, 2).argsort(2)
    return weights.gather(2, order)


def attention(source: str, task: str, seed: int, penalty: float, rate: float, frozen: bool) -> dict:
    """On the test groups; of attention also with its weights made even or dealt anew, and where it looks."""
    model, batches, where = attentive(source, task, seed, penalty, rate, frozen=frozen)
    key = {"task": "attention", "source": source, "target": task, "seed": seed}
    generator, guesses, weights = torch.Generator().manual_seed(seed), {}, []
    with torch.inference_mode():
        for batch in batches:
            tokens, mask = batch["tokens"], batch["mask"]
            own = model.pooling(tokens, mask).weights
            even = (mask / mask.sum(1, keepdim=True))[:, None].expand_as(own)
            ways = {"attention": own, "even weights": even, "dealt anew": dealt_anew(own, mask, generator)}
            for arm, of_arm in {"head alone": own}.items() if frozen else ways.items():
                logits = model.head(pooled_by(of_arm, tokens))
                guesses.setdefault(arm, []).append(logits.argmax(1))
            weights += [rows[:, :n] for rows, n in zip(own, mask.sum(1).tolist(), strict=True)]
    runs = [
        key | {"arm": arm} | scored(torch.cat(found).numpy(), task, where) for arm, found in guesses.items()
    ]
    if not frozen:
        runs.append(key | {"task": "looks"} | looks(source, task, where, weights))
    return {"runs": runs}


def looks(source: str, task: str, where: np.ndarray, weights: Sequence[Tensor]) -> dict:
    """Where attention looks; weights: of each text (A, T). A weight of 1 is what the mean would give.

    share: entropy of the weights as a share of that of the mean. kinds: mean weight of special tokens, of
    punctuation and of words. most, least: word pieces with the largest and smallest mean weight. texts: of
    definitions, which are free to show, some with a weight for each piece.
    """
    settings, names, ids = SETTINGS["looks"], words_of(source).tokens, encoded(source, task)
    shares, kinds, pieces, texts = [], {}, {}, []
    for place, rows in zip(where, weights, strict=True):
        n = rows.shape[1]
        shares.append(float(torch.special.entr(rows).sum(1).mean()) / np.log(n))
        found = [(names[i], n * w) for i, w in zip(ids[place], rows.mean(0).tolist(), strict=True)]
        for name, weight in found:
            kinds.setdefault(kind_of(name), []).append(weight)
            pieces.setdefault(name, []).append(weight)
        texts.append([[name, round(weight, 3)] for name, weight in found])
    means = {name: float(np.mean(w)) for name, w in pieces.items() if len(w) >= settings["at_least"]}
    ranked = [[name, round(means[name], 3), len(pieces[name])] for name in sorted(means, key=means.get)]
    return {
        "share": round(float(np.mean(shares)), 4),
        "kinds": {kind: [round(float(np.mean(w)), 4), len(w)] for kind, w in kinds.items()},
        "least": ranked[: settings["words"]],
        "most": ranked[::-1][: settings["words"]],
        "texts": texts[: settings["texts"]] if task == "definitions" else [],
    }


def kind_of(piece: str) -> str:
    if piece in ("[CLS]", "[SEP]"):
        return piece
    return "words" if any(letter.isalnum() for letter in piece) else "punctuation"


# ---------------------------------------------------------------- clusters as an embedding layer


def unlabelled(task: str, seed: int) -> Tensor:
    """(N, D) features of texts of the training part, whose labels are not looked at."""
    x = features(SETTINGS["clusters"]["source"], task)
    here, _ = parts_of(task, seed, SETTINGS["clusters"]["unlabelled"])
    return x[layer_names(SETTINGS["clusters"]["source"], task)[-1]][here, 0]


def both_kinds(task: str, seed: int, number: int, width: int | None) -> dict[str, ClusterEmbedding]:
    """The same clusters, hard and soft."""
    soft = ClusterEmbedding.fit(unlabelled(task, seed), number, soft=True, width=width, seed=seed)
    return {"hard": ClusterEmbedding(soft.centres, lift=soft.lift), "soft": soft}


@torch.no_grad()
def views(task: str, seed: int, n: int, layer: ClusterEmbedding | None):
    """Features to learn from with labels, and features to score with their positions, through the layer if any."""
    source = SETTINGS["clusters"]["source"]
    x = features(source, task)[layer_names(source, task)[-1]][:, 0]
    here, there = parts_of(task, seed, n)
    pair = [x[here], x[there]] if layer is None else [layer(x[here]), layer(x[there])]
    return pair[0], pool(task).labels[here], pair[1], there


def accuracy_of(found: LinearProbe, x: Tensor, y: np.ndarray) -> float:
    """With few labels a class may be unknown to the probe, and counts as wrong."""
    return float((found.predict(x) == y).mean())


def trained(task: str, seed: int, n: int, layer: ClusterEmbedding, probe: LinearProbe, rate: float):
    """Embedding and head trained on from the clusters and the probe; guesses on what is scored.

    Both in the probe's units, where a number's standard deviation is 1: rows of an assignment sum to one, so that
    standardising the embeddings standardises what comes out, and one rate suits all.
    """
    source = SETTINGS["clusters"]["source"]
    x = features(source, task)[layer_names(source, task)[-1]][:, 0]
    here, there = parts_of(task, seed, n)
    y = np.searchsorted(probe.classes, pool(task).labels[here])
    own = ClusterEmbedding(layer.centres, temperature=layer.temperature, lift=layer.lift)
    head = nn.Linear(*probe.weight.shape[::-1])
    with torch.no_grad():
        rows = (own.embedding.weight.double() - torch.from_numpy(probe.mean)) / torch.from_numpy(probe.scale)
        own.embedding.weight.copy_(rows)
        head.weight.copy_(torch.from_numpy(probe.weight))
        head.bias.copy_(torch.from_numpy(probe.bias))
    model = nn.Sequential(own, head)
    settings = SETTINGS["clusters"]
    config = TrainingConfig(
        epochs=settings["epochs"], batch_size=settings["batch_size"], learning_rate=rate, seed=seed
    )
    items = [(row, int(label)) for row, label in zip(x[here], y, strict=True)]

    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    fit(model, items, loss, config, progress=False)
    model.eval()
    with torch.inference_mode():
        return probe.classes[model(x[there]).argmax(1).numpy()]


def tune_clusters(task: str) -> dict:
    """For each kind and number of labels: clusters, width, penalty and rate by accuracy on the validation part."""
    seed, settings = SETTINGS["exploratory_seed"], SETTINGS["clusters"]
    kinds: dict[str, dict] = {kind: {} for kind in ("hard", "soft")}
    for number in settings["numbers"]:
        for width in settings["widths"]:
            for kind, layer in both_kinds(task, seed, number, width).items():
                kinds[kind][number, width] = layer
    arms = {"probe": {(None, None): None}, **kinds}
    chosen: dict[str, dict] = {}
    for arm, candidates in arms.items():
        for n in settings["labels"]:
            tried = []
            for (number, width), layer in candidates.items():
                x, y, x_held_out, where = views(task, seed, n, layer)
                for penalty in SETTINGS["penalties"]:
                    found = LinearProbe.fit(x, y, penalty=penalty)
                    right = accuracy_of(found, x_held_out, pool(task).labels[where])
                    tried.append({"number": number, "width": width, "penalty": penalty, "accuracy": right})
            best = max(tried, key=lambda t: t["accuracy"])  # of equals, the strongest penalty
            chosen.setdefault(arm, {})[str(n)] = best
            if arm == "probe":
                continue
            layer = candidates[best["number"], best["width"]]
            x, y, _, where = views(task, seed, n, layer)
            probe = LinearProbe.fit(x, y, penalty=best["penalty"])
            rates = {
                rate: float((trained(task, seed, n, layer, probe, rate) == pool(task).labels[where]).mean())
                for rate in settings["rates"]
            }
            best["rate"] = max(rates, key=rates.get)
    return {"task": "tune clusters", "target": task, "chosen": chosen}


def clusters(task: str, seed: int, chosen: dict[str, dict]) -> dict:
    """Every arm at every number of labels, on the test groups."""
    made: dict[tuple, dict[str, ClusterEmbedding]] = {}
    runs = []
    for arm, of_n in chosen.items():
        for n, best in of_n.items():
            layer = None
            if arm != "probe":
                sizes = best["number"], best["width"]
                if sizes not in made:
                    made[sizes] = both_kinds(task, seed, *sizes)
                layer = made[sizes][arm]
            x, y, x_test, where = views(task, seed, int(n), layer)
            probe = LinearProbe.fit(x, y, penalty=best["penalty"])
            guesses = {arm: probe.predict(x_test)}
            if layer is not None:
                guesses[f"{arm}, trained"] = trained(task, seed, int(n), layer, probe, best["rate"])
            for name, guess in guesses.items():
                key = {"task": "clusters", "arm": name, "target": task, "n": int(n), "seed": seed}
                runs.append(key | scored(guess, task, where))
    return {"runs": runs}


# ---------------------------------------------------------------- which jobs


def probed() -> list[str]:
    return [*SETTINGS["sources"], SETTINGS["untrained"]]


def plan_features() -> dict:
    return {
        f"features {source} {task}": (extracted, {"source": source, "task": task})
        for source in probed()
        for task in SETTINGS["tasks"]
    }


def plan_tuning() -> dict:
    jobs = {
        f"tune layers {source} {task}": (tune_layers, {"source": source, "task": task})
        for source in probed()
        for task in SETTINGS["tasks"]
    }
    for name, function in (("tfidf", tune_tfidf), ("clusters", tune_clusters)):
        jobs |= {f"tune {name} {task}": (function, {"task": task}) for task in SETTINGS["tasks"]}
    return jobs


def last_penalty(tuned: dict) -> float:
    return list(tuned["chosen"].values())[-1]["mean"]["penalty"]


def plan_rates(tuning: dict[str, dict]) -> dict:
    jobs = {}
    for source in SETTINGS["sources"]:
        for task in SETTINGS["tasks"]:
            penalty = last_penalty(tuning[f"tune layers {source} {task}"])
            for frozen in (False, True):
                for rate in SETTINGS["attention"]["rates"]:
                    arguments = {"source": source, "task": task, "penalty": penalty, "rate": rate}
                    name = f"tune attention {source} {task} {rate:g} {frozen}"
                    jobs[name] = (tune_attention, arguments | {"frozen": frozen})
    return jobs


def chosen_rates(records: dict[str, dict]) -> dict[str, float]:
    """By source, target and whether attention is frozen: the rate with the lowest loss."""
    found: dict[str, dict] = {}
    for r in records.values():
        name = f"{r['source']} {r['target']} {r['frozen']}"
        if name not in found or r["loss"] < found[name]["loss"]:
            found[name] = r
    return {name: r["rate"] for name, r in found.items()}


def plan(tuning: dict[str, dict], rates: dict[str, float]) -> dict:
    jobs = {}
    for seed in SETTINGS["seeds"]:
        for task in SETTINGS["tasks"]:
            words = tuning[f"tune tfidf {task}"]
            arguments = {"task": task, "seed": seed, "letters": words["letters"], "C": words["C"]}
            jobs[f"baselines {task} {seed}"] = (baselines, arguments)
        for source in probed():
            for task in SETTINGS["tasks"]:
                tuned = tuning[f"tune layers {source} {task}"]
                penalties = {
                    layer: {pooling: c["penalty"] for pooling, c in ways.items()}
                    for layer, ways in tuned["chosen"].items()
                }
                where = {"source": source, "task": task, "seed": seed}
                jobs[f"layers {source} {task} {seed}"] = (layers, where | {"penalties": penalties})
                for frozen in (False, True) if source in SETTINGS["sources"] else ():
                    options = {"penalty": last_penalty(tuned), "frozen": frozen}
                    options["rate"] = rates[f"{source} {task} {frozen}"]
                    jobs[f"attention {source} {task} {seed} {frozen}"] = (attention, where | options)
    for seed in SETTINGS["small_seeds"]:
        for task in SETTINGS["tasks"]:
            arguments = {"task": task, "seed": seed, "chosen": tuning[f"tune clusters {task}"]["chosen"]}
            jobs[f"clusters {task} {seed}"] = (clusters, arguments)
    return jobs


def main() -> None:
    records = STUDY.run(plan_features())
    tuning = STUDY.run(plan_tuning())
    by_rate = STUDY.run(plan_rates(tuning))
    rates = chosen_rates(by_rate)
    print("chosen rates:", rates)
    STUDY.write(records | tuning | by_rate | STUDY.run(plan(tuning, rates)), rates=rates)


if __name__ == "__main__":
    main()
