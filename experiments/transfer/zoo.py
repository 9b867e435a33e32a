"""Small networks of known pasts, to choose sources among.  make experiment NAME=transfer/zoo

Images: one ResNet, one random start, one number of steps, nine sources: clothes (Fashion-MNIST), two halves of their
classes, one half turned, inverted, with labels dealt anew, or only told which way up; handwritten digits; printed
letters. Texts: one BERT, one vocabulary, seven sources: hidden words of Shakespeare and of package descriptions; books
of the Bible, plays, verbs, film reviews, film reviews with labels dealt anew. Each is stored with its classifier and a
card, in data/checkpoints/zoo-…. The rate of each kind of training is the best of a grid on one source of the kind;
classes of texts have one for each source, after as many steps as it then trains for: what is best after few lets some
collapse later.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlcourse import assets, datasets, pretraining, results, runtime, weights
from tlcourse.datasets import Images
from tlcourse.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification
from tlcourse.models.resnet import ResNet, ResNetConfig
from tlcourse.tokenizers import WordPiece
from tlcourse.training import TrainingConfig, fit, predict

SETTINGS = {
    "seed": 0,
    "images": {
        "side": 28,
        "sizes": {"n_blocks": [1, 1, 1], "widths": [16, 32, 64], "small_stem": True, "n_channels": 1},
        # Each half has things that look alike: shirts and coats and shoes in the one, dresses and tops in the other.
        "halves": {"a": [0, 1, 3, 5, 8], "b": [2, 4, 6, 7, 9]},
        "sources": {
            "clothes": "clothes in ten kinds",
            "clothes-a": "clothes of one half of the kinds",
            "clothes-b": "clothes of the other half of the kinds",
            "clothes-turned": "clothes of the first half, each on its side",
            "clothes-inverted": "clothes of the first half, dark on white",
            "clothes-dealt": "clothes of the first half, the kinds dealt out among the pictures anew",
            "clothes-turns": "which way up clothes of the first half are",
            "digits": "handwritten digits",
            "letters": "printed capitals in many fonts, shifted and turned",
        },
        "letters": 12000,
        "held_out": {"clothes": 5000, "digits": 297, "letters": 2000},
        "batch_size": 64,
        "steps": 900,
        "tuning_steps": 150,
        "rates": [1e-3, 3e-3, 1e-2, 3e-2],
        "tuned_on": "clothes-a",
    },
    "texts": {
        "vocab_size": 4096,
        "vocabulary_characters": 500_000,
        "sizes": {"d_model": 64, "n_layers": 3, "n_heads": 4, "d_inner": 256, "n_positions": 64},
        "length": 32,
        "masked": {
            "sources": ["shakespeare", "descriptions"],
            "batch_size": 32,
            "steps": 2500,
            "tuning_steps": 400,
            "rates": [3e-4, 1e-3, 3e-3, 1e-2],
            "tuned_on": "shakespeare",
        },
        "classes": {
            "sources": ["books", "plays", "verbs", "films", "films-dealt"],
            "batch_size": 32,
            "steps": 1800,
            "rates": [1e-4, 3e-4, 1e-3, 3e-3],
            "tuned_as": {"films-dealt": "films"},  # labels dealt out anew have no best rate
        },
        "most": 30000,
        "held_out": 1000,
    },
}
STUDY = results.Study(
    "transfer/zoo",
    SETTINGS,
    assets=[
        *("fashion-mnist", "digits", "shakespeare", "king-james-bible", "debian-descriptions", "wordnet"),
        "sentiment",
    ],
)
TEXTS = {
    "shakespeare": "plays and poems of Shakespeare",
    "descriptions": "descriptions of Debian's packages",
    "books": "the book of the Bible that a verse is from",
    "plays": "the work of Shakespeare that a speech is from",
    "verbs": "the class of verbs that a definition of WordNet is of",
    "films": "whether a sentence on a film is positive",
    "films-dealt": "sentences on films, labels dealt out anew",
}
FONTS = "Bitstream Vera, with DejaVu's changes in the public domain"


# ---------------------------------------------------------------- images


def image_source(name: str, part: str) -> Images:
    """What a source learns from ("train") or is scored on ("held out"): (N, 28, 28) bytes and labels from 0."""
    if name == "digits":
        return digits(part)
    if name == "letters":
        return letters(part)
    kind, _, variant = name.partition("-")
    pictures = held(datasets.fashion_mnist("train"), kind, part)
    return VARIANTS[variant](pictures)


def held(data: Images, kind: str, part: str) -> Images:
    """The last items are held out, the others learned from."""
    n = len(data.labels) - SETTINGS["images"]["held_out"][kind]
    rows = slice(n) if part == "train" else slice(n, None)
    return Images(data.images[rows], data.labels[rows])


def half(which: str, data: Images) -> Images:
    """The pictures of one half of the kinds, labels 0…4."""
    kinds = SETTINGS["images"]["halves"][which]
    chosen = np.isin(data.labels, kinds)
    return Images(data.images[chosen], np.searchsorted(kinds, data.labels[chosen]))


def turned(data: Images) -> Images:
    found = half("a", data)
    return Images(np.ascontiguousarray(np.rot90(found.images, axes=(1, 2))), found.labels)


def inverted(data: Images) -> Images:
    found = half("a", data)
    return Images(255 - found.images, found.labels)


def dealt(data: Images) -> Images:
    """The same labels on other pictures: nothing is left to learn but by heart (Zhang et al. 2017)."""
    found = half("a", data)
    return Images(found.images, np.random.default_rng(SETTINGS["seed"]).permutation(found.labels))


def turns(data: Images) -> Images:
    """Each picture turned by a quarter or not; the label says how often (Gidaris et al. 2018)."""
    found = half("a", data)
    labels = np.random.default_rng(SETTINGS["seed"]).integers(0, 4, len(found.labels))
    images = np.stack([np.rot90(image, n) for image, n in zip(found.images, labels, strict=True)])
    return Images(images, labels)


VARIANTS: dict[str, Callable[[Images], Images]] = {
    "": lambda data: data,
    "a": partial(half, "a"),
    "b": partial(half, "b"),
    "turned": turned,
    "inverted": inverted,
    "dealt": dealt,
    "turns": turns,
}


def digits(part: str) -> Images:
    return held(enlarged_digits(), "digits", part)


@lru_cache(maxsize=1)
def enlarged_digits() -> Images:
    """8 × 8 pixels to 28 × 28, bilinear."""
    data, side = datasets.digits(), SETTINGS["images"]["side"]
    small = np.round(data.images * (255 / 16)).astype(np.uint8)
    images = [Image.fromarray(i).resize((side, side), Image.Resampling.BILINEAR) for i in small]
    return Images(np.stack([np.asarray(i) for i in images]), data.labels)


@lru_cache(maxsize=1)
def all_letters() -> Images:
    """Capitals in the DejaVu fonts that come with Matplotlib, size, place and angle drawn at random."""
    settings, side = SETTINGS["images"], SETTINGS["images"]["side"]
    rng = np.random.default_rng(settings["held_out"]["letters"])
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = sorted(p for p in folder.glob("DejaVuS*.ttf") if "Display" not in p.name)
    fonts = [ImageFont.truetype(str(file), size) for file in files for size in range(16, 25)]
    labels = rng.integers(0, 26, settings["letters"])
    images = np.empty((len(labels), side, side), np.uint8)
    for image, label in zip(images, labels, strict=True):
        page = Image.new("L", (side, side))
        place = side / 2 + rng.uniform(-3, 3, 2)
        font = fonts[rng.integers(len(fonts))]
        ImageDraw.Draw(page).text(tuple(place), chr(65 + label), fill=255, font=font, anchor="mm")
        image[...] = page.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR)
    return Images(images, labels)


def letters(part: str) -> Images:
    return held(all_letters(), "letters", part)


def pixels(images: np.ndarray) -> Tensor:
    """Bytes (N, H, W) to (N, 1, H, W) in −1…1."""
    return torch.from_numpy(np.ascontiguousarray(images)).float().div(127.5).sub(1).unsqueeze(1)


def image_network(n_classes: int, seed: int) -> ResNet:
    """Of one seed, all are alike but for their heads."""
    return ResNet(ResNetConfig(**SETTINGS["images"]["sizes"], num_classes=n_classes), seed=seed)


@dataclass(frozen=True)
class Rows:
    """Items as fit wants them: numbers, which collate turns into batches at once."""

    n: int

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index


def train_images(name: str, rate: float, steps: int, seed: int) -> tuple[ResNet, list[float]]:
    """The trained network and its mean losses of each 50 steps."""
    data = image_source(name, "train")
    model = image_network(int(data.labels.max()) + 1, seed)
    labels = torch.from_numpy(data.labels)

    def loss(m: nn.Module, rows: Tensor) -> Tensor:
        return cross_entropy(m(pixels(data.images[rows.numpy()])), labels[rows])

    config = TrainingConfig(
        max_steps=steps, batch_size=SETTINGS["images"]["batch_size"], learning_rate=rate, seed=seed
    )
    history = fit(model, Rows(len(labels)), loss, config, progress=False)
    return model, means(history.losses)


def means(losses: Sequence[float]) -> list[float]:
    return [round(float(np.mean(losses[i : i + 50])), 4) for i in range(0, len(losses), 50)]


def image_accuracy(model: nn.Module, data: Images) -> float:
    logits = predict(model, list(pixels(data.images)), batch_size=250)
    return round(float((logits.argmax(1).numpy() == data.labels).mean()), 4)


# ---------------------------------------------------------------- texts


def text_source(name: str, part: str) -> tuple[list[str], np.ndarray]:
    """Texts of a source and their classes, from 0; of those that have none, zeros. part: "train" or "held out".

    Classes are numbered as they are in training; what is of another is not held out.
    """
    settings = SETTINGS["texts"]
    classes, number = np.unique(np.array(read(name, "train")[1]), return_inverse=True)
    texts, names = read(name, "train" if part == "train" else "test")
    if part == "train":
        labels, known = number, np.arange(len(texts))
    else:
        labels = np.searchsorted(classes, names)
        known = np.flatnonzero(np.isin(names, classes))
    if name.endswith("dealt"):
        labels = np.random.default_rng(SETTINGS["seed"]).permutation(labels)
    order = known[np.random.default_rng(settings["most"]).permutation(len(known))]
    chosen = order[: settings["most"] if part == "train" else settings["held_out"]]
    return [texts[i] for i in chosen], labels[chosen]


@lru_cache(maxsize=4)
def read(name: str, part: str) -> tuple[list[str], list]:
    """Texts and the names of their classes; part: "train" or "test"."""
    return READ[name](part)


def passages(corpus: str, part: str) -> tuple[list[str], list[str]]:
    """Sentences, verses or speeches of three words and more."""
    found = [s for d in datasets.corpus(corpus, part) for s in d.sentences if len(s.split()) > 2]
    return found, [""] * len(found)


def works(corpus: str, part: str) -> tuple[list[str], list[str]]:
    """Passages of works that are only read in training, and which work each is from.

    Test text comes from other books and plays, so what is held out here is a part of every work: one document in ten.
    """
    found = []
    for number, document in enumerate(datasets.corpus(corpus, "train")):
        if (number % 10 == 9) == (part == "test"):
            work = document.id.partition("/")[0] if corpus == "shakespeare" else document.group
            found += [(s, work) for s in document.sentences if len(s.split()) > 2]
    return [text for text, _ in found], [work for _, work in found]


def verbs(part: str) -> tuple[list[str], list[str]]:
    """Definitions of verbs and their classes; targets have definitions of nouns."""
    lexname = {s.id: s.lexname for s in datasets.distinct_synsets()}
    found = [
        (document.sentences[0].partition(": ")[2], lexname[document.id])
        for document in datasets.corpus("wordnet", part)
        if lexname[document.id].startswith("verb.") and ": " in document.sentences[0]
    ]
    return [text for text, _ in found], [name for _, name in found]


def films(part: str) -> tuple[list[str], list[int]]:
    found = getattr(datasets.sentiment_split("films", SETTINGS["seed"]), part)
    return datasets.texts(found), list(datasets.labels(found))


READ: dict[str, Callable[[str], tuple[list[str], list]]] = {
    "shakespeare": partial(passages, "shakespeare"),
    "descriptions": partial(passages, "descriptions"),
    "books": partial(works, "bible"),
    "plays": partial(works, "shakespeare"),
    "verbs": verbs,
    "films": films,
    "films-dealt": films,
}


@lru_cache(maxsize=1)
def word_pieces() -> WordPiece:
    """One vocabulary for all, learned from as much training text of each of their sources."""
    settings = SETTINGS["texts"]
    texts = []
    for name in ("shakespeare", "descriptions", "books", "verbs", "films"):
        found = read(name, "train")[0]
        keep = min(len(found), round(len(found) * settings["vocabulary_characters"] / sum(map(len, found))))
        texts += [found[i] for i in np.unique(np.linspace(0, len(found) - 1, keep).astype(int))]
    return WordPiece.train(texts, settings["vocab_size"])


def encoded(texts: Sequence[str]) -> list[list[int]]:
    """[CLS], the text cut to the length, [SEP]."""
    vocab, length = word_pieces(), SETTINGS["texts"]["length"] - 2
    return [[vocab.cls_token_id, *vocab.encode(text)[:length], vocab.sep_token_id] for text in texts]


def padded(rows: Sequence[tuple[list[int], int]]) -> dict[str, Tensor]:
    ids = [torch.tensor(ids) for ids, _ in rows]
    pad = word_pieces().pad_token_id
    input_ids = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
    mask = torch.arange(input_ids.shape[1]) < torch.tensor([len(i) for i in ids])[:, None]
    return {"input_ids": input_ids, "mask": mask.long(), "labels": torch.tensor([y for _, y in rows])}


def text_network(name: str, n_classes: int, seed: int) -> BertForMaskedLM | BertForSequenceClassification:
    """Of one seed, all are alike but for their heads. No dropout: the texts are seen few times."""
    sizes = SETTINGS["texts"]["sizes"] | {"vocab_size": len(word_pieces()), "n_labels": n_classes}
    config = BertConfig(**sizes, dropout=0.0, attention_dropout=0.0)
    return (BertForMaskedLM if kind_of(name) == "masked" else BertForSequenceClassification)(
        config, seed=seed
    )


def kind_of(name: str) -> str:
    return "masked" if name in SETTINGS["texts"]["masked"]["sources"] else "classes"


class HiddenWords:
    """The loss at hidden words, its masks drawn from a seed; the tokens that were read."""

    def __init__(self, seed: int):
        vocab = word_pieces()
        special = (vocab.pad_token_id, vocab.cls_token_id, vocab.sep_token_id)
        self.config = pretraining.MaskingConfig(vocab.mask_token_id, len(vocab), special)
        self.seed, self.calls = seed, 0

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        generator = pretraining.epoch_generator(self.seed, 0, self.calls)
        self.calls += 1
        hidden = pretraining.mask_words(batch["input_ids"], self.config, generator)
        at = hidden.labels != pretraining.IGNORED
        return pretraining.token_loss(model(hidden.input_ids, batch["mask"], positions=at), hidden.labels[at])


def class_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return cross_entropy(model(batch["input_ids"], batch["mask"]), batch["labels"])


def train_texts(name: str, rate: float, steps: int, seed: int) -> tuple[nn.Module, list[float], int]:
    """The trained network, its mean losses of each 50 steps, and the tokens that it read."""
    texts, labels = text_source(name, "train")
    rows = list(zip(encoded(texts), labels.tolist(), strict=True))
    model = text_network(name, int(labels.max()) + 1 if kind_of(name) == "classes" else 2, seed)
    objective = HiddenWords(seed) if kind_of(name) == "masked" else class_loss
    tokens = 0

    def loss(m: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        nonlocal tokens
        tokens += int(batch["mask"].sum())
        return objective(m, batch)

    settings = SETTINGS["texts"][kind_of(name)]
    config = TrainingConfig(max_steps=steps, batch_size=settings["batch_size"], learning_rate=rate, seed=seed)
    lengths = [len(ids) for ids, _ in rows]
    history = fit(model, rows, loss, config, collate=padded, lengths=lengths, progress=False)
    return model, means(history.losses), tokens


@torch.inference_mode()
def text_scores(model: nn.Module, name: str) -> dict[str, float]:
    """Of held-out text: loss at hidden words in nats, or accuracy, and that of the commonest class."""
    texts, labels = text_source(name, "held out")
    rows = list(zip(encoded(texts), labels.tolist(), strict=True))
    model.eval()
    batches = [padded(rows[i : i + 50]) for i in range(0, len(rows), 50)]
    if kind_of(name) == "masked":
        loss = HiddenWords(SETTINGS["seed"] + 1)
        nats = np.mean([loss(model, batch).item() for batch in batches])
        return {"nats at a hidden word": round(float(nats), 4)}
    guesses = torch.cat([model(b["input_ids"], b["mask"]).argmax(1) for b in batches]).numpy()
    return scored(guesses, labels)


def scored(guesses: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": round(float((guesses == labels).mean()), 4),
        "share of the commonest class": round(float(np.bincount(labels).max() / len(labels)), 4),
    }


# ---------------------------------------------------------------- jobs


def tune_images(rate: float) -> dict:
    """Held-out accuracy of one rate after a short run."""
    settings = SETTINGS["images"]
    name = settings["tuned_on"]
    model, losses = train_images(name, rate, settings["tuning_steps"], SETTINGS["seed"])
    score = image_accuracy(model, image_source(name, "held out"))
    return {"task": "tune", "kind": "images", "rate": rate, "score": score, "losses": losses}


def tune_masked(rate: float) -> dict:
    """Minus the held-out loss of one rate after a short run."""
    settings = SETTINGS["texts"]["masked"]
    name = settings["tuned_on"]
    model, losses, _ = train_texts(name, rate, settings["tuning_steps"], SETTINGS["seed"])
    score = -text_scores(model, name)["nats at a hidden word"]
    return {"task": "tune", "kind": "masked", "rate": rate, "score": score, "losses": losses}


def tune_classes(name: str, rate: float) -> dict:
    """Held-out accuracy of one rate after all steps."""
    model, losses, _ = train_texts(name, rate, SETTINGS["texts"]["classes"]["steps"], SETTINGS["seed"])
    score = text_scores(model, name)["accuracy"]
    return {"task": "tune", "kind": name, "rate": rate, "score": score, "losses": losses}


def make_images(name: str, rate: float) -> dict:
    """Train, round to float16, score, and store with its card."""
    settings, seed, started = SETTINGS["images"], SETTINGS["seed"], Clock()
    model, losses = train_images(name, rate, settings["steps"], seed)
    model.half().float()
    data = image_source(name, "held out")
    logits = predict(model, list(pixels(data.images)), batch_size=250)
    found = scored(logits.argmax(1).numpy(), data.labels)
    train = image_source(name, "train")
    asset = {"digits": "digits"}.get(name, "fashion-mnist")
    licence = FONTS if name == "letters" else assets.get(asset).licence
    described = settings["sources"][name]
    corpus = weights.Corpus(described, digest(train.images.tobytes(), train.labels.tobytes()), licence)
    facts = {"steps": settings["steps"], "tokens": settings["steps"] * settings["batch_size"]}
    store(model, None, f"zoo-{name}", corpus, facts, found, started)
    return {"task": "make", "source": name, "rate": rate, "losses": losses, "scores": found} | facts


def make_texts(name: str, rate: float) -> dict:
    """Train, round to float16, score, and store with its card."""
    settings, seed, started = SETTINGS["texts"][kind_of(name)], SETTINGS["seed"], Clock()
    model, losses, tokens = train_texts(name, rate, settings["steps"], seed)
    model.half().float()
    found = text_scores(model, name)
    texts, labels = text_source(name, "train")
    licence = assets.get(ASSETS[name]).licence
    corpus = weights.Corpus(TEXTS[name], digest("\n".join(texts).encode(), labels.tobytes()), licence)
    facts = {"steps": settings["steps"], "tokens": tokens}
    store(model, word_pieces(), f"zoo-{name}", corpus, facts, found, started)
    return {"task": "make", "source": name, "rate": rate, "losses": losses, "scores": found} | facts


ASSETS = {
    "shakespeare": "shakespeare",
    "descriptions": "debian-descriptions",
    "books": "king-james-bible",
    "plays": "shakespeare",
    "verbs": "wordnet",
    "films": "sentiment",
    "films-dealt": "sentiment",
}


class Clock:
    def __init__(self) -> None:
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def times(self) -> dict:
        seconds, cpu = time.monotonic() - self.wall, time.process_time() - self.cpu
        return {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def store(
    model: nn.Module,
    tokenizer: WordPiece | None,
    name: str,
    corpus: weights.Corpus,
    facts: dict[str, int],
    metrics: dict[str, float],
    started: Clock,
) -> None:
    card = weights.Card(
        name=name,
        model=type(model).__name__,
        command=f"make experiment NAME={STUDY.name}",
        corpora=(corpus,),
        seed=SETTINGS["seed"],
        metrics={f"held out: {what}": value for what, value in metrics.items()},
        environment=runtime.environment(),
        good_for="one source among many of known pasts, to see which a target should start from",
        not_good_for="its own task: it trained for a minute, and some were taught nonsense on purpose",
        **facts,
        **started.times(),
    )
    weights.export(model, tokenizer, card)


# ---------------------------------------------------------------- plan


def plan_tuning() -> dict:
    jobs = {f"tune images {rate:g}": (tune_images, {"rate": rate}) for rate in SETTINGS["images"]["rates"]}
    for rate in SETTINGS["texts"]["masked"]["rates"]:
        jobs[f"tune masked {rate:g}"] = (tune_masked, {"rate": rate})
    classes = SETTINGS["texts"]["classes"]
    for name in classes["sources"]:
        if name not in classes["tuned_as"]:
            for rate in classes["rates"]:
                jobs[f"tune {name} {rate:g}"] = (tune_classes, {"name": name, "rate": rate})
    return jobs


def plan(rates: dict[str, float]) -> dict:
    images = {
        f"make {name}": (make_images, {"name": name, "rate": rates["images"]})
        for name in SETTINGS["images"]["sources"]
    }
    texts = SETTINGS["texts"]
    tuned = dict.fromkeys(texts["masked"]["sources"], "masked")
    tuned |= {name: texts["classes"]["tuned_as"].get(name, name) for name in texts["classes"]["sources"]}
    return images | {
        f"make {name}": (make_texts, {"name": name, "rate": rates[kind]}) for name, kind in tuned.items()
    }


def best_rates(tuning: dict[str, dict]) -> dict[str, float]:
    """The rate with the best score of each kind."""
    kinds = dict.fromkeys(run["kind"] for run in tuning.values())
    runs = {kind: [run for run in tuning.values() if run["kind"] == kind] for kind in kinds}
    return {kind: max(found, key=lambda run: run["score"])["rate"] for kind, found in runs.items()}


def main(say: Callable[[str], None] = print) -> None:
    tuning = STUDY.run(plan_tuning())
    rates = best_rates(tuning)
    say(f"chosen rates: {rates}")
    STUDY.write(tuning | STUDY.run(plan(rates)), rates=rates)


if __name__ == "__main__":
    main()
