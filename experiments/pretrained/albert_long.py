"""ALBERT's two savings past the plateau: two by two, trained as long as the book's checkpoints.

make experiment NAME=pretrained/albert_long

`experiments/pretrained/albert.py` ends where the loss stands still. Here layers are shared or not and embeddings
factorised or not as there, and everything else is as `albert-mini` was trained: text, batches and their order, hidden
words, sentence order, steps, start, seed. `both` is `albert-mini` itself, its losses from the checkpoint's record. All
are rounded to float16 as it was, and asked for the same hidden words and pairs of test text, those of its card.

Rates are not tuned again: each network has the best of its own grid after the short runs of `albert.py`, `albert-mini`
the one of `checkpoints.py`. One training run stands for each network; groups are test documents, chapters and words.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from tlcourse import pretraining, results, weights
from tlcourse.models.albert import AlbertForPreTraining
from tlcourse.pretraining import IGNORED, Pair

BASE = results.load_script(results.SCRIPTS / "pretrained" / "checkpoints.py")
SHORT = results.load_script(results.SCRIPTS / "pretrained" / "albert.py")
CHECKPOINT = "albert-mini"
OBJECTIVE = BASE.ENCODERS[CHECKPOINT]
RATES = results.load(SHORT.STUDY.name).body["rates"]
SETTINGS = {
    "base": BASE.STUDY.recipe,
    "weights": weights.read_card(CHECKPOINT).sha256,
    "savings": SHORT.SETTINGS["savings"],  # arm → layers that differ, width of the embeddings
    "rates": {arm: RATES[f"{arm}, {OBJECTIVE}"] for arm in ("neither", "shared", "factorised")}
    | {"both": results.load(BASE.STUDY.name).body["rates"][CHECKPOINT]},
    "phases": BASE.SETTINGS["encoder"]["phases"],
    "seed": BASE.SETTINGS["seed"],
    "test_length": 64,
}
STUDY = results.Study(
    "pretrained/albert_long", SETTINGS, assets=["king-james-bible", "wordnet"], plan=("main", "plan")
)


# ---------------------------------------------------------------- test text: the pairs of the checkpoint's card


@lru_cache(maxsize=2)
def test_pairs(corpus: str) -> tuple[list[Pair], list[int]]:
    """The pairs, and the number of the document that each is of."""
    seed, length, n = (
        BASE.SETTINGS["scoring_seed"],
        SETTINGS["test_length"],
        BASE.SETTINGS["encoder"]["test_pairs"],
    )
    generator = pretraining.epoch_generator(seed, 0, length)
    pairs, groups = [], []
    for number, document in enumerate(BASE.sentences(corpus, "test")):
        found = pretraining.sentence_order_pairs([document], length, generator)
        pairs += found
        groups += [number] * len(found)
    if pairs != BASE.draw_pairs(OBJECTIVE, corpus, "test", length, seed):
        raise RuntimeError(f"{corpus}: drawn by document, the test pairs are not those of {BASE.STUDY.name}")
    every = slice(None, None, max(1, len(pairs) // n))
    return pairs[every][:n], groups[every][:n]


def digits(right: torch.Tensor | np.ndarray) -> str:
    return "".join("1" if r else "0" for r in right)


@torch.inference_mode()
def scored(model: AlbertForPreTraining, corpus: str) -> dict:
    """Hidden words: each right or not, their number and nats in each pair; each pair's order told rightly or not."""
    pairs, groups = test_pairs(corpus)
    model.eval()
    right, order, counts, nats = [], [], [], []
    for batch, hidden in BASE.masked_batches(pairs, BASE.SETTINGS["scoring_seed"]):
        at = hidden.labels != IGNORED
        words, kind = model(hidden.input_ids, batch.attention_mask, batch.token_type_ids, positions=at)
        lost = torch.zeros(at.shape, dtype=torch.float64)  # (B, T)
        lost[at] = pretraining.token_nats(words, hidden.labels[at]).double()
        right.append(words.argmax(-1) == hidden.labels[at])
        order.append(kind.argmax(-1) == batch.labels)
        counts.append(at.sum(1))
        nats.append(lost.sum(1))
    hits, told, n, lost = (torch.cat(found) for found in (right, order, counts, nats))
    return {
        "accuracy": hits.double().mean().item(),
        "loss": (lost.sum() / n.sum()).item(),
        "order": told.double().mean().item(),
        "right": digits(hits),
        "groups": np.repeat(groups, n.numpy()).tolist(),
        "pairs": {
            "groups": groups,
            "words": n.tolist(),
            "nats": [round(x, 3) for x in lost.tolist()],
            "right": digits(told),
        },
    }


# ---------------------------------------------------------------- jobs


def network(arm: str) -> AlbertForPreTraining:
    """albert-mini's start, and the same with layers of their own or embeddings of full width."""
    n_groups, width = SETTINGS["savings"][arm]
    config = BASE.encoder(CHECKPOINT, SETTINGS["seed"]).config
    return AlbertForPreTraining(replace(config, n_groups=n_groups, d_embedding=width), seed=SETTINGS["seed"])


def tested(model: AlbertForPreTraining, arm: str, rate: float, history: dict) -> dict:
    key = {"arm": arm, "rate": rate, "seed": SETTINGS["seed"]}
    runs = [{"task": "train"} | key | {"parameters": sum(p.numel() for p in model.parameters())} | history]
    for corpus in BASE.SETTINGS["encoder"]["corpora"]:
        runs.append({"task": "test", "corpus": corpus} | key | scored(model, corpus))
    return {"runs": runs}


def train(arm: str, rate: float) -> dict:
    """One network, trained as albert-mini was."""
    model = network(arm)
    history = BASE.pretrain(model, OBJECTIVE, rate, SETTINGS["phases"], SETTINGS["seed"])
    return tested(model.half().float(), arm, rate, history)


def checkpoint(arm: str, rate: float) -> dict:
    """albert-mini as it is stored, which has both savings; how it was trained is in the record of its study."""
    model = AlbertForPreTraining.from_pretrained(CHECKPOINT)
    record = results.load(BASE.STUDY.name).select(task="train", model=CHECKPOINT, rate=rate)[0]
    return tested(model, arm, rate, {key: record[key] for key in ("losses", "steps", "tokens")})


def counting(corpus: str) -> dict:
    """What counting the same training text reaches at the same hidden words."""
    v, (pairs, groups) = BASE.word_pieces(), test_pairs(corpus)
    documents = [
        [i for sentence in document for i in sentence] for document in BASE.sentences(corpus, "train")
    ]
    ends = (v.cls_token_id, v.sep_token_id, v.pad_token_id)
    batches = [hidden for _, hidden in BASE.masked_batches(pairs, BASE.SETTINGS["scoring_seed"])]
    of_word = np.repeat(groups, np.concatenate([(h.labels != IGNORED).sum(1) for h in batches])).tolist()
    runs = []
    for kind in pretraining.KINDS:
        model = pretraining.CountModel(documents, len(v), kind)
        hits = np.concatenate(
            [model.predict(h.input_ids, h.labels, ends) == BASE.labels_of(h.labels) for h in batches]
        )
        key = {"task": "test", "corpus": corpus, "arm": kind, "seed": SETTINGS["seed"]}
        runs.append(key | {"accuracy": float(hits.mean()), "right": digits(hits), "groups": of_word})
    return {"runs": runs}


def plan() -> dict:
    """The longest first."""
    rates = SETTINGS["rates"]
    jobs = {f"train {a}": (train, {"arm": a, "rate": rates[a]}) for a in ("neither", "shared", "factorised")}
    jobs["checkpoint both"] = (checkpoint, {"arm": "both", "rate": rates["both"]})
    return jobs | {f"counts {c}": (counting, {"corpus": c}) for c in BASE.SETTINGS["encoder"]["corpora"]}


def main() -> None:
    STUDY.write(STUDY.run(plan()), rates=SETTINGS["rates"])


if __name__ == "__main__":
    main()
