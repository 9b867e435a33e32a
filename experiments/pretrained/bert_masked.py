"""Masked words on the Bible and on WordNet: counting against MiniLM.  make experiment NAME=pretrained/bert_masked

MiniLM's published weights have no head for masked words. `frozen` trains one on the states of the unchanged encoder,
`whole` trains everything; the output is tied to the table of words in both. Both read a few thousand rows of training
text once, half from each corpus; the counts have read all of a corpus's training text. Every arm is asked for the
same tokens under the same masks: 15 % of held-out text, all of them hidden by [MASK], so that nothing can be copied.
The held-out part of the Bible is four whole books; intervals are over its chapters, and say little of other books.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tlcourse import datasets, results
from tlcourse.models.bert import BertForMaskedLM
from tlcourse.pretraining import (
    IGNORED,
    KINDS,
    CountModel,
    MaskingConfig,
    epoch_generator,
    mask_words,
    token_loss,
)
from tlcourse.tokenizers import WordPiece
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer import finetuning
from tlcourse.weights import locate

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2],
    "corpora": ["bible", "wordnet"],
    "row": 64,  # positions with [CLS] and [SEP]
    "test_rows": {"bible": 208, "wordnet": 600},
    "validation_rows": {"bible": 200, "wordnet": 300},
    "train_tokens": {"frozen": 120_000, "whole": 90_000},
    "tuning_tokens": {"frozen": 30_000, "whole": 25_000},
    "batch_size": 16,
    "masked_in_training": 0.3,
    "masked_in_test": 0.15,
    "rates": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
    "first_rates": {"frozen": [1e-3, 3e-3, 1e-2], "whole": [1e-4, 3e-4, 1e-3]},
}
STUDY = results.Study(
    "pretrained/bert_masked",
    SETTINGS,
    assets=["minilm", "wordnet", "king-james-bible"],
    plan=("main", "plan", "plan_tuning"),
)


# ---------------------------------------------------------------- text


@lru_cache(maxsize=2)
def vocabulary(source: str) -> WordPiece:
    return WordPiece.load(locate(source))


@lru_cache(maxsize=8)
def documents(source: str, corpus: str, part: str) -> tuple[list[list[int]], list[str]]:
    """Token ids of each document of a corpus, and the documents' names."""
    found = datasets.corpus(corpus, part)
    encode = vocabulary(source).encode
    return [[id for s in d.sentences for id in encode(s)] for d in found], [d.id for d in found]


def cut(ids: Sequence[int]) -> list[Sequence[int]]:
    """A document in consecutive pieces that fit a row."""
    room = SETTINGS["row"] - 2
    return [ids[i : i + room] for i in range(0, len(ids), room)]


def training_rows(source: str, n_tokens: int, seed: int) -> list[list[int]]:
    """Pieces at random, the same number of tokens from each corpus, with [CLS] and [SEP]."""
    v, rows = vocabulary(source), []
    for number, corpus in enumerate(SETTINGS["corpora"]):
        found = [piece for ids in documents(source, corpus, "train")[0] for piece in cut(ids)]
        order = np.random.default_rng((seed, number)).permutation(len(found))
        sizes = np.cumsum([len(found[i]) for i in order])
        stop = np.searchsorted(sizes, n_tokens / len(SETTINGS["corpora"])) + 1
        rows += [[v.cls_token_id, *found[i], v.sep_token_id] for i in order[:stop]]
    return rows


def padded(source: str, rows: Sequence[Sequence[int]], width: int) -> Tensor:
    fill = vocabulary(source).pad_token_id
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def masking(source: str, probability: float, **shares: float) -> MaskingConfig:
    """Special and unused tokens are never chosen."""
    v = vocabulary(source)
    special = tuple(i for i, token in enumerate(v.tokens) if token.startswith("[") and token.endswith("]"))
    special = tuple(i for i in special if len(v.tokens[i]) > 2)  # "[" and "]" alone are text
    return MaskingConfig(v.mask_token_id, len(v), special, probability, **shares)


@lru_cache(maxsize=8)
def questions(source: str, corpus: str, part: str) -> tuple[Tensor, Tensor, list[str]]:
    """Rows with hidden tokens (N, T), their labels (N, T), and each row's document.

    One piece of each document at random, the same whoever asks.
    """
    v = vocabulary(source)
    ids, names = documents(source, corpus, part)
    generator = np.random.default_rng((0, SETTINGS["corpora"].index(corpus)))
    order = generator.permutation(len(ids))[: SETTINGS[f"{part}_rows"][corpus]]
    rows = []
    for i in order:
        pieces = cut(ids[i])
        rows.append([v.cls_token_id, *pieces[generator.integers(len(pieces))], v.sep_token_id])
    config = masking(source, SETTINGS["masked_in_test"], mask_share=1.0, random_share=0.0)
    text = padded(source, rows, SETTINGS["row"])
    hidden = mask_words(text, config, epoch_generator(0, SETTINGS["corpora"].index(corpus)))
    return hidden.input_ids, hidden.labels, [names[i] for i in order]


# ---------------------------------------------------------------- the network


def start(source: str, seed: int) -> BertForMaskedLM:
    """The pretrained encoder with a head that says how frequent each token is and nothing else yet.

    Without dropout: no row is read twice.
    """
    loaded = BertForMaskedLM.from_pretrained(source, new_head=True, seed=seed)
    model = BertForMaskedLM(replace(loaded.config, dropout=0.0, attention_dropout=0.0))
    model.load_state_dict(loaded.state_dict())
    counts = np.ones(len(vocabulary(source)))
    for corpus in SETTINGS["corpora"]:
        found = np.concatenate(documents(source, corpus, "train")[0])
        counts += np.bincount(found, minlength=len(counts)) / len(found) * 1e6
    with torch.no_grad():
        model.words.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    return model


def train(model, source: str, arm: str, rate: float, n_tokens: int, seed: int) -> None:
    """Masked words over n_tokens, once; masks drawn as the rows come."""
    if arm == "frozen":
        finetuning.freeze(model, "bert.*")
    rows = training_rows(source, n_tokens, seed)
    config = masking(source, SETTINGS["masked_in_training"])
    generator = epoch_generator(seed, 1)

    def collate(batch):
        text = padded(source, batch, max(map(len, batch)))
        return (text, *mask_words(text, config, generator))

    def loss(model, batch):
        text, hidden, labels = batch
        places = labels != IGNORED
        mask = (text != vocabulary(source).pad_token_id).long()
        return token_loss(model(hidden, mask, positions=places), labels[places])

    settings = TrainingConfig(
        epochs=1, batch_size=SETTINGS["batch_size"], learning_rate=rate, weight_decay=0.0, seed=seed
    )
    fit(model, rows, loss, settings, collate=collate, lengths=[len(r) for r in rows], progress=False)


def guessed(model, source: str, hidden: Tensor, labels: Tensor) -> np.ndarray:
    """The likeliest token at each labelled place, in reading order."""

    def forward(model, batch):
        text, places = batch
        width = int((text != vocabulary(source).pad_token_id).sum(1).max())
        text, asked = text[:, :width], places[:, :width]
        found = torch.full(places.shape, IGNORED)
        mask = (text != vocabulary(source).pad_token_id).long()
        found[places] = model(text, mask, positions=asked).argmax(-1)
        return found

    data = list(zip(hidden, labels != IGNORED, strict=True))
    lengths = (hidden != vocabulary(source).pad_token_id).sum(1)
    return predict(model, data, lengths=lengths.tolist(), forward=forward)[labels != IGNORED].numpy()


def scored(guesses: np.ndarray, labels: Tensor, names: Sequence[str]) -> dict:
    """Accuracy over all hidden tokens; each token's document by number, for intervals."""
    places = labels != IGNORED
    right = guesses == labels[places].numpy()
    return {
        "accuracy": float(right.mean()),
        "right": "".join("1" if r else "0" for r in right),
        "groups": np.repeat(np.arange(len(names)), places.sum(1).numpy()).tolist(),
    }


# ---------------------------------------------------------------- jobs


def tune(source: str, arm: str, rate: float) -> dict:
    """One candidate rate: accuracy on validation text, mean of the corpora, after a shorter training."""
    seed = SETTINGS["exploratory_seed"]
    model = start(source, seed)
    train(model, source, arm, rate, SETTINGS["tuning_tokens"][arm], seed)
    scores = []
    for corpus in SETTINGS["corpora"]:
        hidden, labels, names = questions(source, corpus, "validation")
        scores.append(scored(guessed(model, source, hidden, labels), labels, names)["accuracy"])
    return {"what": "tune", "arm": arm, "rate": rate, "seed": seed, "score": float(np.mean(scores))}


def evaluated(model, source: str, **key) -> list[dict]:
    runs = []
    for corpus in SETTINGS["corpora"]:
        hidden, labels, names = questions(source, corpus, "test")
        found = scored(guessed(model, source, hidden, labels), labels, names)
        runs.append({"what": "test", "source": source, "corpus": corpus} | key | found)
    return runs


def network(source: str, arm: str, rate: float, seed: int) -> dict:
    """A trained head, or a trained network, on the test text of both corpora."""
    model = start(source, seed)
    n = SETTINGS["train_tokens"][arm]
    train(model, source, arm, rate, n, seed)
    return {"runs": evaluated(model, source, arm=arm, rate=rate, seed=seed, n_tokens=n)}


def counting(source: str, corpus: str) -> dict:
    """Unigram, left trigram and two-sided counts of all training text of a corpus, once for each seed to be paired."""
    v = vocabulary(source)
    known, _ = documents(source, corpus, "train")
    hidden, labels, names = questions(source, corpus, "test")
    ends = (v.cls_token_id, v.sep_token_id, v.pad_token_id)
    runs = []
    for kind in KINDS:
        found = scored(CountModel(known, len(v), kind).predict(hidden, labels, ends), labels, names)
        key = {"what": "test", "source": source, "corpus": corpus, "arm": kind}
        runs += [key | {"seed": s, "n_tokens": sum(map(len, known))} | found for s in SETTINGS["seeds"]]
    return {"runs": runs, "documents": names}


# ---------------------------------------------------------------- which jobs


def plan_tuning(grids: dict) -> dict:
    return {
        f"tune {arm} {rate:g}": (tune, {"source": "minilm", "arm": arm, "rate": rate})
        for arm, grid in grids.items()
        for rate in grid
    }


def plan(rates: dict) -> dict:
    jobs = {f"counts {c}": (counting, {"source": "minilm", "corpus": c}) for c in SETTINGS["corpora"]}
    for seed in SETTINGS["seeds"]:
        for arm, rate in rates.items():
            arguments = {"source": "minilm", "arm": arm, "rate": rate, "seed": seed}
            jobs[f"minilm {arm} {seed}"] = (network, arguments)
    return jobs


def main() -> None:
    """The grid of an arm is widened until its best lies inside, to five candidates at most."""
    ladder = SETTINGS["rates"]
    grids = {arm: list(grid) for arm, grid in SETTINGS["first_rates"].items()}
    wider = True
    while wider:
        tuning, wider, rates = STUDY.run(plan_tuning(grids)), False, {}
        for arm, grid in grids.items():
            rates[arm] = max(grid, key=lambda r: (tuning[f"tune {arm} {r:g}"]["score"], -r))
            at = ladder.index(rates[arm])
            more = at - 1 if rates[arm] == grid[0] else at + 1 if rates[arm] == grid[-1] else -1
            if 0 <= more < len(ladder) and len(grid) < 5:
                grids[arm], wider = sorted([*grid, ladder[more]]), True
    print("chosen rates:", rates)
    STUDY.write(tuning | STUDY.run(plan(rates)), rates=rates)


if __name__ == "__main__":
    main()
