"""What is a pretrained encoder worth in labels?  make experiment NAME=transfer/concepts

MiniLM's frozen features under a linear probe, against TF-IDF with logistic regression on the same n sentences and on
all of them, in four domains and on ten splits by group. Which words and letters TF-IDF counts is chosen per domain on
validation parts of exploratory splits; MiniLM has no such choice. The strength of regularisation is found by
cross-validation inside the label budget, for both. Beside them: VADER, which reads no label, and one human rater.
Then: domains against each other at equal n; the encoder with random weights, with its own weights shuffled, its
embeddings alone; and fine-tuned on 200 labels, as in `experiments/transfer/finetuning.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import FeatureUnion
from torch import nn

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.transfer.extraction import LinearProbe, extract, mean_tokens

BASE = results.load_script(results.SCRIPTS / "transfer" / "finetuning.py")
SETTINGS = {
    "base": BASE.STUDY.recipe,
    "exploratory_seeds": [100, 101],
    "seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "clear": 0.5,  # |valence| of the sentences that are learned from and scored
    "max_length": 48,
    "budgets": [50, 100, 200, 400, 800, 1600],  # and a twentieth of all labels, and all
    "unfiltered_budgets": [100, 400],  # and the same two
    "penalties": [30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003],  # of the probe
    "folds": 3,
    "tfidf": {
        "words": [[1, 1], [1, 2]],
        "min_df": [1, 2],
        "letters": [[2, 4], [2, 5], None],
        "C": [0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
        "tuning_labels": 2000,
        "budgets": ["100", "400", "1600", "all"],
    },
    "matrix_labels": 1600,
    "controls": {"seeds": [0, 1, 2, 3, 4], "labels": [100, 400], "test": 250},
    "finetuning": {"labels": 200, "seeds": [0, 1, 2], "domains": ["products", "films"]},
    "resamples": 2000,
}
# What is known after all jobs is no part of the recipe.
AFTER = ("structures", "kept", "reached", "curves", "first_reached", "quantiles")
STUDY = results.Study(
    "transfer/concepts",
    SETTINGS,
    assets=["minilm", "sentiment"],
    plan=("main", "plan", "plan_tuning", "plan_features", *AFTER),
)
LAYERS = {"embeddings": mean_tokens, "encoder.layer.5": mean_tokens}


# ---------------------------------------------------------------- features


def features_of(model: nn.Module, sentences: Sequence, *, cache=None) -> dict[str, np.ndarray]:
    """{layer: (N, 384)} in the order of the sentences."""
    data = encoders.encode_texts(datasets.texts(sentences), max_length=SETTINGS["max_length"])
    order = np.argsort(data.lengths, kind="stable")
    batches = []
    for start in range(0, len(order), 64):
        batch = encoders.collate_sentences([data[i] for i in order[start : start + 64]])
        batches.append({key: batch[key] for key in ("input_ids", "attention_mask")})
    found = extract(model, batches, LAYERS, cache=cache)
    places = np.argsort(order)
    return {name: rows.numpy()[places] for name, rows in found.items()}


@lru_cache(maxsize=4)
def minilm_features(domain: str) -> dict[str, dict[str, np.ndarray]]:
    """{layer: {sentence id: (384,)}} of a whole domain, on disk after the first time."""
    sentences = [s for s in datasets.sentiment(domain) if not s.made_up]
    found = features_of(encoders.minilm(), sentences, cache=results.WORK / "features")
    return {name: dict(zip([s.id for s in sentences], rows, strict=True)) for name, rows in found.items()}


def stored_features(sentences: Sequence, layer: str = "encoder.layer.5") -> np.ndarray:
    """(N, 384)."""
    return np.stack([minilm_features(s.domain)[layer][s.id] for s in sentences])


def extracted(domain: str) -> dict:
    """MiniLM's features of every sentence of a domain, for the other jobs."""
    rows = minilm_features(domain)["encoder.layer.5"]
    return {"task": "features", "domain": domain, "sentences": len(rows)}


# ---------------------------------------------------------------- the two classifiers


def probe(x: np.ndarray, y: np.ndarray, seed: int) -> LinearProbe:
    """Trained on all of x; its penalty has the lowest cross-entropy over the folds."""
    folds = StratifiedKFold(SETTINGS["folds"], shuffle=True, random_state=seed)
    losses = np.zeros(len(SETTINGS["penalties"]))
    for here, there in folds.split(x, y):
        held_out = (x[there], y[there])
        found = LinearProbe.choose(x[here], y[here], validation=held_out, penalties=SETTINGS["penalties"])
        losses += len(there) * np.array([t.loss for t in found.tried])  # from the strongest penalty down
    return LinearProbe.fit(x, y, penalty=SETTINGS["penalties"][int(losses.argmin())])


def probe_margins(found: LinearProbe, x: np.ndarray) -> np.ndarray:
    logits = found.logits(x)
    return logits[:, 1] - logits[:, 0]


def vectoriser(structure: dict) -> FeatureUnion:
    """TF-IDF of words, and of letters within words if there are any."""
    words = TfidfVectorizer(
        sublinear_tf=True, ngram_range=tuple(structure["words"]), min_df=structure["min_df"]
    )
    parts = [("words", words)]
    if structure["letters"] is not None:
        letters = {"analyzer": "char_wb", "ngram_range": tuple(structure["letters"])}
        parts.append(("letters", TfidfVectorizer(sublinear_tf=True, min_df=structure["min_df"], **letters)))
    return FeatureUnion(parts)


def regression(C: float) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=2000)


def strength(x: csr_matrix, y: np.ndarray, seed: int) -> float:
    """The C with the lowest cross-entropy over the folds."""
    folds = list(StratifiedKFold(SETTINGS["folds"], shuffle=True, random_state=seed).split(x, y))

    def loss(C: float) -> float:
        total = 0.0
        for here, there in folds:
            chances = regression(C).fit(x[here], y[here]).predict_proba(x[there])
            total -= float(np.log(np.maximum(chances[np.arange(len(there)), y[there]], 1e-12)).sum())
        return total

    return min(SETTINGS["tfidf"]["C"], key=loss)


def classical(texts: Sequence[str], y: np.ndarray, structure: dict, seed: int) -> tuple[float, Callable]:
    """Of a regression on TF-IDF: its C, and its margins as a function of sentences."""
    counts = vectoriser(structure)
    x = counts.fit_transform(texts)
    C = strength(x, y, seed)
    model = regression(C).fit(x, y)
    return C, lambda sentences: model.decision_function(counts.transform(datasets.texts(sentences)))


# ---------------------------------------------------------------- data and scores


def pool_of(domain: str, seed: int, *, clear: bool = True) -> tuple:
    """All sentences of a split that may be learned from: training and validation part."""
    split = datasets.sentiment_split(domain, seed, min_valence=SETTINGS["clear"] if clear else 0)
    return split.train + split.validation


def test_of(domain: str, seed: int) -> tuple[list, np.ndarray]:
    """Sentences of the test groups, the unclear ones too, and which are clear."""
    sentences = datasets.sentiment_split(domain, seed, min_valence=0).test
    return list(sentences), np.abs(datasets.valences(sentences)) >= SETTINGS["clear"]


def scored(margins: np.ndarray, sentences: Sequence, clear: np.ndarray) -> dict:
    """Accuracy and macro-F1 on the clear sentences, rank correlation with the rating on all."""
    labels, guesses = datasets.labels(sentences)[clear], (margins[clear] > 0).astype(int)
    return {
        "accuracy": round(float((guesses == labels).mean()), 5),
        "macro_f1": round(float(f1_score(labels, guesses, average="macro")), 5),
        "rho": round(BASE.rank_correlation(margins, datasets.valences(sentences)), 5),
        "right": right(margins, sentences, clear),
    }


def right(margins: np.ndarray, sentences: Sequence, clear: np.ndarray) -> str:
    hits = ((margins > 0) == datasets.labels(sentences).astype(bool))[clear]
    return "".join("1" if hit else "0" for hit in hits)


def budgets_of(n_all: int, sizes: Sequence[int]) -> dict[str, int]:
    """Name of a budget → labels."""
    return {str(n): n for n in sizes} | {"twentieth": n_all // 20, "all": n_all}


# ---------------------------------------------------------------- jobs


def tune(domain: str, seed: int) -> dict:
    """Validation accuracy of every way to count words and letters, each at its best C."""
    split = datasets.sentiment_split(domain, seed)
    train = datasets.draw(split.train, min(SETTINGS["tfidf"]["tuning_labels"], len(split.train)), seed)
    y, held_out = datasets.labels(train), datasets.labels(split.validation)
    tried = []
    for words in SETTINGS["tfidf"]["words"]:
        for min_df in SETTINGS["tfidf"]["min_df"]:
            for letters in SETTINGS["tfidf"]["letters"]:
                structure = {"words": words, "min_df": min_df, "letters": letters}
                counts = vectoriser(structure)
                x = counts.fit_transform(datasets.texts(train))
                x_held = counts.transform(datasets.texts(split.validation))
                scores = {
                    C: float(regression(C).fit(x, y).score(x_held, held_out)) for C in SETTINGS["tfidf"]["C"]
                }
                best = max(scores, key=scores.get)
                tried.append(structure | {"C": best, "accuracy": round(scores[best], 5)})
    return {"task": "tune", "domain": domain, "seed": seed, "tried": tried}


def curve(domain: str, seed: int, structure: dict) -> dict:
    """Every label budget of a split, both classifiers; the other domains' tests at one budget; rules and people."""
    pool, (test, clear) = pool_of(domain, seed), test_of(domain, seed)
    budgets = budgets_of(len(pool), SETTINGS["budgets"])
    order = datasets.draw(pool, len(pool), seed)  # nested: the first n are the budget of n
    y, texts = datasets.labels(order), datasets.texts(order)
    x, key = stored_features(order), {"domain": domain, "seed": seed}
    asked = [s for s, c in zip(test, clear, strict=True) if c]
    facts = {"n_all": len(pool), "test_sentences": len(test)}
    runs = [
        {"task": "test", **key, **facts, "groups": [int(s.group) for s in asked]}
        | {"human": round(datasets.human_accuracy(asked), 5)}
    ]
    elsewhere = {d: test_of(d, seed) for d in datasets.DOMAINS if d != domain}
    for budget, n in budgets.items():
        found = probe(x[:n], y[:n], seed)
        judges = {"minilm": (found.penalty, lambda s, found=found: probe_margins(found, stored_features(s)))}
        if budget in SETTINGS["tfidf"]["budgets"]:
            C, margins_of = classical(texts[:n], y[:n], structure, seed)
            judges["tfidf"] = (C, margins_of)
        for arm, (chosen, margins_of) in judges.items():
            facts = {"task": "curve", "arm": arm, **key, "budget": budget, "n": n, "chosen": chosen}
            runs.append(facts | scored(margins_of(test), test, clear))
            if n == SETTINGS["matrix_labels"]:
                for other, (sentences, plain) in elsewhere.items():
                    hits = right(margins_of(sentences), sentences, plain)
                    runs.append({"task": "matrix", "arm": arm, "source": domain, "domain": other})
                    runs[-1] |= {"seed": seed, "right": hits}
    coin = np.random.default_rng(seed).choice([-1e-6, 1e-6], len(test))
    vader = datasets.vader(datasets.texts(test))
    rules = {
        "vader": np.where(vader == 0, coin, vader),  # no word of the lexicon: a guess
        "majority": np.full(len(test), 1.0 if y.mean() >= 0.5 else -1.0),
    }
    for arm, margins in rules.items():
        runs.append({"task": "rule", "arm": arm, **key} | scored(margins, test, clear))
    return {"runs": runs + unfiltered(domain, seed, structure, C, test)}


def unfiltered(domain: str, seed: int, structure: dict, C: float, test: Sequence) -> list[dict]:
    """The main comparison with no sentence left out: signs of all ratings learned, ranks of all compared."""
    pool = pool_of(domain, seed, clear=False)
    order = datasets.draw(pool, len(pool), seed)
    y, ratings = datasets.labels(order), datasets.valences(test)
    x, x_test = stored_features(order), stored_features(test)
    key = {"task": "unfiltered", "domain": domain, "seed": seed}
    runs = []
    for budget, n in budgets_of(len(pool), SETTINGS["unfiltered_budgets"]).items():
        margins = probe_margins(probe(x[:n], y[:n], seed), x_test)
        found = {"arm": "minilm", "budget": budget, "n": n}
        runs.append(key | found | {"rho": round(BASE.rank_correlation(margins, ratings), 5)})
    counts = vectoriser(structure)
    model = regression(C).fit(counts.fit_transform(datasets.texts(order)), y)  # C as with the clear ones
    margins = model.decision_function(counts.transform(datasets.texts(test)))
    found = {"arm": "tfidf", "budget": "all", "n": len(pool)}
    runs.append(key | found | {"rho": round(BASE.rank_correlation(margins, ratings), 5)})
    return runs


def control(domain: str, seed: int) -> dict:
    """The same probe on four encoders: as it is, its embeddings alone, its weights shuffled, random weights."""
    settings = SETTINGS["controls"]
    most = max(settings["labels"])
    train = datasets.draw(pool_of(domain, seed), most, seed)
    test = datasets.draw(datasets.sentiment_split(domain, seed).test, settings["test"], seed)
    sentences, y = [*train, *test], datasets.labels(train)
    # Random weights as BERT begins (sd 0.02); shuffled ones keep each tensor's values, so their size and spread.
    found = {
        "full": stored_features(sentences),
        "embeddings": stored_features(sentences, "embeddings"),
        "shuffled": features_of(shuffled(encoders.minilm(), seed), sentences)["encoder.layer.5"],
        "random": features_of(encoders.minilm(pretrained=False, seed=seed), sentences)["encoder.layer.5"],
    }
    runs = []
    for arm, x in found.items():
        for n in settings["labels"]:
            margins = probe_margins(probe(x[:n], y[:n], seed), x[most:])
            key = {"task": "control", "arm": arm, "domain": domain, "n": n, "seed": seed}
            facts = scored(margins, test, np.ones(len(test), dtype=bool))
            runs.append(key | facts | {"groups": [int(s.group) for s in test]})
    return {"runs": runs}


def shuffled(model: nn.Module, seed: int) -> nn.Module:
    """The model with the entries of each of its parameters in random order, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return model


def finetune(domain: str, n: int, seed: int, rate: float) -> dict:
    """MiniLM fine-tuned whole on the first n sentences of the curve's order."""
    return BASE.finetune("full", domain, n, seed, rate)


# ---------------------------------------------------------------- how many labels


def first_reached(sizes: np.ndarray, scores: np.ndarray, level: np.ndarray) -> np.ndarray:
    """From how many labels on each curve stays at its level or above; inf where its end is below.

    sizes: (K,) rising; scores: (R, K); level: (R,). Between two sizes, a line over the logarithm of the size. A curve
    that is never below gives the smallest size.
    """
    x, below = np.log(sizes), scores < level[:, None]
    found = np.full(len(scores), float(sizes[0]))
    for row in np.flatnonzero(below.any(1)):
        last = int(np.flatnonzero(below[row])[-1])
        if last == len(sizes) - 1:
            found[row] = np.inf
            continue
        low, high = scores[row, last], scores[row, last + 1]
        found[row] = np.exp(x[last] + (level[row] - low) / (high - low) * (x[last + 1] - x[last]))
    return found


def curves(runs: Sequence[dict], domain: str, wanted: Sequence[tuple[str, str]]) -> np.ndarray:
    """Accuracy of (arm, budget) pairs, (1 + resamples, pairs): of all, then with seeds and groups resampled."""
    tests = {r["seed"]: r["groups"] for r in runs if r["task"] == "test" and r["domain"] == domain}
    seeds = sorted(tests)
    names, index = np.unique(np.concatenate([tests[s] for s in seeds]), return_inverse=True)
    of_seed = np.split(index, np.cumsum([len(tests[s]) for s in seeds])[:-1])
    rng, n_groups, n_seeds = np.random.default_rng(0), len(names), len(seeds)
    n = SETTINGS["resamples"]
    drawn = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n)
    seed_weight = np.vstack([np.ones(n_seeds), drawn])  # (1 + R, S)
    group_weight = np.ones((1 + n, n_groups))
    for row in range(1, 1 + n):
        group_weight[row] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)

    def weighted(values: Sequence[np.ndarray]) -> np.ndarray:
        cells = np.stack(  # (S, G); every seed weighs the same
            [np.bincount(i, v / len(v), minlength=n_groups) for i, v in zip(of_seed, values, strict=True)]
        )
        return ((seed_weight @ cells) * group_weight).sum(1)

    total = weighted([np.ones(len(i)) for i in of_seed])
    found = []
    for arm, budget in wanted:
        hits = {
            r["seed"]: results.correct(r)
            for r in runs
            if r["task"] == "curve" and (r["arm"], r["budget"], r["domain"]) == (arm, budget, domain)
        }
        found.append(weighted([hits[s] for s in seeds]) / total)
    return np.stack(found, 1)


def quantiles(values: np.ndarray) -> list[float | None]:
    """Estimate, low, high: the first value and the 2.5 and 97.5 percentiles of the others; None for infinity."""
    ranked = np.sort(values[1:])  # no line between a number and infinity
    ends = ranked[[round(share * (len(ranked) - 1)) for share in (0.025, 0.975)]]
    return [float(v) if np.isfinite(v) else None for v in (values[0], *ends)]


def reached(runs: Sequence[dict]) -> dict:
    """Per domain, labels and share of all at which MiniLM's probe reaches TF-IDF on all of them."""
    found = {}
    for domain in datasets.DOMAINS:
        sizes = {
            r["budget"]: [
                q["n"]
                for q in runs
                if q["task"] == "curve" and (q["budget"], q["domain"]) == (r["budget"], domain)
            ]
            for r in runs
            if r["task"] == "curve" and r["domain"] == domain
        }
        means = {budget: float(np.mean(n)) for budget, n in sizes.items()}
        rising = sorted(means, key=means.get)
        scores = curves(runs, domain, [*(("minilm", b) for b in rising), ("tfidf", "all")])
        labels = first_reached(np.array([means[b] for b in rising]), scores[:, :-1], scores[:, -1])
        found[domain] = {
            "all": means["all"],
            "labels": quantiles(labels),
            "share": quantiles(labels / means["all"]),
        }
    return found


# ---------------------------------------------------------------- which jobs


def structures(tuning: dict[str, dict]) -> dict[str, dict]:
    """Per domain, the way to count with the best mean validation accuracy."""
    found = {}
    for domain in datasets.DOMAINS:
        tried = [r["tried"] for r in tuning.values() if r["domain"] == domain]
        means = [np.mean([t["accuracy"] for t in same]) for same in zip(*tried, strict=True)]
        best = tried[0][int(np.argmax(means))]
        found[domain] = {key: best[key] for key in ("words", "min_df", "letters")}
    return found


def plan_tuning() -> dict:
    return {
        f"tune {domain} {seed}": (tune, {"domain": domain, "seed": seed})
        for domain in datasets.DOMAINS
        for seed in SETTINGS["exploratory_seeds"]
    }


def plan_features() -> dict:
    return {f"features {domain}": (extracted, {"domain": domain}) for domain in datasets.DOMAINS}


def plan(chosen: dict[str, dict], rate: float) -> dict:
    jobs = {}
    for domain in datasets.DOMAINS:
        for seed in SETTINGS["seeds"]:
            jobs[f"curve {domain} {seed}"] = (
                curve,
                {"domain": domain, "seed": seed, "structure": chosen[domain]},
            )
    for domain in datasets.DOMAINS:
        for seed in SETTINGS["controls"]["seeds"]:
            jobs[f"control {domain} {seed}"] = (control, {"domain": domain, "seed": seed})
    settings = SETTINGS["finetuning"]
    for domain in settings["domains"]:
        for seed in settings["seeds"]:
            arguments = {"domain": domain, "n": settings["labels"], "seed": seed, "rate": rate}
            jobs[f"finetune {domain} {seed}"] = (finetune, arguments)
    return jobs


def main() -> None:
    records = STUDY.run(plan_tuning()) | STUDY.run(plan_features())
    chosen = structures({key: r for key, r in records.items() if r["task"] == "tune"})
    print("chosen:", chosen)
    rate = results.load("transfer/finetuning").body["rates"]["full"]
    records |= STUDY.run(plan(chosen, rate))
    runs = [run for record in records.values() for run in record.get("runs", [record])]
    STUDY.write(records, structures=chosen, kept=kept(), reached=reached(runs))


def kept() -> dict[str, float]:
    """Share of a domain's sentences that are clear."""
    return {d: round(datasets.share_kept(d, SETTINGS["clear"]), 4) for d in datasets.DOMAINS}


if __name__ == "__main__":
    main()
