"""GPT-2 summarises: a package's description → its one-line synopsis.  make experiment NAME=pretrained/gpt2_summaries

A script of its own, beside pretrained/gpt2. A language model learns to write description, blank line, synopsis; then
it is given a description and a blank line (after Radford et al. 2019, who hint with "TL;DR:"). The course's smallest
GPT-2, from WordNet's glosses and from a random start, against the first sentence, the first words, and the synopsis of
the nearest description. WordNet was chosen beforehand, because a gloss is a short text on what something is; the Bible
was not tried. Learning rates are chosen on validation packages, the same candidates for both starts.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from tlcourse import datasets, metrics, pretraining, results, weights
from tlcourse.datasets import SummaryPair
from tlcourse.models.gpt2 import GPT2
from tlcourse.tokenizers import ByteLevelBPE
from tlcourse.training import TrainingConfig, fit

SOURCE = "gpt2-mini-wordnet"
SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2],
    "source": SOURCE,
    "weights": weights.read_card(SOURCE).sha256,
    "pairs": 1_600,
    "tuned_pairs": 800,
    "passes": 1,
    "batch_size": 4,
    "ladder": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    "first_rates": [3e-4, 1e-3, 3e-3, 1e-2],
    "text_tokens": 96,
    "separator": "\n\n",
    "new_tokens": 28,
    "scored": {"validation": 200, "test": 300},
    "most_words": 20,
    "examples": 5,
}
STUDY = results.Study(
    "pretrained/gpt2_summaries",
    SETTINGS,
    assets=["debian-descriptions"],
    plan=("main", "plan", "plan_tuning", "tuned", "differences"),
)
ARMS = ("scratch", "wordnet")


# ---------------------------------------------------------------- pairs


@lru_cache(maxsize=1)
def tokenizer() -> ByteLevelBPE:
    return ByteLevelBPE.load(weights.locate(SETTINGS["source"]))


@lru_cache(maxsize=1)
def split() -> datasets.Parts:
    return datasets.summary_pairs(0)


def drawn(part: str, n: int, seed: int) -> list[SummaryPair]:
    pairs = split().part(part)
    return [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))[:n]]


def held_out(part: str) -> list[SummaryPair]:
    return drawn(part, SETTINGS["scored"][part], SETTINGS["exploratory_seed"])


def prompt(pair: SummaryPair) -> list[int]:
    """End of text, the description's first tokens, the separator."""
    encode, eos = tokenizer().encode, tokenizer().eos_token_id
    return [eos, *encode(pair.text)[: SETTINGS["text_tokens"]], *encode(SETTINGS["separator"])]


def synopsis(pair: SummaryPair) -> list[int]:
    """Its tokens, cut to what can be generated, and the end of text."""
    return [*tokenizer().encode(pair.summary)[: SETTINGS["new_tokens"] - 1], tokenizer().eos_token_id]


def padded(rows: list[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor]:
    """input_ids and labels, (B, T), filled on the right; causality hides the filling."""
    T, eos = max(len(ids) for ids, _ in rows), tokenizer().eos_token_id
    ids = torch.tensor([ids + [eos] * (T - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [pretraining.IGNORED] * (T - len(labels)) for _, labels in rows])
    return ids, labels


def row(pair: SummaryPair, *, whole: bool) -> tuple[list[int], list[int]]:
    """Tokens and what comes next: of description and synopsis to learn from, of the synopsis alone to score."""
    before, after = prompt(pair), synopsis(pair)
    ids = [*before, *after]
    hidden = 0 if whole else len(before) - 1
    return ids[:-1], [pretraining.IGNORED] * hidden + ids[1 + hidden :]


# ---------------------------------------------------------------- one network


def start(arm: str, seed: int) -> GPT2:
    model = GPT2.from_pretrained(SETTINGS["source"])
    return model if arm == "wordnet" else GPT2(model.config, seed=1000 + seed).eval()


def train(arm: str, n: int, rate: float, seed: int) -> GPT2:
    model = start(arm, seed)
    rows = [row(pair, whole=True) for pair in drawn("train", n, seed)]
    config = TrainingConfig(
        epochs=SETTINGS["passes"],
        batch_size=SETTINGS["batch_size"],
        learning_rate=rate,
        seed=2000 + seed,
    )
    lengths = [len(ids) for ids, _ in rows]
    fit(
        model,
        rows,
        lambda m, b: pretraining.token_loss(m(b[0]), b[1]),
        config,
        collate=padded,
        lengths=lengths,
        progress=False,
    )
    return model


def synopsis_nats(model: GPT2, pairs: list[SummaryPair]) -> float:
    """Mean over the tokens of the true synopses, their ends included, given the descriptions."""
    total, n_tokens = 0.0, 0
    with torch.inference_mode():
        for i in range(0, len(pairs), 25):
            ids, labels = padded([row(pair, whole=False) for pair in pairs[i : i + 25]])
            total += float(pretraining.token_nats(model(ids), labels).sum())
            n_tokens += int((labels != pretraining.IGNORED).sum())
    return total / n_tokens


def summaries(model: GPT2, pairs: list[SummaryPair]) -> list[str]:
    """Greedy, up to the end of text or of the line."""
    eos, found = tokenizer().eos_token_id, []
    for i in range(0, len(pairs), 50):
        rows = [prompt(pair) for pair in pairs[i : i + 50]]
        T = max(map(len, rows))
        ids = torch.tensor([[eos] * (T - len(r)) + r for r in rows])  # filled on the left
        mask = torch.tensor([[0] * (T - len(r)) + [1] * len(r) for r in rows])
        new = model.generate(
            ids, SETTINGS["new_tokens"], attention_mask=mask, temperature=0, eos_token_id=eos
        )[:, T:].tolist()
        texts = (tokenizer().decode(r[: r.index(eos)] if eos in r else r) for r in new)
        found += [" ".join(text.strip().split("\n")[0].split()) for text in texts]
    return found


# ---------------------------------------------------------------- scores


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def scored(predictions: list[str], pairs: list[SummaryPair]) -> dict:
    """ROUGE of each synopsis; from_text: share of its words that stand in the description."""
    found = metrics.rouge(predictions, [pair.summary for pair in pairs])
    own = [(words(p), set(words(pair.text))) for p, pair in zip(predictions, pairs, strict=True)]
    return {
        "rouge1": [round(float(x), 4) for x in found["rouge1"]],
        "rougeL": [round(float(x), 4) for x in found["rougeL"]],
        "groups": [pair.group for pair in pairs],
        "from_text": sum(w in known for ws, known in own for w in ws) / max(1, sum(len(ws) for ws, _ in own)),
        "words": float(np.mean([len(ws) for ws, _ in own])),
        "examples": [
            {"text": pair.text[:400], "synopsis": pair.summary, "written": p}
            for p, pair in zip(predictions, pairs, strict=True)
        ][: SETTINGS["examples"]],
    }


def first_words(pairs: list[SummaryPair], k: int) -> list[str]:
    return [" ".join(pair.text.split()[:k]) for pair in pairs]


# ---------------------------------------------------------------- jobs


def tune(arm: str, rate: float) -> dict:
    """Nats per token of the validation packages' synopses; an exploratory draw of half the pairs."""
    n, seed = SETTINGS["tuned_pairs"], SETTINGS["exploratory_seed"]
    key = {"task": "tune", "arm": arm, "rate": rate, "n": n, "seed": seed}
    try:
        return key | {"nats": synopsis_nats(train(arm, n, rate, seed), held_out("validation"))}
    except FloatingPointError:
        return key | {"nats": float(np.log(len(tokenizer())))}  # it diverged: it knows nothing


def finetune(arm: str, rate: float, seed: int) -> dict:
    """One network on the test packages."""
    model = train(arm, SETTINGS["pairs"], rate, seed)
    pairs = held_out("test")
    key = {"task": "summarisation", "arm": arm, "n": SETTINGS["pairs"], "rate": rate, "seed": seed}
    return key | {"nats": synopsis_nats(model, pairs)} | scored(summaries(model, pairs), pairs)


def baselines(seed: int) -> dict:
    """The first sentence; as many first words as is best on validation packages; the nearest description's synopsis.

    The synopses themselves come last: how many of their words a summary could copy.
    """
    pairs, validation = held_out("test"), held_out("validation")
    answers = [pair.summary for pair in validation]
    known = drawn("train", SETTINGS["pairs"], seed)
    lengths = range(1, SETTINGS["most_words"] + 1)
    score = {k: metrics.rouge(first_words(validation, k), answers)["rougeL"].mean() for k in lengths}
    best = max(lengths, key=lambda k: (score[k], -k))
    vectors = TfidfVectorizer(sublinear_tf=True).fit([pair.text for pair in known])
    near = (
        vectors.transform([pair.text for pair in pairs]) @ vectors.transform([pair.text for pair in known]).T
    )
    arms = {
        "first sentence": [datasets.first_sentence(pair.text) for pair in pairs],
        "first words": first_words(pairs, best),
        "nearest": [known[i].summary for i in near.toarray().argmax(axis=1)],
        "maintainer": [pair.summary for pair in pairs],
    }
    key = {"task": "summarisation", "n": SETTINGS["pairs"], "seed": seed}
    runs = [key | {"arm": arm} | scored(texts, pairs) for arm, texts in arms.items()]
    return {"first_words": best, "runs": runs}


# ---------------------------------------------------------------- which jobs


def plan_tuning(rates: list[float]) -> dict:
    return {f"tune {arm} {r:g}": (tune, {"arm": arm, "rate": r}) for r in rates for arm in ARMS}


def plan(rates: dict[str, float]) -> dict:
    jobs = {}
    for seed in SETTINGS["seeds"]:
        for arm in ARMS:
            jobs[f"{arm} {seed}"] = (finetune, {"arm": arm, "rate": rates[arm], "seed": seed})
        jobs[f"baselines {seed}"] = (baselines, {"seed": seed})
    return jobs


def tuned() -> tuple[dict, dict[str, float]]:
    """The records of the candidates, and each arm's best; both arms get more where one's best is at the edge."""
    ladder = SETTINGS["ladder"]
    low, high = (ladder.index(SETTINGS["first_rates"][i]) for i in (0, -1))
    while True:
        candidates = ladder[low : high + 1]
        records = STUDY.run(plan_tuning(candidates))
        rates = {
            arm: min(candidates, key=lambda r: (records[f"tune {arm} {r:g}"]["nats"], r)) for arm in ARMS
        }
        if candidates[0] not in rates.values() and candidates[-1] not in rates.values():
            return records, rates
        low -= candidates[0] in rates.values()
        high += candidates[-1] in rates.values()
        if low < 0 or high == len(ladder):
            raise ValueError(f"best rates {rates} at the ends of {ladder}; make the ladder longer")


def differences(records: dict[str, dict]) -> dict:
    """ROUGE-L between arms, over seeds and families of packages."""
    arms = {}
    for run in (r for record in records.values() for r in record.get("runs", [record])):
        if run["task"] == "summarisation":
            arms.setdefault(run["arm"], []).append(run)
    found = {}
    pairs = [("wordnet", "scratch"), ("first words", "first sentence")]
    pairs += [(arm, other) for arm in ARMS for other in ("first sentence", "first words", "nearest")]
    for a, b in pairs:
        x, y = (sorted(arms[arm], key=lambda r: r["seed"]) for arm in (a, b))
        gains = [np.array(p["rougeL"]) - np.array(q["rougeL"]) for p, q in zip(x, y, strict=True)]
        interval = metrics.seeds_and_groups_bootstrap(gains, [p["groups"] for p in x])
        found[f"{a} − {b}"] = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return found


def main() -> None:
    records, rates = tuned()
    print("chosen rates:", rates)
    records |= STUDY.run(plan(rates))
    STUDY.write(records, rates=rates, rougeL=differences(records))


if __name__ == "__main__":
    main()
