"""Fine-tuning MiniLM on sentiment: what moves, how far, and what it costs.  make experiment NAME=transfer/finetuning

Learning rates are chosen on an exploratory split, with the same number of candidates for every arm, by accuracy on
its validation part; everything else runs on fresh splits with those rates. A budget of n labels means n labels.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline
from torch.nn.functional import cross_entropy

from tlcourse import datasets, results
from tlcourse.models import encoders
from tlcourse.training import TrainingConfig, fit, predict
from tlcourse.transfer import finetuning

SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4],
    "small_seeds": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "batch_size": 16,
    "max_length": 48,
    "epochs": {"50": 10, "100": 8, "200": 5, "500": 3, "2000": 2},
    "extra_epochs": {"random": 1, "lora": 1},
    "rates": {
        "full": [3e-5, 1e-4, 3e-4],
        "random": [1e-4, 3e-4, 1e-3],
        "lora": [3e-4, 1e-3, 3e-3],
        "top2": [1e-4, 3e-4, 1e-3],
        "gradual": [3e-5, 1e-4, 3e-4],
        "discriminative": [1e-4, 3e-4, 1e-3],
        "probe_first": [3e-5, 1e-4, 3e-4],
        "l2sp": [3e-5, 1e-4, 3e-4],
    },
    "lora": {"rank": 8, "alpha": 16, "targets": ["*.query", "*.value"]},
    "l2sp": {"strength": 0.1, "head_strength": 0.01},
    "decay": 0.7,
    "shares": [0.0, 0.25, 0.5, 0.75, 1.0],
    "other_domain_sentences": 300,
}
STUDY = results.Study("transfer/finetuning", SETTINGS, assets=["minilm", "sentiment"])


# ---------------------------------------------------------------- data


def training_sentences(domain: str, n: int, seed: int, part: str = "all") -> tuple:
    """n labelled sentences of a split; on fresh splits the validation part is training data too."""
    split = datasets.sentiment_split(domain, seed)
    pool = split.train if part == "train" else split.train + split.validation
    return datasets.draw(pool, n, seed)


def test_sentences(domain: str, seed: int, n: int) -> tuple[list, np.ndarray]:
    """Sentences of the test groups, and which of them are clear enough (|valence| at least 0.5) to be scored.

    From 500 labels on the unclear ones come too, so that the ranking of all of them can be judged.
    """
    sentences = datasets.sentiment_split(domain, seed, min_valence=0 if n >= 500 else 0.5).test
    return list(sentences), np.array([abs(s.valence) >= 0.5 for s in sentences])


def encoded(sentences) -> encoders.SentenceData:
    return encoders.encode_texts(
        datasets.texts(sentences), datasets.labels(sentences), max_length=SETTINGS["max_length"]
    )


def scored(margins: np.ndarray, sentences, clear: np.ndarray) -> dict:
    """Accuracy and macro-F1 on the clear sentences, rank correlation with the rating on all that were given."""
    labels = datasets.labels(sentences)
    guesses = (margins > 0).astype(int)
    right = (guesses == labels)[clear]
    return {
        "accuracy": float(right.mean()),
        "macro_f1": float(f1_score(labels[clear], guesses[clear], average="macro")),
        "rho": rank_correlation(margins, datasets.valences(sentences)),
        "right": "".join("1" if r else "0" for r in right),
        "groups": [int(s.group) for s, c in zip(sentences, clear, strict=True) if c],
    }


def rank_correlation(margins: np.ndarray, valences: np.ndarray) -> float:
    """Spearman's, and 0 for a constant guess, which ranks nothing."""
    return float(spearmanr(margins, valences).statistic) if np.ptp(margins) > 0 else 0.0


# ---------------------------------------------------------------- one fine-tuning run


def loss(model, batch):
    return cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])


def margins(model, sentences) -> np.ndarray:
    """Logit of positive minus logit of negative, (N,)."""
    data = encoded(sentences)
    logits = predict(
        model,
        data,
        collate=encoders.collate_sentences,
        lengths=data.lengths,
        forward=lambda m, b: m(b["input_ids"], b["attention_mask"]),
    )
    return (logits[:, 1] - logits[:, 0]).double().numpy()


def build(arm: str, seed: int):
    """The classifier of an arm before training: MiniLM or, for `random`, the same network with random weights."""
    encoder = encoders.minilm(pretrained=arm != "random", seed=seed)
    return encoders.SentenceClassifier(encoder, seed=seed)


def train(model, sentences, *, arm: str, rate: float, epochs: int, seed: int, evaluate=None):
    """Fine-tune in place; returns fit's history."""
    groups, callbacks, objective = None, [], loss
    if arm == "lora":
        finetuning.freeze(model, "encoder.*")
        generator = torch.Generator().manual_seed(seed)
        settings = SETTINGS["lora"]
        finetuning.add_lora(
            model, settings["targets"], rank=settings["rank"], alpha=settings["alpha"], generator=generator
        )
    elif arm == "top2":
        finetuning.freeze(model, "encoder.*")
        finetuning.unfreeze(model, "encoder.encoder.layer.4.*", "encoder.encoder.layer.5.*")
    elif arm == "gradual":
        thirds = finetuning.layer_groups(model, epochs)
        callbacks.append(finetuning.GradualUnfreezing(thirds))
    elif arm == "discriminative":
        groups = finetuning.discriminative_lr(model, rate, SETTINGS["decay"])
    elif arm == "l2sp":
        penalty = finetuning.L2SP(model, head=("head.*",), **SETTINGS["l2sp"])
        objective = lambda m, batch: loss(m, batch) + penalty(m)  # noqa: E731
    config = TrainingConfig(
        epochs=epochs, batch_size=SETTINGS["batch_size"], learning_rate=rate, seed=seed, max_steps=None
    )
    data = encoded(sentences)
    return fit(
        model,
        data,
        objective,
        config,
        collate=encoders.collate_sentences,
        lengths=data.lengths,
        parameter_groups=groups,
        callbacks=callbacks,
        evaluate=evaluate,
        progress=False,
    )


def epochs_of(arm: str, n: int) -> int:
    return SETTINGS["epochs"][str(n)] + SETTINGS["extra_epochs"].get(arm, 0)


def probe(train_features, train_labels, seed: int):
    """Logistic regression whose C is chosen by cross-validation inside the label budget."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    grid = {"C": list(np.logspace(-3, 3, 13))}
    search = GridSearchCV(LogisticRegression(max_iter=2000), grid, cv=folds)
    return search.fit(train_features, train_labels).best_estimator_


def features(model, sentences) -> np.ndarray:
    data = encoded(sentences)
    return predict(
        model,
        data,
        collate=encoders.collate_sentences,
        lengths=data.lengths,
        forward=lambda m, b: m.features(b["input_ids"], b["attention_mask"]),
    ).numpy()


def probe_start(model, sentences, seed: int) -> None:
    """Put the probe of the frozen features into the model's head: logits (0, w·h + b)."""
    found = probe(features(model, sentences), datasets.labels(sentences), seed)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.weight[1] = torch.from_numpy(found.coef_[0])
        model.head.bias[1] = float(found.intercept_[0])


# ---------------------------------------------------------------- jobs


def tune(arm: str, rate: float, n: int) -> dict:
    """Validation accuracy of one candidate rate on the exploratory split of the editorials."""
    seed = SETTINGS["exploratory_seed"]
    sentences = training_sentences("editorials", n, seed, "train")
    model = build(arm, seed)
    if arm == "probe_first":
        probe_start(model, sentences, seed)
    train(model, sentences, arm=arm, rate=rate, epochs=epochs_of(arm, n), seed=seed)
    held_out = datasets.sentiment_split("editorials", seed).validation
    right = (margins(model, held_out) > 0) == datasets.labels(held_out)
    return {"task": "tune", "arm": arm, "rate": rate, "n": n, "seed": seed, "accuracy": float(right.mean())}


def finetune(arm: str, domain: str, n: int, seed: int, rate: float) -> dict:
    """One fine-tuned model on the test groups of its split."""
    sentences = training_sentences(domain, n, seed)
    model = build(arm, seed)
    if arm == "probe_first":
        probe_start(model, sentences, seed)
    history = train(model, sentences, arm=arm, rate=rate, epochs=epochs_of(arm, n), seed=seed)
    count = finetuning.trainable_parameters(model)
    test, clear = test_sentences(domain, seed, n)
    key = {"task": "finetune", "arm": arm, "domain": domain, "n": n, "seed": seed, "rate": rate}
    facts = {"trainable": count.trainable, "total": count.total, "fit_seconds": round(history.seconds, 1)}
    return key | facts | scored(margins(model, test), test, clear)


def frozen(domain: str, sizes: list[int], seed: int) -> dict:
    """Logistic regression on MiniLM's frozen mean-pooled features, every budget of a split."""
    test, clear = test_sentences(domain, seed, max(sizes))
    model = build("frozen", seed)
    most = training_sentences(domain, max(sizes), seed)
    train_features, test_features = features(model, most), features(model, test)
    labels = datasets.labels(most)
    runs = []
    for n in sizes:
        found = probe(train_features[:n], labels[:n], seed)
        key = {"task": "finetune", "arm": "frozen", "domain": domain, "n": n, "seed": seed}
        runs.append(key | scored(found.decision_function(test_features), test, clear))
    return {"runs": runs}


def classical(domain: str, sizes: list[int], seed: int) -> dict:
    """TF-IDF with tuned logistic regression, the majority class, and VADER, which reads no label."""
    test, clear = test_sentences(domain, seed, max(sizes))
    most = training_sentences(domain, max(sizes), seed)
    texts, labels = datasets.texts(most), datasets.labels(most)
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5))
    pipeline = Pipeline(
        [
            ("features", FeatureUnion([("words", words), ("letters", letters)])),
            ("model", LogisticRegression(max_iter=2000)),
        ]
    )
    grid = {
        "features__transformer_weights": [{"words": 1, "letters": 0}, {"words": 1, "letters": 1}],
        "model__C": [1.0, 10.0, 100.0],
    }
    vader = datasets.vader(datasets.texts(test))
    coin = np.random.default_rng(seed).choice([-1e-6, 1e-6], len(test))
    vader = np.where(vader == 0, coin, vader)  # no word of the lexicon: a guess
    runs = []
    for n in sizes:
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        found = GridSearchCV(pipeline, grid, cv=folds).fit(texts[:n], labels[:n])
        majority = np.full(len(test), 1.0 if labels[:n].mean() >= 0.5 else -1.0)
        for arm, margin in (
            ("tfidf", found.decision_function(datasets.texts(test))),
            ("majority", majority),
            ("vader", vader),
        ):
            key = {"task": "finetune", "arm": arm, "domain": domain, "n": n, "seed": seed}
            runs.append(key | scored(margin, test, clear))
    return {"runs": runs}


def warm(seed: int, rate: float) -> dict:
    """Editorials in growing portions, each fine-tuning going on from the last (S10)."""
    model = build("full", seed)
    test, clear = test_sentences("editorials", seed, 500)
    runs = []
    for n in (50, 100, 200, 500):
        sentences = training_sentences("editorials", n, seed)
        train(model, sentences, arm="full", rate=rate, epochs=epochs_of("full", n), seed=seed)
        key = {"task": "finetune", "arm": "warm", "domain": "editorials", "n": n, "seed": seed}
        runs.append(key | scored(margins(model, test), test, clear))
    return {"runs": runs}


def overfit(seed: int, rate: float) -> dict:
    """Training and test accuracy after each of 8 epochs on 200 editorials, one long schedule."""
    sentences = training_sentences("editorials", 200, seed)
    held_out = datasets.sentiment_split("editorials", seed).test
    curve = []

    def look(model) -> float:
        pair = [float(((margins(model, s) > 0) == datasets.labels(s)).mean()) for s in (sentences, held_out)]
        curve.append(pair)
        return float(len(curve))  # ever higher: the last state stays

    train(build("full", seed), sentences, arm="full", rate=rate, epochs=8, seed=seed, evaluate=look)
    return {"task": "overfit", "seed": seed, "curve": curve}


def straight_line(seed: int, rate: float) -> dict:
    """Probe first, then fine-tune on 500 editorials; accuracy at home and elsewhere along the way between."""
    sentences = training_sentences("editorials", 500, seed)
    model = build("full", seed)
    probe_start(model, sentences, seed)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train(model, sentences, arm="probe_first", rate=rate, epochs=epochs_of("probe_first", 500), seed=seed)
    after = {k: v.clone() for k, v in model.state_dict().items()}
    tests = {"editorials": datasets.sentiment_split("editorials", seed).test}
    for other in ("products", "films", "tweets"):
        tests[other] = datasets.draw(
            datasets.sentiment_split(other, seed).test, SETTINGS["other_domain_sentences"], seed
        )
    line = {name: [] for name in tests}
    for share in SETTINGS["shares"]:
        model.load_state_dict(finetuning.interpolate(before, after, share))
        for name, test in tests.items():
            line[name].append(float(((margins(model, test) > 0) == datasets.labels(test)).mean()))
    return {"task": "straight_line", "seed": seed, "line": line}


def forgetting(seed: int, rates: dict[str, float]) -> dict:
    """Tweets first, then 500 editorials in three ways: what is left of the tweets?"""
    source = build("full", seed)
    train(
        source, training_sentences("tweets", 500, seed), arm="full", rate=rates["full"], epochs=3, seed=seed
    )
    tweets, editorials = (datasets.sentiment_split(d, seed).test for d in ("tweets", "editorials"))
    state = {k: v.clone() for k, v in source.state_dict().items()}

    def both(model) -> list[float]:
        return [float(((margins(model, t) > 0) == datasets.labels(t)).mean()) for t in (tweets, editorials)]

    out = {"source": both(source)}
    for arm in ("full", "lora", "l2sp"):
        model = build("full", seed)
        model.load_state_dict(state)
        sentences = training_sentences("editorials", 500, seed)
        train(model, sentences, arm=arm, rate=rates[arm], epochs=epochs_of(arm, 500), seed=seed)
        out[arm] = both(model)
    return {"task": "forgetting", "seed": seed, "accuracy": out}


# ---------------------------------------------------------------- which jobs


def plan_tuning() -> dict:
    return {
        f"tune {arm} {rate:g}": (tune, {"arm": arm, "rate": rate, "n": 500})
        for rate_number in range(3)
        for arm, candidates in SETTINGS["rates"].items()
        for rate in candidates[rate_number : rate_number + 1]
    }


def plan(rates: dict[str, float]) -> dict:
    jobs = {}
    seeds, small = SETTINGS["seeds"], SETTINGS["small_seeds"]

    def add(function, **arguments):
        words = " ".join(str(v) for k, v in arguments.items() if k not in ("rates", "rate", "sizes"))
        jobs[f"{function.__name__} {words}"] = (function, arguments)

    for seed in seeds:
        for domain in ("editorials", "tweets"):
            for n in (2000, 500):
                for arm in ("full", "lora", "random"):
                    add(finetune, arm=arm, domain=domain, n=n, seed=seed, rate=rates[arm])
    for seed in seeds:
        for arm in ("top2", "gradual", "discriminative", "probe_first", "l2sp"):
            add(finetune, arm=arm, domain="editorials", n=500, seed=seed, rate=rates[arm])
    for seed in seeds:
        for function in (frozen, classical):
            add(function, domain="editorials", sizes=[50, 200, 500, 2000], seed=seed)
            add(function, domain="tweets", sizes=[500, 2000], seed=seed)
    for seed in seeds:
        add(straight_line, seed=seed, rate=rates["probe_first"])
    for seed in small:
        for n in (200, 50):
            add(finetune, arm="full", domain="editorials", n=n, seed=seed, rate=rates["full"])
        if seed not in seeds:
            for function in (frozen, classical):
                add(function, domain="editorials", sizes=[50, 200], seed=seed)
    for seed in seeds:
        add(forgetting, seed=seed, rates={arm: rates[arm] for arm in ("full", "lora", "l2sp")})
    for seed in seeds:
        add(overfit, seed=seed, rate=rates["full"])
    for seed in seeds:
        add(warm, seed=seed, rate=rates["full"])
    return jobs


def main() -> None:
    tuning = STUDY.run(plan_tuning())
    rates = {}
    for arm, candidates in SETTINGS["rates"].items():
        score = {r: tuning[f"tune {arm} {r:g}"]["accuracy"] for r in candidates}
        rates[arm] = max(candidates, key=lambda r: (score[r], -r))
    print("chosen rates:", rates)
    STUDY.write(tuning | STUDY.run(plan(rates)), rates=rates)


if __name__ == "__main__":
    main()
