"""BERT on four tasks with real text: fine-tuned from pretrained weights, from a random start, and what needs neither.

make experiment NAME=pretrained/bert

pairs: is this definition the word's? topics: which of WordNet's classes is a definition from? reading: questions that
a program asked about definitions, synthetic; entities: names in editorials, learned from a word list's labels
(silver), tested on 320 sentences marked by reading (gold). The network is MiniLM, which was pretrained on web text and
then tuned on sentence pairs.

Words are split once, by seed 0 of `datasets.wordnet_split`; a seed draws the training items and, moved by 1,000, the
random parts of the network. Names and articles are split anew by each seed. Learning rates are chosen by an
exploratory seed on the validation part, three to five candidates an arm. Of the test items, those come first whose
words `bert-mini` did not meet in pretraining, so that `experiments/pretrained/bert_mini.py` can be tested on these.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, pad

from tlcourse import datasets, metrics, results, spans
from tlcourse.datasets.gold import gold_file
from tlcourse.models import bert
from tlcourse.tokenizers import WordPiece
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.weights import locate

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": {"pairs": 5, "topics": 5, "reading": 3, "entities": 5},  # 0, 1, …
    "start_shift": 1000,  # seed of what is drawn at random in the network: that of the items and this
    "batch_size": {"pairs": 16, "topics": 16, "reading": 8, "entities": 16},
    "n_train": {"pairs": 600, "topics": 600, "reading": 600, "entities": 500},
    "n_validation": {"pairs": 400, "topics": 400, "reading": 200},
    "n_test": {"pairs": 1000, "topics": 1000, "reading": 500},
    "epochs": {"pairs": 2, "topics": 2, "reading": 3, "entities": 2},
    "max_length": {"pairs": 48, "topics": 48, "reading": 112, "entities": 96},
    "n_entries": 2,  # of the small dictionary that a question is about
    "longest_answer": 40,  # tokens
    "rates": [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3],
    "first_rates": {"pretrained": [3e-5, 1e-4, 3e-4], "random": [1e-4, 3e-4, 1e-3]},
    "tfidf_sizes": [600, 2400, 4800],
    "C": [1.0, 10.0, 100.0, 1000.0, 10000.0],
    "gold": results.digest(gold_file()),
}
STUDY = results.Study(
    "pretrained/bert",
    SETTINGS,
    assets=["minilm", "wordnet", "sentiment"],
    plan=("main", "run", "plan", "each_seed", "chosen"),
)
TASKS = ("pairs", "topics", "reading", "entities")
TAGS = ("O", *(f"{place}-{kind}" for kind in ("person", "place", "other") for place in "BI"))
HEADS = {
    "pairs": bert.BertForSequenceClassification,
    "topics": bert.BertForSequenceClassification,
    "reading": bert.BertForQuestionAnswering,
    "entities": bert.BertForTokenClassification,
}


# ---------------------------------------------------------------- items


@lru_cache(maxsize=4)
def word_parts(task: str) -> datasets.Parts:
    """All items of a task that is split by word."""
    if task == "pairs":
        return datasets.gloss_pairs(0)
    if task == "topics":
        return datasets.gloss_topics(0)
    return datasets.gloss_questions(0, n_entries=SETTINGS["n_entries"], no_answer=0.0)


def drawn(items: Sequence, n: int, seed: int, *, step: int = 1) -> list:
    """n items at random, in runs of `step` that stay together: a right pair and the wrong one of the same word."""
    starts = np.random.default_rng(seed).permutation(len(items) // step)[: n // step] * step
    return [items[start + i] for start in starts for i in range(step)]


def training_items(task: str, seed: int) -> list:
    """What a seed learns from. Of the editorials, half the sentences have a name and half have none."""
    n = SETTINGS["n_train"][task]
    if task == "entities":
        silver = datasets.silver_entities(seed).train
        named = [s for s in silver if set(s.tags) != {"O"}]
        plain = [s for s in silver if set(s.tags) == {"O"}]
        return drawn(named, n // 2, seed) + drawn(plain, n // 2, seed)
    return drawn(word_parts(task).train, n, seed, step=2 if task == "pairs" else 1)


def validation_items(task: str, seed: int) -> list:
    if task == "entities":
        return list(datasets.silver_entities(seed).validation)
    part = word_parts(task).validation
    return drawn(part, SETTINGS["n_validation"][task], seed, step=2 if task == "pairs" else 1)


def fresh(task: str, item) -> bool:
    """Whether the pretraining text of `bert-mini` has none of the words whose meaning is asked for."""
    if task == "pairs":
        return item.group not in pretraining_words() and group_of(item.gloss_id) not in pretraining_words()
    return item.group not in pretraining_words()


@lru_cache(maxsize=1)
def pretraining_words() -> frozenset[str]:
    return frozenset(document.group for document in datasets.corpus("wordnet", "train"))


def group_of(synset_id: str) -> str:
    return _groups()[synset_id]


@lru_cache(maxsize=1)
def _groups() -> dict[str, str]:
    return {synset.id: synset.group for synset in datasets.distinct_synsets()}


@lru_cache(maxsize=4)
def test_items(task: str) -> tuple[list, int]:
    """The same for every seed, and how many at the start are `fresh`."""
    if task == "entities":
        return list(datasets.gold_entities()), len(datasets.gold_entities())
    step = 2 if task == "pairs" else 1
    pool, n = word_parts(task).test, SETTINGS["n_test"][task]
    runs = [pool[i : i + step] for i in range(0, len(pool) - step + 1, step)]
    runs = [runs[i] for i in np.random.default_rng(0).permutation(len(runs))]
    runs.sort(key=lambda run: not all(fresh(task, item) for item in run))  # stable
    items = [item for run in runs[: n // step] for item in run]
    return items, step * sum(all(fresh(task, item) for item in run) for run in runs[: n // step])


# ---------------------------------------------------------------- rows: what the network reads


class Row(NamedTuple):
    """Ids and token types of one input, and its target: a class, first and last position, or a tag a position."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    target: tuple[int, ...]


@lru_cache(maxsize=2)
def vocabulary(source: str) -> WordPiece:
    return WordPiece.load(locate(source))


@lru_cache(maxsize=1)
def classes() -> tuple[str, ...]:
    return datasets.topic_classes()


def pieces(source: str, words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Ids of the words' pieces, and the number of the word that each belongs to."""
    ids, word_ids = [], []
    for number, word in enumerate(words):
        found = vocabulary(source).encode(word)
        ids += found
        word_ids += [number] * len(found)
    return ids, word_ids


def context_pieces(source: str, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids of a text's pieces and the characters of the word that each belongs to, so that answers are whole words."""
    places = spans.words(text)
    ids, word_ids = pieces(source, [text[start:end] for start, end in places])
    return ids, [places[number] for number in word_ids]


def joined(source: str, task: str, first: list[int], second: list[int] | None) -> tuple[tuple, tuple, int]:
    """[CLS] first [SEP] second [SEP] cut to length, its token types, and where the second begins."""
    v = vocabulary(source)
    room = SETTINGS["max_length"][task]
    head = [v.cls_token_id, *first[: room - 2], v.sep_token_id]
    if second is None:
        return tuple(head), (0,) * len(head), len(head)
    tail = [*second[: room - len(head) - 1], v.sep_token_id]
    return (*head, *tail), (0,) * len(head) + (1,) * len(tail), len(head)


def row(source: str, task: str, item) -> Row:
    encode = vocabulary(source).encode
    if task == "pairs":
        ids, types, _ = joined(source, task, encode(item.word), encode(item.gloss))
        return Row(ids, types, (item.label,))
    if task == "topics":
        ids, types, _ = joined(source, task, encode(item.text), None)
        return Row(ids, types, (classes().index(item.lexname),))
    if task == "reading":
        context, offsets = context_pieces(source, item.context)
        ids, types, at = joined(source, task, encode(item.question), context)
        answer = spans.token_span(offsets, item.answers[0].start, item.answers[0].end)
        return Row(ids, types, spans.window_target(spans.Window(0, len(ids) - 1 - at, at), answer))
    sentence = tagged(item)
    found, word_ids = pieces(source, sentence.words)
    ids, types, _ = joined(source, task, found, None)
    places = [None, *word_ids[: len(ids) - 2], None]
    return Row(ids, types, tuple(spans.spread_tags(places, sentence.tags, TAGS)))


def tagged(item) -> datasets.Tagged:
    return item if isinstance(item, datasets.Tagged) else item.tagged


def rows(source: str, task: str, items: Sequence) -> list[Row]:
    return [row(source, task, item) for item in items]


def collate(batch: Sequence[Row]) -> dict[str, Tensor]:
    """input_ids, attention_mask, token_type_ids (B, T); target (B, 1), (B, 2) or (B, T), filled up with NO_TAG."""
    width = max(len(r.ids) for r in batch)

    def filled(field: Sequence[tuple], width: int, value: int) -> Tensor:
        return torch.tensor([[*x, *[value] * (width - len(x))] for x in field])

    return {
        "input_ids": filled([r.ids for r in batch], width, 0),  # [PAD] is 0 in both vocabularies
        "attention_mask": filled([(1,) * len(r.ids) for r in batch], width, 0),
        "token_type_ids": filled([r.types for r in batch], width, 0),
        "target": filled([r.target for r in batch], max(len(r.target) for r in batch), spans.NO_TAG),
    }


# ---------------------------------------------------------------- one fine-tuning run


def build(source: str, task: str, arm: str, seed: int):
    """The task's network before training: pretrained with a new head, or `random`, the same one from nothing."""
    n_labels = {"topics": len(classes()), "entities": len(TAGS)}.get(task, 2)
    model = HEADS[task].from_pretrained(source, new_head=True, n_labels=n_labels, seed=seed)
    return model if arm == "pretrained" else HEADS[task](model.config, seed=seed)


def logits(model, batch) -> Tensor:
    return model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])


def loss_of(task: str):
    def loss(model, batch):
        found, target = logits(model, batch), batch["target"]
        if task == "entities":
            return cross_entropy(found.flatten(0, 1), target.flatten(), ignore_index=spans.NO_TAG)
        if task == "reading":  # (B, T, 2): the first position and the last, two choices out of T
            return (
                cross_entropy(found[..., 0], target[:, 0]) + cross_entropy(found[..., 1], target[:, 1])
            ) / 2
        return cross_entropy(found, target[:, 0])

    return loss


def train(source: str, task: str, arm: str, rate: float, seed: int):
    """The fine-tuned network of a seed."""
    start = seed + SETTINGS["start_shift"]
    model = build(source, task, arm, start)
    data = rows(source, task, training_items(task, seed))
    config = TrainingConfig(
        epochs=SETTINGS["epochs"][task],
        batch_size=SETTINGS["batch_size"][task],
        learning_rate=rate,
        seed=start,
    )
    lengths = [len(r.ids) for r in data]
    fit(model, data, loss_of(task), config, collate=collate, lengths=lengths, progress=False)
    return model


def outputs(model, source: str, task: str, items: Sequence) -> Tensor:
    """Logits (N, L), or (N, T, L) at T = max_length positions."""
    data, width = rows(source, task, items), SETTINGS["max_length"][task]

    def forward(model, batch):
        found = logits(model, batch)
        return found if found.ndim == 2 else pad(found, (0, 0, 0, width - found.shape[1]))

    return predict(model, data, collate=collate, lengths=[len(r.ids) for r in data], forward=forward)


def answers(found: Tensor, source: str, items: Sequence) -> dict[str, str]:
    """id → the text of the best span of each question's context."""
    given = {}
    for item, scores in zip(items, found.double().numpy(), strict=True):  # scores: (T, 2)
        context, offsets = context_pieces(source, item.context)
        ids, _, at = joined(source, "reading", vocabulary(source).encode(item.question), context)
        window = spans.Window(0, len(ids) - 1 - at, at)
        best = spans.best_span(
            [window], [scores[:, 0]], [scores[:, 1]], max_tokens=SETTINGS["longest_answer"]
        )
        start, end = spans.characters(offsets, best.first, best.last)
        given[item.id] = item.context[start:end]
    return given


def tags(found: Tensor, source: str, items: Sequence) -> list[list[str]]:
    """A tag a word, that of its first piece; O for words that were cut off."""
    given = []
    for item, scores in zip(items, found.argmax(-1).numpy(), strict=True):
        sentence = tagged(item)
        _, word_ids = pieces(source, sentence.words)
        first = {}
        for position, number in enumerate(word_ids[: SETTINGS["max_length"]["entities"] - 2], 1):
            first.setdefault(number, TAGS[scores[position]])
        given.append([first.get(number, "O") for number in range(len(sentence.words))])
    return given


# ---------------------------------------------------------------- scores


def numbered(groups: Sequence[str]) -> list[int]:
    return np.unique(np.array(groups, dtype=str), return_inverse=True)[1].tolist()


def digits(right: Sequence) -> str:
    return "".join("1" if r else "0" for r in right)


def scored_classes(guesses: np.ndarray, items: Sequence, task: str) -> dict:
    truth = np.array([i.label if task == "pairs" else classes().index(i.lexname) for i in items])
    right = guesses == truth
    return {
        "accuracy": float(right.mean()),
        "macro_f1": float(f1_score(truth, guesses, labels=np.unique(truth), average="macro")),
        "right": digits(right),
        "groups": numbered([i.group for i in items]),
    }


def scored_answers(given: dict[str, str], items: Sequence) -> dict:
    """Percent over all; each question's exact match and F1; its kind is in the record of the baseline."""
    score = metrics.reading_scores(given, datasets.answer_texts(items))
    each = [score.by_question[i.id] for i in items]
    return {
        "exact": score.exact,
        "f1": score.f1,
        "right": digits(exact for exact, _ in each),
        "f1s": [round(f1, 4) for _, f1 in each],
        "groups": numbered([i.group for i in items]),
    }


def scored_tags(given: Sequence[Sequence[str]], items: Sequence, known: frozenset = frozenset()) -> dict:
    """Entity-level F1, and for each sentence [right, in the truth, predicted].

    known: names of the training sentences, as words in lower case; `new`: [right, in the truth] without them.
    """
    truth = [tagged(i) for i in items]
    counts, new = [], []
    for sentence, guess in zip(truth, given, strict=True):
        wanted, found = set(spans.spans_of_tags(sentence.tags)), set(spans.spans_of_tags(guess))
        unknown = {s for s in wanted if name_at(sentence, s) not in known}
        counts.append([len(wanted & found), len(wanted), len(found)])
        new.append([len(unknown & found), len(unknown)])
    score = metrics.entity_scores([t.tags for t in truth], given)["all"]
    return {
        "f1": score.f1,
        "precision": score.precision,
        "recall": score.recall,
        "counts": counts,
        "new": new,
        "groups": numbered([t.group for t in truth]),
    }


def name_at(sentence: datasets.Tagged, span: spans.Span) -> tuple[str, ...]:
    return tuple(word.casefold() for word in sentence.words[span.start : span.end])


def names_of(sentences: Sequence[datasets.Tagged]) -> frozenset:
    return frozenset(name_at(s, span) for s in sentences for span in spans.spans_of_tags(s.tags))


def scored(model, source: str, task: str, items: Sequence, seed: int) -> dict:
    found = outputs(model, source, task, items)
    if task == "reading":
        return scored_answers(answers(found, source, items), items)
    if task == "entities":
        return scored_tags(tags(found, source, items), items, names_of(training_items(task, seed)))
    return scored_classes(found.argmax(-1).numpy(), items, task)


MAIN_SCORE = {"pairs": "accuracy", "topics": "accuracy", "reading": "exact", "entities": "f1"}


# ---------------------------------------------------------------- jobs


def tune(source: str, task: str, arm: str, rate: float) -> dict:
    """One candidate rate on the validation part."""
    seed = SETTINGS["exploratory_seed"]
    found = scored(train(source, task, arm, rate, seed), source, task, validation_items(task, seed), seed)
    key = {"what": "tune", "source": source, "task": task, "arm": arm, "rate": rate, "seed": seed}
    return key | {"score": found[MAIN_SCORE[task]]}


def finetune(source: str, task: str, arm: str, rate: float, seed: int, *, fresh_only: bool = False) -> dict:
    """One fine-tuned network on the test items, or on the `fresh` ones among them."""
    items, n_fresh = test_items(task)
    items = items[:n_fresh] if fresh_only else items
    key = {"what": "test", "source": source, "task": task, "arm": arm, "seed": seed, "rate": rate}
    key |= {"n": SETTINGS["n_train"][task], "n_fresh": n_fresh}
    return key | scored(train(source, task, arm, rate, seed), source, task, items, seed)


def runs_of(task: str, arm: str, found: dict, **more) -> list[dict]:
    """What no seed changes, once for each seed, so that it can be paired."""
    return [
        {"what": "test", "task": task, "arm": arm, "seed": s} | more | found
        for s in range(SETTINGS["seeds"][task])
    ]


def rules() -> dict:
    """What learns from nothing: overlap of letters for pairs, overlap of words for questions, lookup of names."""
    pairs, n_fresh = test_items("pairs")
    found = scored_classes((datasets.overlap_scores(pairs) > 0).astype(int), pairs, "pairs")
    runs = runs_of("pairs", "overlap", found, n_fresh=n_fresh)
    questions, n_fresh = test_items("reading")
    found = scored_answers({q.id: datasets.overlap_answer(q) for q in questions}, questions)
    kinds = [q.id.split("-")[0] for q in questions]
    runs += runs_of("reading", "overlap", found, n_fresh=n_fresh, kinds=kinds)
    gold, _ = test_items("entities")
    found = scored_tags([datasets.lookup_tags(datasets.editorial_gazetteer(), s.text) for s in gold], gold)
    halves = [s.half for s in gold]
    return {"runs": runs + runs_of("entities", "lookup", found, halves=halves)}


@torch.inference_mode()
def sentence_vectors(texts: Sequence[str]) -> Tensor:
    """(N, D) means over MiniLM's last states, which is how it was tuned to be read."""
    encoder = bert.Bert.from_pretrained("minilm")
    data = []
    for text in texts:
        ids, types, _ = joined("minilm", "pairs", vocabulary("minilm").encode(text), None)
        data.append(Row(ids, types, (0,)))

    def forward(model, batch):
        kept = batch["attention_mask"].unsqueeze(-1)  # (B, T, 1)
        return (logits(model, batch) * kept).sum(1) / kept.sum(1)  # (B, D)

    return predict(encoder, data, collate=collate, lengths=[len(r.ids) for r in data], forward=forward)


def similarity() -> dict:
    """Pairs by the cosine of MiniLM's vectors of word and definition; only a threshold is learned."""

    def cosines(pairs) -> np.ndarray:
        words, glosses = (sentence_vectors([getattr(p, name) for p in pairs]) for name in ("word", "gloss"))
        return cosine_similarity(words, glosses).numpy()

    items, n_fresh = test_items("pairs")
    test, runs = cosines(items), []
    for seed in range(SETTINGS["seeds"]["pairs"]):
        known = training_items("pairs", seed)
        scores, labels = cosines(known), np.array([p.label for p in known])
        best = max(np.sort(scores), key=lambda t: ((scores >= t) == labels).mean())
        key = {"what": "test", "task": "pairs", "arm": "cosine", "seed": seed, "threshold": float(best)}
        key |= {"n": len(known), "n_fresh": n_fresh}
        runs.append(key | scored_classes((test >= best).astype(int), items, "pairs"))
    return {"runs": runs}


def tfidf(n: int, seed: int) -> dict:
    """Topics by TF-IDF of words and logistic regression, C chosen on a part of the n definitions, one in five."""
    glosses = drawn(word_parts("topics").train, n, seed)
    texts, labels = [g.text for g in glosses], datasets.topic_labels(glosses, classes())
    items, n_fresh = test_items("topics")
    cut, scores = n // 5, {}

    def fitted(known: slice, C: float):
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
        return words, LogisticRegression(C=C, max_iter=200).fit(
            words.fit_transform(texts[known]), labels[known]
        )

    for C in SETTINGS["C"]:
        words, model = fitted(slice(cut, n), C)
        scores[C] = float(np.mean(model.predict(words.transform(texts[:cut])) == labels[:cut]))
    C = max(scores, key=lambda c: (scores[c], -c))
    words, model = fitted(slice(0, n), C)
    guesses = model.predict(words.transform([i.text for i in items]))
    key = {"what": "test", "task": "topics", "arm": "tfidf", "n": n, "seed": seed, "C": C, "n_fresh": n_fresh}
    return key | scored_classes(guesses, items, "topics")


def word_features(words: Sequence[str], i: int) -> dict:
    """What a classical tagger sees of a word: itself, its shape, and its neighbours. The letters' case is kept."""

    def shape(word: str) -> str:
        return "".join("A" if c.isupper() else "a" if c.islower() else c for c in word)[:6]

    found = {"first": i == 0}
    for shift in (-1, 0, 1):
        word = words[i + shift] if 0 <= i + shift < len(words) else ""
        found |= {f"word{shift}": word.casefold(), f"shape{shift}": shape(word)}
    return found | {"start": words[i][:3], "end": words[i][-3:]}


def shapes(seed: int) -> dict:
    """Entities by logistic regression on words and their shapes, from all silver sentences; C chosen on validation."""
    silver, gold = datasets.silver_entities(seed), test_items("entities")[0]

    def table(sentences) -> list[dict]:
        return [word_features(s.words, i) for s in sentences for i in range(len(s.words))]

    def guessed(model, items) -> list[list[str]]:
        sentences = [tagged(i) for i in items]
        flat = iter(model.predict(vectorizer.transform(table(sentences))))
        return [[str(next(flat)) for _ in s.words] for s in sentences]

    known = training_items("entities", seed)
    vectorizer = DictVectorizer()
    x, y = vectorizer.fit_transform(table(known)), [tag for s in known for tag in s.tags]
    models = {C: LogisticRegression(C=C, max_iter=200).fit(x, y) for C in SETTINGS["C"]}
    score = {
        C: scored_tags(guessed(m, silver.validation), silver.validation)["f1"] for C, m in models.items()
    }
    C = max(score, key=lambda c: (score[c], -c))
    key = {"what": "test", "task": "entities", "arm": "shapes", "seed": seed, "C": C, "n": len(known)}
    return key | scored_tags(guessed(models[C], gold), gold, names_of(known))


# ---------------------------------------------------------------- which jobs


def chosen(study: results.Study, source: str, job, tasks: Sequence[str]) -> tuple[dict, dict]:
    """The best rate of each task and arm, and the tuning records. The grid is widened until its best lies inside.

    At most five candidates an arm: where even then the best is the outermost, it is taken.
    """
    ladder, records = SETTINGS["rates"], {}
    grids = {(task, arm): list(g) for task in tasks for arm, g in SETTINGS["first_rates"].items()}
    while True:
        jobs = {
            f"tune {source} {task} {arm} {rate:g}": (
                job,
                {"source": source, "task": task, "arm": arm, "rate": rate},
            )
            for (task, arm), grid in grids.items()
            for rate in grid
        }
        records = study.run(jobs)
        best, wider = {}, False
        for (task, arm), grid in grids.items():
            score = {r: records[f"tune {source} {task} {arm} {r:g}"]["score"] for r in grid}
            best[task, arm] = found = max(grid, key=lambda r: (score[r], -r))
            at = ladder.index(found)
            more = at - 1 if found == grid[0] else at + 1 if found == grid[-1] else -1
            if 0 <= more < len(ladder) and len(grid) < 5 and max(score.values()) > min(score.values()):
                grids[task, arm], wider = sorted([*grid, ladder[more]]), True
        if not wider:
            return best, records


def plan(rates: dict) -> dict:
    jobs = {"rules": (rules, {}), "similarity": (similarity, {})}
    for seed in range(max(SETTINGS["seeds"].values())):
        for (task, arm), rate in rates.items():
            if seed < SETTINGS["seeds"][task]:
                arguments = {"source": "minilm", "task": task, "arm": arm, "rate": rate, "seed": seed}
                jobs[f"minilm {task} {arm} {seed}"] = (finetune, arguments)
        if seed < SETTINGS["seeds"]["topics"]:
            jobs |= {f"tfidf {n} {seed}": (tfidf, {"n": n, "seed": seed}) for n in SETTINGS["tfidf_sizes"]}
        if seed < SETTINGS["seeds"]["entities"]:
            jobs[f"shapes {seed}"] = (shapes, {"seed": seed})
    return jobs


def each_seed(job, rates: dict) -> dict:
    """One job(task, arm, rate, seed) for each seed of each task and arm."""
    jobs = {}
    for (task, arm), rate in rates.items():
        for seed in range(SETTINGS["seeds"][task]):
            arguments = {"task": task, "arm": arm, "rate": rate, "seed": seed}
            jobs[f"{task} {arm} {seed}"] = (job, arguments)
    return jobs


def run(study: results.Study, source: str, job, plan) -> None:
    """Choose the rates with tuning job(source, task, arm, rate), run plan(rates), store all."""
    rates, records = chosen(study, source, job, TASKS)
    print("chosen rates:", rates)
    told = {f"{task} {arm}": rate for (task, arm), rate in rates.items()}
    study.write(records | study.run(plan(rates)), rates=told)


def main() -> None:
    run(STUDY, "minilm", tune, plan)


if __name__ == "__main__":
    main()
