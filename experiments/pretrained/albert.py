"""ALBERT's two savings and its objective, each alone: shared layers, factorised embeddings, the order of sentences.

make experiment NAME=pretrained/albert

Two by two: layers shared or not, embeddings of width 32 or of the full 128, all else equal: text, vocabulary, steps,
width, activation, objective. Then the objective, on the network with both savings: hidden words with sentence order,
with next sentence, or alone. Each model is asked both questions, by its own head and by a linear probe, and is
fine-tuned to say whether two definitions are of one class. Rates are chosen on an exploratory seed by the loss at
hidden words of validation text, three to five candidates an arm. Last, what a step costs: parameters, bytes, seconds,
memory.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlcourse import datasets, pretraining, results
from tlcourse.models.albert import AlbertConfig, AlbertForPreTraining, AlbertForSequenceClassification
from tlcourse.models.bert import BertConfig, BertForPreTraining
from tlcourse.pretraining import IGNORED, Pair
from tlcourse.training import TrainingConfig, fit, predict

BASE = results.load_script(results.SCRIPTS / "pretrained" / "checkpoints.py")
COST = results.load_script(results.SCRIPTS / "pretrained" / "attention_cost.py")
# What is taken from the checkpoints' script, and not how long they were trained.
TAKEN = (
    "word_pieces",
    "sentences",
    "draw_pairs",
    "collate",
    "masking",
    "Words",
    "pretrain",
    "masked_batches",
)
BORROWED = results.digest(
    {name: BASE.SETTINGS["encoder"][name] for name in ("corpora", "vocab_size", "sizes")},
    *(
        results.recipe_text(ast.unparse(node))
        for node in ast.parse(BASE.STUDY.script.read_text()).body
        if getattr(node, "name", "") in TAKEN
    ),
)
SETTINGS = {
    "base": [BORROWED, COST.STUDY.recipe],
    "exploratory_seed": 100,
    "seeds": [0, 1, 2],
    "savings": {  # arm → layers that differ, width of the embeddings
        "neither": [4, 128],
        "shared": [1, 128],
        "factorised": [4, 32],
        "both": [1, 32],
    },
    "objectives": ["sentence order", "next sentence", "words alone"],
    "init_sd": 0.05,
    "phases": [{"length": 32, "batch_size": 16, "steps": 1600, "hidden": 0.3}],
    "tuning_phases": [{"length": 32, "batch_size": 16, "steps": 600, "hidden": 0.3}],
    "ladder": [1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3],
    "first_rates": [2.5e-4, 5e-4, 1e-3],
    "held_out": 300,  # pairs of each corpus, one a document
    "probe": 600,  # training pairs of each corpus
    "classes": {"train": 600, "validation": 300, "test": 800, "epochs": 3, "batch_size": 16},
    "class_rates": [3e-4, 1e-3, 3e-3],
    "cost": {
        "mini": {
            "vocab_size": 8192,
            "d_model": 128,
            "n_heads": 4,
            "d_inner": 512,
            "E": 32,
            "batch": [32, 32],
        },
        "small": {
            "vocab_size": 30000,
            "d_model": 256,
            "n_heads": 4,
            "d_inner": 1024,
            "E": 64,
            "batch": [8, 64],
        },
    },
    "rounds": 10,
}
STUDY = results.Study(
    "pretrained/albert",
    SETTINGS,
    assets=["king-james-bible", "wordnet"],
    plan=("main", "plan", "plan_cost", "chosen"),
)


# ---------------------------------------------------------------- held-out text, one pair a document


class HeldOut:
    """pairs, and the group of each: a book of the Bible, or a word."""

    def __init__(self, pairs: list[Pair], names: list[str]) -> None:
        self.pairs, self.groups = pairs, np.unique(names, return_inverse=True)[1].tolist()


@lru_cache(maxsize=8)
def held_out(objective: str, part: str, n: int, seed: int) -> HeldOut:
    """From n documents of each corpus one pair, which begins at a random sentence."""
    length = SETTINGS["phases"][0]["length"]
    pairs, names = [], []
    for corpus in BASE.SETTINGS["encoder"]["corpora"]:
        ids = BASE.sentences(corpus, part)
        groups = [d.group for d in datasets.corpus(corpus, part) if len(d.sentences) > 1]
        generator = pretraining.epoch_generator(seed, 3)
        for i in torch.randperm(len(ids), generator=generator)[:n].tolist():
            own = ids[i][int(torch.randint(len(ids[i]) - 1, (), generator=generator)) :]
            if objective == "next sentence":
                other = (i + 1 + int(torch.randint(len(ids) - 1, (), generator=generator))) % len(ids)
                found = pretraining.next_sentence_pairs([own, ids[other]], length, generator)
            else:
                found = pretraining.sentence_order_pairs([own], length, generator)
            pairs.append(found[0])
            names.append(f"{corpus} {groups[i]}")
    return HeldOut(pairs, names)


def as_written(pair: Pair) -> Pair:
    return Pair(*pair[1::-1], pretraining.FOLLOWS) if pair.label == pretraining.BROKEN else pair


# ---------------------------------------------------------------- pretraining


def network(savings: str, seed: int) -> AlbertForPreTraining:
    """Without dropout, as the checkpoints are pretrained."""
    n_groups, width = SETTINGS["savings"][savings]
    sizes = BASE.SETTINGS["encoder"]["sizes"] | {"vocab_size": len(BASE.word_pieces())}
    sizes |= {"dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0}
    config = AlbertConfig(**sizes, n_groups=n_groups, d_embedding=width, init_sd=SETTINGS["init_sd"])
    return AlbertForPreTraining(config, seed=seed)


def pretrained(savings: str, objective: str, rate: float, phases: Sequence[dict], seed: int):
    """The network after training, and what happened."""
    model = network(savings, seed)
    alone = objective == "words alone"
    text = "sentence order" if alone else objective  # alone: the same pairs, but nobody asks for their order
    return model, BASE.pretrain(model, text, rate, phases, seed, pairs=not alone)


@torch.inference_mode()
def hidden_words(model: AlbertForPreTraining, part: str) -> dict:
    """At hidden words of held-out pairs as written: loss, accuracy, and each word right or not with its group."""
    held = held_out("sentence order", part, SETTINGS["held_out"], 0)
    model.eval()
    nats, right, groups = [], [], []
    for number, (batch, hidden) in enumerate(BASE.masked_batches([as_written(p) for p in held.pairs], 0)):
        at = hidden.labels != IGNORED
        logits = model(hidden.input_ids, batch.attention_mask, batch.token_type_ids, positions=at).words
        nats.append(pretraining.token_nats(logits, hidden.labels[at]))
        right.append(logits.argmax(-1) == hidden.labels[at])
        start = 50 * number  # masked_batches' size
        of_row = torch.tensor(held.groups[start : start + len(at)])[:, None].expand_as(at)
        groups += of_row[at].tolist()
    hits = torch.cat(right)
    return {
        "loss": round(torch.cat(nats).double().mean().item(), 4),
        "accuracy": float(hits.float().mean()),
        "right": digits(hits),
        "groups": groups,
    }


def digits(right: Sequence) -> str:
    return "".join("1" if r else "0" for r in right)


# ---------------------------------------------------------------- both questions about pairs


def states(model: AlbertForPreTraining, pairs: Sequence[Pair]) -> Tensor:
    """(N, 2 + 2 D): the pair head's logits, the last state of [CLS], the mean of all last states."""

    def forward(_, batch) -> Tensor:
        last = model.albert(batch.input_ids, batch.attention_mask, batch.token_type_ids)  # (B, T, D)
        real = batch.attention_mask.unsqueeze(-1)
        mean = (last * real).sum(1) / real.sum(1)
        return torch.cat([model.sentence_order(model.pooler(last)), last[:, 0], mean], dim=1)

    return predict(model, pairs, collate=BASE.collate, forward=forward)


def asked(model: AlbertForPreTraining, question: str) -> list[dict]:
    """Next sentence or sentence order on test pairs, by the model's own head and by a probe of its frozen states."""
    test = held_out(question, "test", SETTINGS["held_out"], 1)
    known = held_out(question, "train", SETTINGS["probe"], 1)
    truth, labels = (np.array([p.label for p in held.pairs]) for held in (test, known))
    found, features = states(model, test.pairs).numpy(), states(model, known.pairs).numpy()[:, 2:]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(features, labels)
    guesses = {"head": found[:, :2].argmax(1), "probe": probe.predict(found[:, 2:])}
    return [
        {
            "question": question,
            "by": by,
            "accuracy": float((guess == truth).mean()),
            "right": digits(guess == truth),
            "groups": test.groups,
        }
        for by, guess in guesses.items()
    ]


# ---------------------------------------------------------------- downstream: are two definitions of one class?


@lru_cache(maxsize=4)
def definitions(part: str) -> tuple[datasets.Gloss, ...]:
    """With their classes, those whose words are in that part of the pretraining corpus, held out alike."""
    first = {d.id: d.sentences[0] for d in datasets.corpus("wordnet", part)}
    parts = datasets.gloss_topics(0)
    glosses = [*parts.train, *parts.validation, *parts.test]
    return tuple(g for g in glosses if first.get(g.id, "").endswith(g.text))


@lru_cache(maxsize=16)
def class_pairs(part: str, n: int, seed: int) -> tuple[tuple[str, str, int], ...]:
    """n pairs of definitions of one class (1) or of two (0), each definition once, each class as often in either."""
    generator = np.random.default_rng(seed)
    by_class: dict[str, list[str]] = {}
    found = definitions(part)
    for i in generator.permutation(len(found)):
        by_class.setdefault(found[i].lexname, []).append(found[i].text)
    pairs: list[tuple[str, str, int]] = []
    while len(pairs) < n:
        # Four of one class and four of another make two pairs alike and two unlike.
        large = [name for name, texts in by_class.items() if len(texts) >= 4]
        a, b = (by_class[name] for name in generator.permutation(large)[:2])
        pairs += [(a.pop(), a.pop(), 1), (b.pop(), b.pop(), 1), (a.pop(), b.pop(), 0), (b.pop(), a.pop(), 0)]
    return tuple(pairs[:n])


def class_rows(part: str, n: int, seed: int) -> list[Pair]:
    encode, room = BASE.word_pieces().encode, 30
    return [Pair(encode(a)[:room], encode(b)[:room], label) for a, b, label in class_pairs(part, n, seed)]


def class_logits(model: nn.Module, batch: pretraining.PairBatch) -> Tensor:
    return model(batch.input_ids, batch.attention_mask, batch.token_type_ids)


def same_class(start: AlbertForPreTraining, seed: int) -> dict:
    """Fine-tuned at each rate; the one that is best on validation pairs is tested."""
    sizes = SETTINGS["classes"]
    train = class_rows("train", sizes["train"], seed)
    best: tuple[float, float, nn.Module] | None = None
    for rate in SETTINGS["class_rates"]:
        model = AlbertForSequenceClassification(start.config, seed=seed)
        model.albert.load_state_dict(start.albert.state_dict())
        config = TrainingConfig(
            epochs=sizes["epochs"], batch_size=sizes["batch_size"], learning_rate=rate, seed=seed
        )
        lengths = [len(p.first) + len(p.second) for p in train]
        fit(
            model,
            train,
            lambda m, batch: cross_entropy(class_logits(m, batch), batch.labels),
            config,
            collate=BASE.collate,
            lengths=lengths,
            progress=False,
        )
        score = float(class_right(model, class_rows("validation", sizes["validation"], 0)).mean())
        if best is None or score > best[0]:
            best = (score, rate, model)
    score, rate, model = best
    right = class_right(model, class_rows("test", sizes["test"], 0))
    key = {"class_rate": rate, "validation": score, "accuracy": float(right.mean())}
    return key | {"right": digits(right), "groups": list(range(len(right)))}


def class_right(model: nn.Module, rows: Sequence[Pair]) -> np.ndarray:
    guesses = predict(model, rows, collate=BASE.collate, forward=class_logits).argmax(1).numpy()
    return guesses == np.array([p.label for p in rows])


# ---------------------------------------------------------------- jobs


def tune(savings: str, objective: str, rate: float) -> dict:
    """Loss at hidden words of validation text after a short run."""
    seed = SETTINGS["exploratory_seed"]
    model, _ = pretrained(savings, objective, rate, SETTINGS["tuning_phases"], seed)
    key = {"task": "tune", "savings": savings, "objective": objective, "rate": rate, "seed": seed}
    found = hidden_words(model, "validation")
    return key | {"loss": found["loss"], "accuracy": found["accuracy"]}


def train(savings: str, objective: str, rate: float, seed: int) -> dict:
    """One pretrained network: hidden words on test text; with both savings, the questions and the classes too."""
    model, history = pretrained(savings, objective, rate, SETTINGS["phases"], seed)
    key = {"savings": savings, "objective": objective, "rate": rate, "seed": seed}
    runs = [{"task": "words"} | key | hidden_words(model, "test") | history]
    if savings == "both":
        for question in ("sentence order", "next sentence"):
            runs += [{"task": "question"} | key | found for found in asked(model, question)]
        runs.append({"task": "classes"} | key | same_class(model, seed))
    return {"runs": runs}


def random_start(seed: int) -> dict:
    """The same network without pretraining."""
    key = {"task": "classes", "savings": "both", "objective": "none", "seed": seed}
    return key | same_class(network("both", seed), seed)


def counts() -> dict:
    """What counting the training text reaches at the same hidden words, the two corpora counted together."""
    held = held_out("sentence order", "test", SETTINGS["held_out"], 0)
    v = BASE.word_pieces()
    documents = [
        [i for sentence in document for i in sentence]
        for corpus in BASE.SETTINGS["encoder"]["corpora"]
        for document in BASE.sentences(corpus, "train")
    ]
    runs = []
    for kind in pretraining.KINDS:
        model = pretraining.CountModel(documents, len(v), kind)
        right = []
        for _, hidden in BASE.masked_batches([as_written(p) for p in held.pairs], 0):
            guesses = model.predict(
                hidden.input_ids, hidden.labels, (v.cls_token_id, v.sep_token_id, v.pad_token_id)
            )
            right.append(guesses == BASE.labels_of(hidden.labels))
        hits = np.concatenate(right)
        runs.append({"task": "counts", "kind": kind, "accuracy": float(hits.mean()), "right": digits(hits)})
    return {"runs": runs}


def shared_words(seed: int) -> dict:
    """The classes by a classical model: similarity of TF-IDF vectors, its threshold learned from the same pairs."""
    sizes = SETTINGS["classes"]
    train, test = class_pairs("train", sizes["train"], seed), class_pairs("test", sizes["test"], 0)
    words = TfidfVectorizer(sublinear_tf=True).fit([text for a, b, _ in train for text in (a, b)])

    def similarity(pairs) -> np.ndarray:
        a, b = (words.transform([pair[i] for pair in pairs]) for i in (0, 1))
        return np.asarray(a.multiply(b).sum(1)).ravel()

    scores, labels = similarity(train), np.array([label for *_, label in train])
    threshold = max(np.unique(scores), key=lambda t: ((scores >= t) == labels).mean())
    right = (similarity(test) >= threshold) == np.array([label for *_, label in test])
    key = {"task": "classes", "savings": "none", "objective": "shared words", "seed": seed}
    return key | {
        "accuracy": float(right.mean()),
        "right": digits(right),
        "groups": list(range(len(right))),
    }


# ---------------------------------------------------------------- what it costs


def cost(size: str) -> dict:
    """Parameters, bytes, peak memory, and seconds of a pass and of a training step, by rounds, for four and BERT.

    A round measures each network once, in an order that turns. Scores are asked for at 15 % of the positions.
    """
    sizes = dict(SETTINGS["cost"][size])
    width, (B, T) = sizes.pop("E"), sizes.pop("batch")
    sizes |= {"n_layers": 4, "dropout": 0.0, "attention_dropout": 0.0}
    models: dict[str, nn.Module] = {"bert": BertForPreTraining(BertConfig(**sizes))}
    for name, (n_groups, d) in SETTINGS["savings"].items():
        d = width if d < SETTINGS["savings"]["neither"][1] else sizes["d_model"]
        config = AlbertConfig(**sizes, classifier_dropout=0.0, n_groups=n_groups, d_embedding=d)
        models[name] = AlbertForPreTraining(config)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, sizes["vocab_size"], (B, T), generator=generator)
    at = torch.rand(B, T, generator=generator) < 0.15
    calls: dict[str, dict[str, Callable]] = {
        name: {"forward": forward_call(model, ids, at), "training": training_call(model, ids, at)}
        for name, model in models.items()
    }
    found = {name: {"forward": [], "training": []} for name in models}
    names = list(models)
    for number in range(SETTINGS["rounds"] + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            for kind, call in calls[name].items():
                start = time.perf_counter()
                call()
                if number:  # the first round warms up
                    found[name][kind].append(round(time.perf_counter() - start, 6))
    facts = {}
    for name, model in models.items():
        parameters = sum(p.numel() for p in model.parameters())
        facts[name] = {
            "parameters": parameters,
            "bytes": 4 * parameters,
            "held_bytes": 12 * parameters,  # the parameters, and Adam's two averages of each
            "step_bytes": COST.peak_bytes(calls[name]["training"]),
            "seconds": found[name],
        }
    return {"task": "cost", "size": size, "tokens": B * T, "models": facts}


def forward_call(model: nn.Module, ids: Tensor, at: Tensor) -> Callable[[], None]:
    def call() -> None:
        model.eval()
        with torch.inference_mode():
            model(ids, positions=at)

    return call


def training_call(model: nn.Module, ids: Tensor, at: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def call() -> None:
        model.train()
        logits = model(ids, positions=at)
        loss = pretraining.token_loss(logits[0], ids[at]) + logits[1].logsumexp(1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


# ---------------------------------------------------------------- which jobs


def chosen() -> tuple[dict, dict]:
    """The best rate of each arm, and the tuning records; a grid is widened until its best lies inside it.

    At most five candidates an arm: where even then the best is the outermost, it is taken.
    """
    ladder = SETTINGS["ladder"]
    arms = [(savings, SETTINGS["objectives"][0]) for savings in SETTINGS["savings"]]
    arms += [("both", objective) for objective in SETTINGS["objectives"][1:]]
    grids = {arm: list(SETTINGS["first_rates"]) for arm in arms}
    while True:
        records = STUDY.run(
            {
                f"tune {savings}, {objective}, {rate:g}": (
                    tune,
                    {"savings": savings, "objective": objective, "rate": rate},
                )
                for (savings, objective), grid in grids.items()
                for rate in grid
            }
        )
        best, wider = {}, False
        for arm, grid in grids.items():
            loss = {r: records[f"tune {arm[0]}, {arm[1]}, {r:g}"]["loss"] for r in grid}
            best[arm] = min(grid, key=lambda r: (loss[r], r))
            at = ladder.index(best[arm])
            more = at - 1 if best[arm] == grid[0] else at + 1 if best[arm] == grid[-1] else -1
            if 0 <= more < len(ladder) and len(grid) < 5:
                grids[arm], wider = sorted([*grid, ladder[more]]), True
        if not wider:
            return best, records


def plan_cost() -> dict:
    return {f"cost {size}": (cost, {"size": size}) for size in SETTINGS["cost"]}


def plan(rates: dict) -> dict:
    jobs = {"counts": (counts, {})}
    for seed in SETTINGS["seeds"]:
        for (savings, objective), rate in rates.items():
            arguments = {"savings": savings, "objective": objective, "rate": rate, "seed": seed}
            jobs[f"train {savings}, {objective}, {seed}"] = (train, arguments)
        jobs[f"random start {seed}"] = (random_start, {"seed": seed})
        jobs[f"shared words {seed}"] = (shared_words, {"seed": seed})
    return jobs


def main() -> None:
    costs = STUDY.run(plan_cost(), workers=1)
    rates, tuning = chosen()
    print("chosen rates:", rates)
    told = {f"{savings}, {objective}": rate for (savings, objective), rate in rates.items()}
    STUDY.write(costs | tuning | STUDY.run(plan(rates)), rates=told)


if __name__ == "__main__":
    main()
