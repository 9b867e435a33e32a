"""The project's own small pretrained models, in data/checkpoints/.  make experiment NAME=pretrained/checkpoints

bert-mini and albert-mini: one corpus, width and number of steps; twice as many words hidden as in BERT, beside them
next sentence or sentence order. gpt2-mini-bible and gpt2-mini-wordnet: one network and one vocabulary, two sources,
equal tokens. Each learning rate is the best of a grid after a short run, by the loss on validation text; test text is
scored once.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse import assets, datasets, pretraining, results, runtime, weights
from tlcourse.models.albert import AlbertConfig, AlbertForPreTraining
from tlcourse.models.bert import BertConfig, BertForPreTraining
from tlcourse.models.gpt2 import GPT2, GPT2Config
from tlcourse.pretraining import IGNORED, Pair
from tlcourse.tokenizers import ByteLevelBPE, WordPiece
from tlcourse.training import TrainingConfig, fit

SETTINGS = {
    "seed": 0,
    "scoring_seed": 1,
    "encoder": {
        "corpora": ["bible", "wordnet"],
        "vocab_size": 8192,
        "sizes": {"d_model": 128, "n_layers": 4, "n_heads": 4, "d_inner": 512, "n_positions": 128},
        "d_embedding": 32,
        # Short texts, where the neighbours of a word are found soonest; some long ones train the later positions.
        # Twice BERT's 15 %: a step costs a tenth more and has twice the words to learn from; ahead in a short trial.
        "phases": [
            {
                "length": 32,
                "batch_size": 32,
                "steps": 17000,
                "hidden": 0.3,
                "long": {"length": 128, "share": 0.04},
            }
        ],
        "tuning_phases": [{"length": 32, "batch_size": 32, "steps": 600, "hidden": 0.15}],
        "rates": [5e-4, 1e-3, 2e-3],
        "validation_pairs": 400,
        "test_pairs": 1000,
    },
    "decoder": {
        "sources": ["bible", "wordnet"],
        "vocabulary": ["bible", "wordnet", "shakespeare"],
        "vocab_size": 4096,
        "sizes": {"d_model": 192, "n_layers": 4, "n_heads": 4, "n_positions": 128},
        "batch_size": 16,
        "steps": 1500,
        "tuning_steps": 150,
        "rates": [5e-4, 1e-3, 2e-3, 4e-3],
        "validation_blocks": 64,
        "test_documents": 200,
    },
}
STUDY = results.Study(
    "pretrained/checkpoints", SETTINGS, assets=["king-james-bible", "wordnet", "shakespeare"]
)
ASSET = {"bible": "king-james-bible", "wordnet": "wordnet", "shakespeare": "shakespeare"}
ENCODERS = {"bert-mini": "next sentence", "albert-mini": "sentence order"}


# ---------------------------------------------------------------- encoders: text


@lru_cache(maxsize=1)
def word_pieces() -> WordPiece:
    """The vocabulary of both encoders, learned from their training text."""
    texts = [d.text for name in SETTINGS["encoder"]["corpora"] for d in datasets.corpus(name, "train")]
    return WordPiece.train(texts, SETTINGS["encoder"]["vocab_size"])


@lru_cache(maxsize=8)
def sentences(corpus: str, part: str, tokenizer: WordPiece | None = None) -> list[list[list[int]]]:
    """Token ids of each sentence of each document that has two sentences at least: pairs need them."""
    tokenizer = tokenizer or word_pieces()
    documents = (d for d in datasets.corpus(corpus, part) if len(d.sentences) > 1)
    return [[tokenizer.encode(sentence) for sentence in document.sentences] for document in documents]


def draw_pairs(objective: str, corpus: str, part: str, length: int, seed: int) -> list[Pair]:
    """Pairs of one corpus: a second segment from elsewhere is of the same corpus, so that style gives nothing away."""
    draw = {
        "next sentence": pretraining.next_sentence_pairs,
        "sentence order": pretraining.sentence_order_pairs,
    }
    generator = pretraining.epoch_generator(seed, 0, length)
    return draw[objective](sentences(corpus, part), length, generator)


def collate(pairs: Sequence[Pair]) -> pretraining.PairBatch:
    vocab = word_pieces()
    return pretraining.collate_pairs(
        pairs, cls_id=vocab.cls_token_id, sep_id=vocab.sep_token_id, pad_id=vocab.pad_token_id
    )


def masking(share: float = 0.15, *, everything: bool = False) -> pretraining.MaskingConfig:
    """Of a share of the tokens BERT's 80/10/10; with everything, each chosen token becomes [MASK].

    A token that stays can be copied, and counting does not look at the place: that would be no fair comparison.
    """
    vocab = word_pieces()
    special = (vocab.pad_token_id, vocab.unk_token_id, vocab.cls_token_id, vocab.sep_token_id)
    shares = {"mask_share": 1.0, "random_share": 0.0} if everything else {}
    return pretraining.MaskingConfig(vocab.mask_token_id, len(vocab), special, share, **shares)


# ---------------------------------------------------------------- encoders: training and scores


class Words:
    """The loss: hidden words (a share of all, others at each step) and, unless pairs is false, which pair it is."""

    def __init__(self, seed: int, *, share: float, pairs: bool = True) -> None:
        self.seed, self.share, self.pairs, self.step = seed, share, pairs, 0
        self.losses: list[float] = []
        self.tokens = 0

    def on_step(self, model: nn.Module, step: int) -> None:
        self.step = step

    def __call__(self, model: nn.Module, batch: pretraining.PairBatch) -> Tensor:
        hidden = pretraining.mask_words(
            batch.input_ids, masking(self.share), pretraining.epoch_generator(self.seed, 1, self.step)
        )
        at = hidden.labels != IGNORED
        answers = model(hidden.input_ids, batch.attention_mask, batch.token_type_ids, positions=at)
        words = pretraining.token_loss(answers[0], hidden.labels[at])
        self.losses.append(words.item())
        self.tokens += int(batch.attention_mask.sum())
        return words + pretraining.pair_loss(answers[1], batch.labels) if self.pairs else words


def long_pairs(objective: str, corpora: Sequence[str], length: int, n: int, seed: int) -> list[Pair]:
    """n pairs of training text at random, drawn from it as often as it takes."""
    found: list[Pair] = []
    for again in itertools.count():
        if len(found) >= n:
            break
        for corpus in corpora:
            found += draw_pairs(objective, corpus, "train", length, 10_000 * seed + 5_000 + again)
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:n]]


def pretrain(
    model: nn.Module,
    objective: str,
    rate: float,
    phases: Sequence[dict],
    seed: int,
    *,
    pairs: bool = True,
    callbacks: Sequence = (),
    corpora: Sequence[str] = tuple(SETTINGS["encoder"]["corpora"]),
) -> dict:
    """Train an encoder in place, phase by phase; mean losses of hidden words every 50 steps, tokens read."""
    losses, tokens, steps = [], 0, 0
    for number, phase in enumerate(phases):
        wanted = phase["batch_size"] * phase["steps"]
        found: list[Pair] = []
        for round_seed in itertools.count(
            10_000 * seed + 100 * number
        ):  # each draws other pairs from the text
            for corpus in corpora:
                found += draw_pairs(objective, corpus, "train", phase["length"], round_seed)
            if len(found) >= wanted:
                break
        if "long" in phase:
            n = round(phase["long"]["share"] * wanted)
            short = np.random.default_rng(seed).permutation(len(found))[: wanted - n]
            found = [
                *(found[i] for i in short),
                *long_pairs(objective, corpora, phase["long"]["length"], n, seed),
            ]
        words = Words(100 * seed + number, share=phase["hidden"], pairs=pairs)
        config = TrainingConfig(
            max_steps=phase["steps"], batch_size=phase["batch_size"], learning_rate=rate, seed=seed
        )
        lengths = [len(pair.first) + len(pair.second) for pair in found]
        fit(
            model,
            found,
            words,
            config,
            collate=collate,
            lengths=lengths,
            callbacks=[words, *callbacks],
            progress=False,
        )
        steps += phase["steps"]
        tokens += words.tokens
        losses += [round(float(np.mean(words.losses[i : i + 50])), 4) for i in range(0, phase["steps"], 50)]
    return {"losses": losses, "steps": steps, "tokens": tokens}


def masked_batches(
    pairs: Sequence[Pair], seed: int, *, everything: bool = True, size: int = 50
) -> list[tuple]:
    """Batches of pairs and what is hidden in them, the same for every model and for the counts."""
    batches = [collate(pairs[i : i + size]) for i in range(0, len(pairs), size)]
    config = masking(everything=everything)
    return [
        (batch, pretraining.mask_words(batch.input_ids, config, pretraining.epoch_generator(seed, 2, n)))
        for n, batch in enumerate(batches)
    ]


@torch.inference_mode()
def scores(model: nn.Module, pairs: Sequence[Pair], seed: int, *, everything: bool = True) -> dict:
    """Loss and accuracy at hidden words, accuracy of the pairs."""
    model.eval()
    nats, right, pair_right = [], [], []
    for batch, hidden in masked_batches(pairs, seed, everything=everything):
        at = hidden.labels != IGNORED
        words, kind = model(hidden.input_ids, batch.attention_mask, batch.token_type_ids, positions=at)
        nats.append(pretraining.token_nats(words, hidden.labels[at]))
        right.append(words.argmax(-1) == hidden.labels[at])
        pair_right.append(kind.argmax(-1) == batch.labels)
    return {
        "nats": round(torch.cat(nats).double().mean().item(), 4),
        "words": round(torch.cat(right).double().mean().item(), 4),
        "pairs": round(torch.cat(pair_right).double().mean().item(), 4),
        "n_words": len(torch.cat(right)),
    }


def count_scores(corpus: str, pairs: Sequence[Pair], seed: int) -> dict:
    """What counting reaches at the same hidden words, having read what the network reads: documents that make pairs."""
    vocab = word_pieces()
    documents = [list(itertools.chain(*document)) for document in sentences(corpus, "train")]
    ends = (vocab.cls_token_id, vocab.sep_token_id, vocab.pad_token_id)
    found = {}
    for kind in pretraining.KINDS:
        counts = pretraining.CountModel(documents, len(vocab), kind)
        hits = [
            counts.predict(hidden.input_ids, hidden.labels, ends) == labels_of(hidden.labels)
            for _, hidden in masked_batches(pairs, seed)
        ]
        found[kind] = round(float(np.concatenate(hits).mean()), 4)
    return found


def labels_of(labels: Tensor) -> np.ndarray:
    return labels[labels != IGNORED].numpy()


def encoder(name: str, seed: int) -> nn.Module:
    """The untrained network. No dropout: the text is seen a few times, and underfitting is the danger."""
    sizes = SETTINGS["encoder"]["sizes"] | {"vocab_size": len(word_pieces())}
    sizes |= {"dropout": 0.0, "attention_dropout": 0.0}
    if name == "bert-mini":
        return BertForPreTraining(BertConfig(**sizes), seed=seed)
    return AlbertForPreTraining(
        AlbertConfig(**sizes, d_embedding=SETTINGS["encoder"]["d_embedding"]), seed=seed
    )


def tune_encoder(name: str, rate: float) -> dict:
    """Validation loss after a short run, with the masks of training, the mean over the corpora."""
    settings, seed = SETTINGS["encoder"], SETTINGS["seed"]
    model = encoder(name, seed)
    history = pretrain(model, ENCODERS[name], rate, settings["tuning_phases"], seed)
    length = settings["tuning_phases"][0]["length"]
    found = {}
    for corpus in settings["corpora"]:
        pairs = draw_pairs(ENCODERS[name], corpus, "validation", length, SETTINGS["scoring_seed"])
        chosen = pairs[: settings["validation_pairs"]]
        found[corpus] = scores(model, chosen, SETTINGS["scoring_seed"], everything=False)
    loss = float(np.mean([found[corpus]["nats"] for corpus in found]))
    return {"task": "tune", "model": name, "rate": rate, "loss": loss, "scores": found} | history


def tested(model: nn.Module, name: str) -> tuple[dict, dict]:
    """Scores on test text, and those of counting at the same words, by corpus."""
    settings, seed = SETTINGS["encoder"], SETTINGS["scoring_seed"]
    tests, counts = {}, {}
    for corpus in settings["corpora"]:
        pairs = draw_pairs(ENCODERS[name], corpus, "test", 64, seed)
        chosen = pairs[:: max(1, len(pairs) // settings["test_pairs"])][: settings["test_pairs"]]
        tests[corpus], counts[corpus] = scores(model, chosen, seed), count_scores(corpus, chosen, seed)
    return tests, counts


def told(name: str, tests: dict, counts: dict) -> dict[str, float]:
    """What the card says of them."""
    metrics = {}
    for corpus in tests:
        metrics[f"{corpus}: share of hidden tokens found, each replaced by [MASK]"] = tests[corpus]["words"]
        metrics[f"{corpus}: the same, by a left trigram"] = counts[corpus]["left-trigram"]
        metrics[f"{corpus}: accuracy of {ENCODERS[name]}"] = tests[corpus]["pairs"]
    return metrics


def train_encoder(name: str, rate: float) -> dict:
    """Pretrain, round to float16, score on test text, and store the checkpoint with its card."""
    settings, seed, started = SETTINGS["encoder"], SETTINGS["seed"], Clock()
    model = encoder(name, seed)
    history = pretrain(model, ENCODERS[name], rate, settings["phases"], seed)
    model.half().float()
    tests, counts = tested(model, name)
    card = weights.Card(
        name=name,
        model=type(model).__name__,
        command=f"make experiment NAME={STUDY.name}",
        corpora=tuple(corpus_entry(corpus, "train") for corpus in settings["corpora"]),
        steps=history["steps"],
        tokens=history["tokens"],
        seed=seed,
        metrics=told(name, tests, counts),
        environment=runtime.environment(),
        good_for=f"watching how {name.partition('-')[0].upper()} is pretrained and fine-tuned, in minutes on a laptop",
        not_good_for="texts unlike scripture and dictionary, facts, anything that people rely on",
        **started.times(),
    )
    weights.export(model, word_pieces(), card)
    return {"task": "train", "model": name, "rate": rate, "tests": tests, "counts": counts} | history


# ---------------------------------------------------------------- decoders


@lru_cache(maxsize=1)
def byte_pairs() -> ByteLevelBPE:
    """One vocabulary for all, learned from as much training text of each corpus, so that it favours none."""
    names = SETTINGS["decoder"]["vocabulary"]
    texts = {name: [d.text for d in datasets.corpus(name, "train")] for name in names}
    size = min(sum(map(len, found)) for found in texts.values())
    return ByteLevelBPE.train(
        [text for found in texts.values() for text in first(found, size)], SETTINGS["decoder"]["vocab_size"]
    )


def first(texts: Sequence[str], size: int) -> list[str]:
    """Texts evenly spaced over all, of about `size` characters together."""
    keep = min(1.0, size / sum(map(len, texts)))
    chosen = np.unique(np.linspace(0, len(texts) - 1, max(1, round(keep * len(texts)))).astype(int))
    return [texts[i] for i in chosen]


def blocks(corpus: str, part: str) -> pretraining.Blocks:
    """All text of a part as blocks of the network's length."""
    vocab = byte_pairs()
    ids = [vocab.encode(document.text) for document in datasets.corpus(corpus, part)]
    return pretraining.pack(ids, SETTINGS["decoder"]["sizes"]["n_positions"], vocab.eos_token_id)


def next_token_loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return pretraining.token_loss(model(batch[0]), batch[1])


def decoder(seed: int) -> GPT2:
    """The untrained network, without dropout as the encoders."""
    vocab = byte_pairs()
    off = {"embedding_dropout": 0.0, "residual_dropout": 0.0, "attention_dropout": 0.0}
    sizes = SETTINGS["decoder"]["sizes"] | {"vocab_size": len(vocab), "eos_token_id": vocab.eos_token_id}
    return GPT2(GPT2Config(**sizes, **off), seed=seed)


def train_next_token(model: GPT2, found: pretraining.Blocks, rate: float, steps: int, seed: int) -> dict:
    """Train in place; mean losses of each 50 steps, tokens read."""
    rows = list(zip(*found, strict=True))
    config = TrainingConfig(
        max_steps=steps, batch_size=SETTINGS["decoder"]["batch_size"], learning_rate=rate, seed=seed
    )
    history = fit(model, rows, next_token_loss, config, progress=False)
    means = [round(float(np.mean(history.losses[i : i + 50])), 4) for i in range(0, steps, 50)]
    return {
        "losses": means,
        "steps": steps,
        "tokens": steps * config.batch_size * model.config.n_positions,
    }


@torch.inference_mode()
def block_nats(model: GPT2, found: pretraining.Blocks) -> float:
    model.eval()
    return float(
        np.mean([next_token_loss(model, [x[None], y[None]]).item() for x, y in zip(*found, strict=True)])
    )


@torch.inference_mode()
def perplexity(model: GPT2, corpus: str) -> float:
    """Per byte of test documents, each alone, seen in overlapping windows."""
    model.eval()
    vocab, size = byte_pairs(), model.config.n_positions
    documents = datasets.corpus(corpus, "test")
    step = max(1, len(documents) // SETTINGS["decoder"]["test_documents"])
    texts = [document.text for document in documents[::step]]
    total, n_tokens = 0.0, 0
    for text in texts:
        ids = vocab.encode(text)
        found = pretraining.windows(ids, size, vocab.eos_token_id)
        for start in range(0, len(found.input_ids), 16):
            rows = slice(start, start + 16)
            total += pretraining.token_nats(model(found.input_ids[rows]), found.labels[rows]).sum().item()
        n_tokens += len(ids)
    return pretraining.perplexity_per_byte(total / n_tokens, n_tokens, texts)


def tune_decoder(source: str, rate: float) -> dict:
    """Validation loss after a short run."""
    settings, seed = SETTINGS["decoder"], SETTINGS["seed"]
    model = decoder(seed)
    history = train_next_token(model, blocks(source, "train"), rate, settings["tuning_steps"], seed)
    held_out = pretraining.Blocks(*(x[: settings["validation_blocks"]] for x in blocks(source, "validation")))
    loss = block_nats(model, held_out)
    return {"task": "tune", "model": f"gpt2-mini-{source}", "rate": rate, "loss": loss} | history


def train_decoder(source: str, rate: float) -> dict:
    """Pretrain, round to float16, score on test text of all corpora, and store the checkpoint with its card."""
    settings, seed, started = SETTINGS["decoder"], SETTINGS["seed"], Clock()
    model = decoder(seed)
    history = train_next_token(model, blocks(source, "train"), rate, settings["steps"], seed)
    model.half().float()
    tests = {corpus: round(perplexity(model, corpus), 4) for corpus in settings["vocabulary"]}
    card = weights.Card(
        name=f"gpt2-mini-{source}",
        model="GPT2",
        command=f"make experiment NAME={STUDY.name}",
        corpora=(corpus_entry(source, "train"),),
        steps=history["steps"],
        tokens=history["tokens"],
        seed=seed,
        metrics={f"{corpus}: perplexity per byte": value for corpus, value in tests.items()},
        environment=runtime.environment(),
        good_for="a start for other old English or dictionary text; seeing what a source gives",
        not_good_for="facts, modern or long text, anything that people rely on",
        **started.times(),
    )
    weights.export(model, byte_pairs(), card)
    return {"task": "train", "model": card.name, "rate": rate, "tests": tests} | history


# ---------------------------------------------------------------- cards and plan


class Clock:
    def __init__(self) -> None:
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def times(self) -> dict:
        seconds, cpu = time.monotonic() - self.wall, time.process_time() - self.cpu
        return {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}


def corpus_entry(name: str, part: str) -> weights.Corpus:
    digest = hashlib.sha256("\n".join(d.text for d in datasets.corpus(name, part)).encode()).hexdigest()
    return weights.Corpus(f"{name}, {part} part", digest, assets.get(ASSET[name]).licence)


def plan_tuning() -> dict:
    encoders = {
        f"tune {name} {rate:g}": (tune_encoder, {"name": name, "rate": rate})
        for name in ENCODERS
        for rate in SETTINGS["encoder"]["rates"]
    }
    decoders = {
        f"tune gpt2-mini-{source} {rate:g}": (tune_decoder, {"source": source, "rate": rate})
        for source in SETTINGS["decoder"]["sources"]
        for rate in SETTINGS["decoder"]["rates"]
    }
    return encoders | decoders


def plan(rates: dict[str, float]) -> dict:
    encoders = {f"train {n}": (train_encoder, {"name": n, "rate": rates[n]}) for n in ENCODERS}
    decoders = {
        f"train gpt2-mini-{s}": (train_decoder, {"source": s, "rate": rates[f"gpt2-mini-{s}"]})
        for s in SETTINGS["decoder"]["sources"]
    }
    return encoders | decoders


def best_rates(tuning: dict[str, dict]) -> dict[str, float]:
    """The rate with the lowest validation loss, for each model."""
    rates = {}
    for name in dict.fromkeys(run["model"] for run in tuning.values()):
        runs = [run for run in tuning.values() if run["model"] == name]
        rates[name] = min(runs, key=lambda run: run["loss"])["rate"]
    return rates


def main(say: Callable[[str], None] = print) -> None:
    tuning = STUDY.run(plan_tuning())
    rates = best_rates(tuning)
    say(f"chosen rates: {rates}")
    STUDY.write(tuning | STUDY.run(plan(rates)), rates=rates)


if __name__ == "__main__":
    main()
