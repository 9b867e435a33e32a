"""What a small BERT's attention does while it learns hidden words, and how little that explains.

make experiment NAME=pretrained/attention

The encoder of `bert-mini` with a vocabulary of 1,024 pieces, so that it leaves the unigram plateau within a minute.
Three arms: `words` at the rate and the random start that were chosen; `too fast`, a rate at which it never leaves the
plateau; `shuffled`, texts whose tokens stand in random order, so that no neighbour tells anything. At snapshots:
entropy of each head's weights on held-out pairs, beside loss and accuracy at their hidden words. At the end the
weights are put in random order, which keeps every entropy, or made uniform. And a layer without positions, on words
and on image patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse import datasets, layers, pretraining, results
from tlcourse.models.bert import BertConfig, BertForMaskedLM
from tlcourse.pretraining import IGNORED, Pair
from tlcourse.tokenizers import WordPiece
from tlcourse.training import TrainingConfig, fit

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4],
    "corpora": ["bible", "wordnet"],
    "every": 3,  # of the training documents, one in so many
    "vocab_size": 1024,
    "sizes": {"d_model": 128, "n_layers": 4, "n_heads": 4, "d_inner": 512, "n_positions": 32},
    "length": 32,
    "batch_size": 8,
    "hidden": 0.15,
    "rates": [2.5e-4, 5e-4, 1e-3, 2e-3],
    "init_sds": [0.02, 0.05, 0.1],  # of the random start; 0.02 is BERT's, for a width of 768
    "too_fast": 5e-3,
    "tuning_steps": 700,
    "steps": {"words": 4000, "too fast": 1200, "shuffled": 1600},
    "seeds_of": {"words": 5, "too fast": 3, "shuffled": 3},
    "snapshots": [0, 50, 100, 141, 200, 283, 400, 566, 800, 1200, 1600, 2263, 3200, 4000],
    "probe_pairs": 64,  # of each corpus, held out
    "probe_seed": 0,
    "equivariance": {"layer": {"d_model": 256, "n_heads": 4, "d_inner": 1024}, "patch": 2, "texts": 8},
}
STUDY = results.Study("pretrained/attention", SETTINGS, assets=["king-james-bible", "wordnet", "digits"])


# ---------------------------------------------------------------- text


@lru_cache(maxsize=1)
def vocabulary() -> WordPiece:
    return WordPiece.train([d.text for d in training_documents()], SETTINGS["vocab_size"])


def training_documents() -> list[datasets.Document]:
    every = SETTINGS["every"]
    found = [d for name in SETTINGS["corpora"] for d in datasets.corpus(name, "train")[::every]]
    return [d for d in found if len(d.sentences) > 1]


@lru_cache(maxsize=1)
def training_ids() -> list[list[list[int]]]:
    return [[vocabulary().encode(s) for s in d.sentences] for d in training_documents()]


def training_pairs(n: int, seed: int, *, shuffled: bool) -> list[Pair]:
    """n pairs of segments in the order of the text, or each segment's tokens in random order."""
    found: list[Pair] = []
    generator = pretraining.epoch_generator(seed, 0)
    while len(found) < n:  # each round cuts the text elsewhere
        found += pretraining.sentence_order_pairs(training_ids(), SETTINGS["length"], generator)
    order = torch.randperm(len(found), generator=generator)[:n].tolist()
    pairs = [as_written(found[i]) for i in order]
    return [out_of_order(pair, generator) for pair in pairs] if shuffled else pairs


def as_written(pair: Pair) -> Pair:
    if pair.label == pretraining.BROKEN:
        return Pair(pair.second, pair.first, pretraining.FOLLOWS)
    return pair


def out_of_order(pair: Pair, generator: torch.Generator) -> Pair:
    first, second = (
        [segment[i] for i in torch.randperm(len(segment), generator=generator).tolist()]
        for segment in (pair.first, pair.second)
    )
    return Pair(first, second, pair.label)


@lru_cache(maxsize=2)
def probe(shuffled: bool) -> tuple[pretraining.PairBatch, pretraining.Masked, tuple[int, ...]]:
    """Held-out pairs, one a document, what is hidden in them, and the group of each: a book or a word."""
    generator = pretraining.epoch_generator(SETTINGS["probe_seed"], 1)
    pairs, names = [], []
    for corpus in SETTINGS["corpora"]:
        documents = [d for d in datasets.corpus(corpus, "test") if len(d.sentences) > 1]
        for i in torch.randperm(len(documents), generator=generator)[: SETTINGS["probe_pairs"]].tolist():
            ids = [vocabulary().encode(s) for s in documents[i].sentences]
            drawn = pretraining.sentence_order_pairs([ids], SETTINGS["length"], generator, short_share=0.0)
            pair = as_written(drawn[0])
            pairs.append(out_of_order(pair, generator) if shuffled else pair)
            names.append(f"{corpus} {documents[i].group}")
    batch = collate(pairs)
    hidden = pretraining.mask_words(batch.input_ids, masking(), generator)
    return batch, hidden, tuple(np.unique(names, return_inverse=True)[1].tolist())


def collate(pairs: Sequence[Pair]) -> pretraining.PairBatch:
    v = vocabulary()
    return pretraining.collate_pairs(
        pairs, cls_id=v.cls_token_id, sep_id=v.sep_token_id, pad_id=v.pad_token_id
    )


def masking() -> pretraining.MaskingConfig:
    v = vocabulary()
    special = (v.pad_token_id, v.unk_token_id, v.cls_token_id, v.sep_token_id)
    return pretraining.MaskingConfig(v.mask_token_id, len(v), special, probability=SETTINGS["hidden"])


# ---------------------------------------------------------------- what the weights look like


def entropy(weights: Tensor) -> Tensor:
    """Bits of each row: (..., T) → (...)."""
    return torch.special.entr(weights).sum(-1) / math.log(2)


@torch.inference_mode()
def snapshot(model: BertForMaskedLM, step: int, shuffled: bool) -> dict:
    """Averages over queries that are no padding, one list of heads a layer; loss and accuracy at hidden words.

    entropy: bits; share: of the bits of a uniform row; largest: weight; faint: share of the keys with less than a
    tenth of a uniform weight; near, itself, marks: weight on the neighbours, on the query's own position, and on
    [CLS], [SEP] and [MASK]. share_by_pair: mean over all heads. zeros: weights that are exactly 0, of all.
    """
    batch, hidden, _ = probe(shuffled)
    right, loss = hidden_words(model, shuffled)
    trace = model.bert.trace(hidden.input_ids, batch.attention_mask, batch.token_type_ids)
    real = batch.attention_mask.bool()  # (B, T)
    n = real.sum(1)[:, None, None]  # keys that each query of a pair sees
    T = real.shape[1]
    places = torch.arange(T)
    near = ((places[:, None] - places).abs() == 1).float()  # (T, T)
    v = vocabulary()
    marks = torch.isin(
        hidden.input_ids, torch.tensor([v.cls_token_id, v.sep_token_id, v.mask_token_id])
    ).float()
    found: dict[str, list] = {
        k: [] for k in ("entropy", "share", "largest", "faint", "near", "itself", "marks")
    }
    by_pair, zeros, total, smallest = [], 0, 0, 1.0
    for weights in trace.attentions:  # (B, A, T, T)
        bits = entropy(weights)  # (B, A, T)
        share = bits / n.float().log2()
        seen = (real[:, None, None, :] & real[:, None, :, None]).expand_as(weights)
        faint = ((weights < 0.1 / n[..., None]) & seen).sum(-1) / n
        values = {
            "entropy": bits,
            "share": share,
            "largest": weights.amax(-1),
            "faint": faint,
            "near": (weights * near).sum(-1),
            "itself": weights.diagonal(dim1=-2, dim2=-1),
            "marks": (weights * marks[:, None, None, :]).sum(-1),
        }
        for name, value in values.items():
            found[name].append(rounded(value.transpose(0, 1)[:, real].mean(1)))  # (A,)
        mean = (share * real[:, None, :]).sum(2) / n[:, :, 0]  # (B, A)
        by_pair.append(mean.mean(1))
        zeros += int((weights[seen] == 0).sum())
        total += int(seen.sum())
        smallest = min(smallest, float(weights[seen].min()))
    facts = {"step": step, "loss": loss, "accuracy": float(right.float().mean())}
    facts |= {"zeros": zeros, "weights": total, "smallest": smallest}
    return facts | found | {"share_by_pair": rounded(torch.stack(by_pair).mean(0))}


def rounded(values: Tensor) -> list[float]:
    return [round(float(x), 4) for x in values]


@torch.inference_mode()
def hidden_words(model: BertForMaskedLM, shuffled: bool) -> tuple[Tensor, float]:
    """Which hidden words of the probe are guessed (N,), and the mean loss in nats."""
    model.eval()
    batch, hidden, _ = probe(shuffled)
    at = hidden.labels != IGNORED
    logits = model(hidden.input_ids, batch.attention_mask, batch.token_type_ids, positions=at)
    loss = pretraining.token_loss(logits, hidden.labels[at]).item()
    return logits.argmax(-1) == hidden.labels[at], round(loss, 4)


# ---------------------------------------------------------------- weights replaced


class Replaced(nn.Module):
    """An attention whose weights (B, A, T, T) are changed before they are used; the heads in `heads` alone."""

    def __init__(self, whole: layers.MultiHeadAttention, change: Callable, heads: Sequence[int]):
        super().__init__()
        self.whole, self.change, self.heads = whole, change, list(heads)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, need_weights: bool = False):
        parts = (self.whole.query, self.whole.key, self.whole.value)
        q, k, v = (layers.split_heads(part(x), self.whole.n_heads) for part in parts)
        _, weights = layers.attention(q, k, v, mask)
        visible = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask.expand_as(weights)
        weights[:, self.heads] = self.change(weights, visible)[:, self.heads]
        return self.whole.output(layers.merge_heads(weights @ v)), weights


def uniform(weights: Tensor, visible: Tensor) -> Tensor:
    return visible / visible.sum(-1, keepdim=True)


def permuted(weights: Tensor, visible: Tensor) -> Tensor:
    """Each query's weights dealt out anew among the keys it sees: the same numbers, the same entropy."""
    generator = pretraining.epoch_generator(SETTINGS["probe_seed"], 2)
    chance = torch.rand(weights.shape, generator=generator).masked_fill(~visible, 2.0)
    return weights.gather(-1, chance.argsort(-1))  # padding is last, and stays there


@contextmanager
def replaced(model: BertForMaskedLM, change: Callable, heads: dict[int, Sequence[int]]) -> Iterator[None]:
    """heads: layer → which of its heads."""
    kept = {i: model.bert.layers[i].attention for i in heads}
    try:
        for i, chosen in heads.items():
            model.bert.layers[i].attention = Replaced(kept[i], change, chosen)
        yield
    finally:
        for i, whole in kept.items():
            model.bert.layers[i].attention = whole


def replacements(model: BertForMaskedLM, shuffled: bool) -> dict:
    """Loss and hits with weights uniform or in random order: in all heads, in a layer's, and (uniform) in one."""
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    every = range(n_heads)
    found = {}
    for name, change in (("uniform", uniform), ("permuted", permuted)):
        choices = {f"{name} all": dict.fromkeys(range(n_layers), every)}
        choices |= {f"{name} layer {i}": {i: every} for i in range(n_layers)}
        if name == "uniform":
            choices |= {
                f"{name} head {i} {head}": {i: [head]} for i in range(n_layers) for head in range(n_heads)
            }
        for key, heads in choices.items():
            with replaced(model, change, heads):
                right, loss = hidden_words(model, shuffled)
            found[key] = {"loss": loss, "right": digits(right)}
    right, loss = hidden_words(model, shuffled)
    return found | {"as trained": {"loss": loss, "right": digits(right)}}


def digits(right: Tensor) -> str:
    return "".join("1" if r else "0" for r in right)


# ---------------------------------------------------------------- jobs


class Words:
    """The loss at hidden words; each step hides others. Takes a snapshot where the plan has one."""

    def __init__(self, seed: int, shuffled: bool, snapshots: Sequence[int]) -> None:
        self.seed, self.shuffled, self.wanted, self.step = seed, shuffled, set(snapshots), 0
        self.snapshots: list[dict] = []

    def on_start(self, model: nn.Module) -> None:
        self.look(model)

    def on_step(self, model: nn.Module, step: int) -> None:
        self.step = step
        self.look(model)

    def look(self, model: nn.Module) -> None:
        if self.step in self.wanted:
            self.snapshots.append(snapshot(model, self.step, self.shuffled))
            model.train()

    def __call__(self, model: nn.Module, batch: pretraining.PairBatch) -> Tensor:
        generator = pretraining.epoch_generator(self.seed, 1, self.step)
        hidden = pretraining.mask_words(batch.input_ids, masking(), generator)
        at = hidden.labels != IGNORED
        logits = model(hidden.input_ids, batch.attention_mask, batch.token_type_ids, positions=at)
        return pretraining.token_loss(logits, hidden.labels[at])


def trained(rate: float, sd: float, steps: int, seed: int, *, shuffled: bool, snapshots: Sequence[int]):
    """A network of a seed, the object that has its snapshots, and the history."""
    sizes = SETTINGS["sizes"] | {"vocab_size": len(vocabulary()), "dropout": 0.0, "attention_dropout": 0.0}
    model = BertForMaskedLM(BertConfig(**sizes, init_sd=sd), seed=seed)
    pairs = training_pairs(min(steps * SETTINGS["batch_size"], 40_000), seed, shuffled=shuffled)
    words = Words(seed, shuffled, snapshots)
    config = TrainingConfig(max_steps=steps, batch_size=SETTINGS["batch_size"], learning_rate=rate, seed=seed)
    history = fit(model, pairs, words, config, collate=collate, callbacks=[words], progress=False)
    return model, words, history


def tune(rate: float, sd: float) -> dict:
    """Mean training loss of the last hundred of a short run's steps, none of which saw its text before."""
    seed = SETTINGS["exploratory_seed"]
    _, _, history = trained(rate, sd, SETTINGS["tuning_steps"], seed, shuffled=False, snapshots=())
    loss = round(float(np.mean(history.losses[-100:])), 4)
    return {"task": "tune", "rate": rate, "sd": sd, "seed": seed, "loss": loss}


def watch(arm: str, rate: float, sd: float, seed: int) -> dict:
    """One network, its snapshots, and what becomes of it when its weights are replaced."""
    shuffled = arm == "shuffled"
    steps, snapshots = SETTINGS["steps"][arm], SETTINGS["snapshots"]
    model, words, history = trained(rate, sd, steps, seed, shuffled=shuffled, snapshots=snapshots)
    means = [round(float(np.mean(history.losses[i : i + 50])), 4) for i in range(0, len(history.losses), 50)]
    batch, hidden, groups = probe(shuffled)
    of_pair = torch.tensor(groups)[:, None].expand_as(hidden.labels)
    return {
        "task": "watch",
        "arm": arm,
        "rate": rate,
        "sd": sd,
        "seed": seed,
        "training_losses": means,
        "snapshots": words.snapshots,
        "replaced": replacements(model, shuffled),
        "pair_groups": list(groups),
        "word_groups": of_pair[hidden.labels != IGNORED].tolist(),
        "n_visible": batch.attention_mask.sum(1).tolist(),
    }


@torch.inference_mode()
def equivariance(seed: int) -> dict:
    """How far f(x in another order) is from f(x) in that order, max|a−b| / max|b|, for a layer of random weights.

    On words and on image patches; bare, with positions added, and with a causal mask. In float64.
    """
    settings, generator = SETTINGS["equivariance"], pretraining.epoch_generator(seed, 3)
    config = BertConfig(vocab_size=len(vocabulary()), dropout=0.0, attention_dropout=0.0, **settings["layer"])
    layer = layers.EncoderLayer(config).double().eval()
    layers.start_normal(layer, 0.05, generator)
    table = torch.randn(len(vocabulary()), config.d_model, generator=generator).double()
    embed = layers.PatchEmbedding(settings["patch"], config.d_model, n_channels=1)
    layers.start_normal(embed, 0.3, generator)
    images = torch.from_numpy(datasets.digits().images)[:, None].double() / 16  # (N, 1, 8, 8)
    chosen = torch.randperm(len(images), generator=generator)[: settings["texts"]]
    batch = probe(False)[0]
    texts = batch.input_ids[batch.attention_mask.all(1)][: settings["texts"]]
    found = {}
    for name, x in (("words", table[texts]), ("patches", embed.double()(images[chosen]))):  # (B, T, D)
        T = x.shape[1]
        order = torch.randperm(T, generator=generator)
        places = torch.randn(T, config.d_model, generator=generator).double()
        for kind, added, mask in (
            ("bare", 0.0, None),
            ("with positions", places, None),
            ("causal", 0.0, layers.causal_mask(T)),
        ):
            straight, turned = layer(x + added, mask)[0], layer(x[:, order] + added, mask)[0]
            error = (turned - straight[:, order]).abs().max() / straight.abs().max()
            found[f"{name} {kind}"] = float(error)
    return {"task": "equivariance", "seed": seed, "errors": found}


# ---------------------------------------------------------------- which jobs


def plan_tuning() -> dict:
    return {
        f"tune {rate:g} {sd:g}": (tune, {"rate": rate, "sd": sd})
        for rate in SETTINGS["rates"]
        for sd in SETTINGS["init_sds"]
    }


def plan(rate: float, sd: float) -> dict:
    rates = {"words": rate, "too fast": SETTINGS["too_fast"], "shuffled": rate}
    jobs = {
        f"watch {arm} {seed}": (watch, {"arm": arm, "rate": rates[arm], "sd": sd, "seed": seed})
        for arm in rates
        for seed in SETTINGS["seeds"][: SETTINGS["seeds_of"][arm]]
    }
    return jobs | {f"equivariance {seed}": (equivariance, {"seed": seed}) for seed in SETTINGS["seeds"]}


def main() -> None:
    tuning = STUDY.run(plan_tuning())
    best = min(tuning.values(), key=lambda run: run["loss"])
    print("chosen rate and spread of the random start:", best["rate"], best["sd"])
    jobs = plan(best["rate"], best["sd"])
    STUDY.write(tuning | STUDY.run(jobs), rate=best["rate"], sd=best["sd"])


if __name__ == "__main__":
    main()
