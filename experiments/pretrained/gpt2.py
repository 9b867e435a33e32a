"""GPT-2 before Shakespeare: from the Bible, from WordNet or from nothing?  make experiment NAME=pretrained/gpt2

One small network with three starts learns from the same scenes, each start with a learning rate of its own, chosen
among the same candidates on validation plays and an exploratory draw. Counting has the same tokens. Asked are three of
GPT-2's tasks: the language model itself (perplexity per byte), completing lines, generating. A budget of n tokens
means n tokens of text, read `passes` times. One checkpoint stands for a source: what another pretraining run on the
same text would give, no seed here says.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tlcourse import datasets, metrics, pretraining, results, weights
from tlcourse.models.gpt2 import GPT2, distribution, draw
from tlcourse.pretraining import CountModel
from tlcourse.tokenizers import ByteLevelBPE
from tlcourse.training import TrainingConfig, fit

SOURCES = {"bible": "gpt2-mini-bible", "wordnet": "gpt2-mini-wordnet"}
SETTINGS = {
    "exploratory_seed": 100,
    "seeds": [0, 1, 2, 3, 4],
    "sources": SOURCES,
    "weights": {name: weights.read_card(name).sha256 for name in SOURCES.values()},
    "passes": {"12288": 8, "49152": 3, "196608": 1},
    "tuned_at": 49_152,
    "batch_size": 4,
    "ladder": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    "first_rates": [3e-4, 1e-3, 3e-3],
    "source_tokens": 800_000,
    "scored_tokens": {"validation": 8_192, "test": 16_384},
    "scene_tokens": 1_024,
    "stride": 96,
    "lines": 300,
    "context_tokens": 40,
    "prompts": 20,
    "prompt_tokens": 16,
    "new_tokens": 64,
    "samplings": {
        "greedy": {"temperature": 0.0},
        "temperature 0.7": {"temperature": 0.7},
        "temperature 1": {"temperature": 1.0},
        "top-k 40": {"temperature": 1.0, "top_k": 40},
        "top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
    },
}
STUDY = results.Study(
    "pretrained/gpt2",
    SETTINGS,
    assets=["shakespeare", "king-james-bible", "wordnet"],
    plan=("main", "plan", "plan_tuning", "tuned", "differences", "bits_difference"),
)
ARMS = ("scratch", *SETTINGS["sources"])
# Four words of a line, and a fifth of letters alone. Stage directions, in brackets, are no verse.
LINE = re.compile(r"^(?!\[)((?:\S+ ){3}\S+) ([A-Za-z]+)(?![\w'’-])", re.MULTILINE)
WORD = re.compile(r"[a-z]+(?:['’-][a-z]+)*")


# ---------------------------------------------------------------- text


@lru_cache(maxsize=1)
def tokenizer() -> ByteLevelBPE:
    """Both checkpoints have the same."""
    return ByteLevelBPE.load(weights.locate(SETTINGS["sources"]["bible"]))


def draw_order(n_documents: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n_documents)


def taken(documents, n: int, seed: int) -> list[list[int]]:
    """Documents in a random order up to n tokens (or n − 1), each one's end of text counted; nested over n."""
    found, left = [], n
    for i in draw_order(len(documents), seed):
        ids = tokenizer().encode(documents[i].text)[: left - 1]
        if ids:
            found.append(ids)
            left -= len(ids) + 1
        if left < 2:
            return found
    raise ValueError(f"the documents have {n - left:,} tokens, fewer than {n:,}; lower the budget")


def scenes_to_learn(n: int, seed: int) -> list[list[int]]:
    return taken(datasets.corpus("shakespeare", "train"), n, seed)


@dataclass(frozen=True)
class Scene:
    """The opening of a held-out scene, in whole speeches."""

    play: str
    text: str
    ids: tuple[int, ...]


@lru_cache(maxsize=2)
def held_out(part: str) -> tuple[Scene, ...]:
    """Openings of scenes of every play of a part, as many tokens of each play."""
    documents = datasets.corpus("shakespeare", part)
    plays = sorted({d.group for d in documents})
    order = np.random.default_rng(SETTINGS["exploratory_seed"]).permutation(len(documents))
    left = dict.fromkeys(plays, SETTINGS["scored_tokens"][part] // len(plays))
    found = []
    for document in (documents[i] for i in order):
        text, ids = "", []
        for sentence in document.sentences:
            longer = text + document.separator * bool(text) + sentence
            if len(more := tokenizer().encode(longer)) > min(SETTINGS["scene_tokens"], left[document.group]):
                break
            text, ids = longer, more
        if ids:
            found.append(Scene(document.group, text, tuple(ids)))
            left[document.group] -= len(ids)
    return tuple(found)


@dataclass(frozen=True)
class Line:
    """before: tokens up to the end of a held-out line's fourth word; own: those of the line; target: the fifth word."""

    play: str
    before: tuple[int, ...]
    own: tuple[int, ...]
    target: tuple[int, ...]


@lru_cache(maxsize=1)
def lines() -> tuple[Line, ...]:
    """As many lines of each test play, at random."""
    documents = datasets.corpus("shakespeare", "test")
    plays = sorted({d.group for d in documents})
    encode, found = tokenizer().encode, []
    for number, play in enumerate(plays):
        matches = [m for d in documents if d.group == play for m in LINE.finditer(d.text)]
        rng = np.random.default_rng((SETTINGS["exploratory_seed"], number))
        for i in rng.choice(len(matches), SETTINGS["lines"] // len(plays), replace=False):
            start, end = matches[i].span(1)
            before = encode(matches[i].string[max(0, start - 400) : end])
            target = encode(" " + matches[i][2])
            found.append(
                Line(
                    play,
                    tuple(before[-SETTINGS["context_tokens"] :]),
                    tuple(encode(matches[i][1])),
                    tuple(target),
                )
            )
    return tuple(found)


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


# ---------------------------------------------------------------- models


def start(arm: str, seed: int) -> GPT2:
    """The network of an arm before it reads Shakespeare; scratch has the same shape and random weights."""
    if arm != "scratch":
        return GPT2.from_pretrained(SETTINGS["sources"][arm])
    shape = GPT2.from_pretrained(SETTINGS["sources"]["bible"]).config
    return GPT2(shape, seed=1000 + seed).eval()


def train(model: GPT2, documents: list[list[int]], *, passes: int, rate: float, seed: int) -> float:
    """Next tokens, in place; seconds."""
    blocks = pretraining.pack(documents, model.config.n_positions, tokenizer().eos_token_id)
    config = TrainingConfig(
        epochs=passes, batch_size=SETTINGS["batch_size"], learning_rate=rate, seed=2000 + seed
    )
    items = list(zip(blocks.input_ids, blocks.labels, strict=True))
    return fit(
        model, items, lambda m, b: pretraining.token_loss(m(b[0]), b[1]), config, progress=False
    ).seconds


def source_documents(source: str) -> list[list[int]]:
    return taken(datasets.corpus(source, "train"), SETTINGS["source_tokens"], SETTINGS["exploratory_seed"])


@lru_cache(maxsize=1)
def judge(seed: int) -> CountModel:
    """The left trigram of the training scenes that no budget of this seed reaches: it judges what others generate."""
    documents = datasets.corpus("shakespeare", "train")
    n_learnt = len(scenes_to_learn(max(int(n) for n in SETTINGS["passes"]), seed))
    others = draw_order(len(documents), seed)[n_learnt:]
    return CountModel(
        [tokenizer().encode(documents[i].text) for i in others], len(tokenizer()), "left-trigram"
    )


# ---------------------------------------------------------------- language model


def network_nats(model: GPT2, part: str) -> list[float]:
    """Of each held-out scene; every token has at least n_positions − stride tokens of its scene before it."""
    eos, nats = tokenizer().eos_token_id, []
    with torch.inference_mode():
        for scene in held_out(part):
            rows = pretraining.windows(scene.ids, model.config.n_positions, eos, stride=SETTINGS["stride"])
            nats.append(float(pretraining.token_nats(model(rows.input_ids), rows.labels).sum()))
    return nats


def count_nats(counts: CountModel) -> list[float]:
    texts = [np.array([scene.ids]) for scene in held_out("test")]
    return [float(counts.nats(text, text).sum()) for text in texts]


def scored(nats: list[float], part: str = "test") -> dict:
    scenes = held_out(part)
    n_tokens, texts = sum(len(s.ids) for s in scenes), [s.text for s in scenes]
    return {
        "perplexity": pretraining.perplexity_per_byte(sum(nats) / n_tokens, n_tokens, texts),
        "nats": [round(x, 2) for x in nats],
        "bytes": [len(text.encode()) for text in texts],
        "groups": [s.play for s in scenes],
    }


# ---------------------------------------------------------------- completion


@lru_cache(maxsize=1)
def goes_on() -> np.ndarray:
    """(V,) whether a token behind letters goes on with the word."""
    return np.array([bool(re.match("[A-Za-z']", token)) for token in tokenizer().tokens])


def completed(first: np.ndarray, best: list[np.ndarray]) -> dict:
    """Right: the fifth word as the likeliest tokens spell it; right5: with one of the five likeliest first tokens.

    first: (N, 5); best: per line the likeliest token at each place of the true word and behind it. Where it is the true
    one at every place, going on token by token would have written the same, so nothing needs to be generated.
    """
    right, right5 = [], []
    for line, five, tokens in zip(lines(), first, best, strict=True):
        rest = list(tokens[1:-1]) == list(line.target[1:]) and not goes_on()[tokens[-1]]
        right.append(rest and five[0] == line.target[0])
        right5.append(rest and line.target[0] in five)
    bits = {"right": right, "right5": right5}
    return {name: "".join("1" if x else "0" for x in values) for name, values in bits.items()}


def network_completions(model: GPT2, context: str) -> dict:
    """context: "scene", what comes before in the scene and the line's four words; "line", these alone."""
    eos, first, best = tokenizer().eos_token_id, [], []
    with torch.inference_mode():
        for line in lines():
            prompt = line.before if context == "scene" else (eos, *line.own)
            logits = model(torch.tensor([[*prompt, *line.target]]))[0, len(prompt) - 1 :]
            first.append(logits[0].topk(5).indices.numpy())
            best.append(logits.argmax(-1).numpy())
    return completed(np.array(first), best)


def count_completions(counts: CountModel) -> dict:
    first, best = [], []
    for line in lines():
        row = np.array([[*line.before[-2:], *line.target, tokenizer().eos_token_id]])
        asked = np.where(np.arange(row.shape[1]) < 2, pretraining.IGNORED, row)
        first.append(np.argsort(next_nats(counts, [line.before])[0], kind="stable")[:5])
        best.append(counts.predict(row, asked))
    return completed(np.array(first), best)


def next_nats(counts: CountModel, rows: list) -> np.ndarray:
    """−ln P of every token behind each row, (B, V)."""
    V = counts.vocab_size
    ids = np.empty((len(rows), V, 3), dtype=np.int64)
    ids[:, :, :2] = np.array([row[-2:] for row in rows])[:, None]
    ids[:, :, 2] = np.arange(V)
    asked = np.where(np.arange(3) < 2, pretraining.IGNORED, ids)
    return counts.nats(ids.reshape(-1, 3), asked.reshape(-1, 3)).reshape(-1, V)


def commonest_words(documents: list[list[int]]) -> dict:
    """The baseline that reads no line: the commonest word, and the five commonest, of the training text."""
    counts = Counter(re.findall(r"(?<= )[A-Za-z]+", " ".join(tokenizer().decode(d) for d in documents)))
    five = [word for word, _ in counts.most_common(5)]
    targets = [tokenizer().decode(line.target).strip() for line in lines()]
    return {
        "right": "".join("1" if t == five[0] else "0" for t in targets),
        "right5": "".join("1" if t in five else "0" for t in targets),
    }


# ---------------------------------------------------------------- generation


@lru_cache(maxsize=1)
def prompts() -> tuple[Tensor, Tensor]:
    """Openings of test scenes that end with a line, (B, T), and the tokens that really follow, (B, new_tokens).

    All have prompt_tokens tokens: the beginning of a scene is cut from the left to end where a line ends.
    """
    T, new = SETTINGS["prompt_tokens"], SETTINGS["new_tokens"]
    newline, rows = tokenizer().encode("\n")[0], []
    for document in datasets.corpus("shakespeare", "test"):
        ids = tokenizer().encode(document.text)
        ends = [i + 1 for i in range(4 * T, len(ids) - new) if ids[i] == newline and ids[i + 1] != newline]
        if ends:
            rows.append(ids[ends[0] - T : ends[0] + new])
    order = np.random.default_rng(SETTINGS["exploratory_seed"]).permutation(len(rows))
    chosen = torch.tensor([rows[i] for i in order[: SETTINGS["prompts"]]])
    return chosen[:, :T], chosen[:, T:]


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """Those of the training text of all three corpora: any other word is made up, or rare."""
    names = ("shakespeare", "bible", "wordnet")
    return frozenset(w for name in names for d in datasets.corpus(name, "train") for w in words(d.text))


def described(new: Tensor, documents: list[list[int]], seed: int) -> dict:
    """Measures of generated tokens (B, N), and two of the texts themselves.

    distinct2, repeated4, copied: see `metrics.distinct`, `repeated`, `longest_copies`, the last against the documents
    learnt from; None where nothing has so many words. known: share of words in `known_words`. trigram_perplexity: per
    byte, as `judge` sees them. Last words may be cut: they are not counted.
    """
    eos = tokenizer().eos_token_id
    rows = [row[: row.index(eos)] if eos in row else row for row in new.tolist()]
    texts = [tokenizer().decode(row) for row in rows]
    samples = [words(text)[:-1] for text in texts]
    everything = [w for s in samples for w in s]
    learnt = [w for d in documents for w in words(tokenizer().decode(d))]
    context, _ = prompts()
    ids = torch.cat([context, new], 1).numpy()  # (B, T + N)
    asked = np.full_like(ids, pretraining.IGNORED)
    for i, row in enumerate(rows):
        asked[i, context.shape[1] : context.shape[1] + len(row)] = row
    nats = judge(seed).nats(ids, asked, boundaries=[eos])
    longest = max(map(len, samples))
    return {
        "words": len(everything),
        "distinct2": metrics.distinct(samples, 2) if longest >= 2 else None,
        "repeated4": metrics.repeated(samples, 4) if longest >= 4 else None,
        "known": float(np.mean([w in known_words() for w in everything])) if everything else None,
        "copied": metrics.longest_copies(samples, learnt).tolist(),
        "trigram_perplexity": pretraining.perplexity_per_byte(float(nats.mean()), len(nats), texts),
        "prompts": [tokenizer().decode(row) for row in context[:2].tolist()],
        "samples": texts[:2],
    }


def count_samples(counts: CountModel, seed: int) -> Tensor:
    """What the counts go on with at temperature 1, (B, new_tokens)."""
    ids, _ = prompts()
    generator = torch.Generator().manual_seed(seed)
    T = ids.shape[1]
    for _ in range(SETTINGS["new_tokens"]):
        logits = -torch.from_numpy(next_nats(counts, ids.tolist()))
        chosen = draw(distribution(logits), torch.rand(len(ids), generator=generator, dtype=torch.float64))
        ids = torch.cat([ids, chosen[:, None]], 1)
    return ids[:, T:]


# ---------------------------------------------------------------- jobs


def tune(arm: str, rate: float) -> dict:
    """Perplexity on validation plays of one candidate rate, exploratory draw."""
    n, seed = SETTINGS["tuned_at"], SETTINGS["exploratory_seed"]
    model = start(arm, seed)
    key = {"task": "tune", "arm": arm, "rate": rate, "n": n, "seed": seed}
    try:
        train(model, scenes_to_learn(n, seed), passes=SETTINGS["passes"][str(n)], rate=rate, seed=seed)
    except FloatingPointError:
        return key | {"perplexity": 256.0}  # it diverged: it knows nothing
    return key | {"perplexity": scored(network_nats(model, "validation"), "validation")["perplexity"]}


def finetune(arm: str, n: int, passes: int, rate: float, seed: int, generate: bool) -> dict:
    """One network after n tokens of Shakespeare, at all three tasks. n = 0: as it comes, without a seed."""
    model, documents = start(arm, seed), []
    key = {"arm": arm, "n": n, "passes": passes, "rate": rate, "seed": seed}
    if n:
        documents = scenes_to_learn(n, seed)
        key["fit_seconds"] = round(train(model, documents, passes=passes, rate=rate, seed=seed), 1)
    runs = [key | {"task": "language model"} | scored(network_nats(model, "test"))]
    plays = [line.play for line in lines()]
    for context in ("scene", "line"):
        named = {"task": "completion", "context": context, "groups": plays}
        runs.append(key | named | network_completions(model, context))
    for number, (name, options) in enumerate(SETTINGS["samplings"].items() if generate else ()):
        context, _ = prompts()
        generator = torch.Generator().manual_seed(10 * seed + number)
        new = model.generate(
            context,
            SETTINGS["new_tokens"],
            generator=generator,
            eos_token_id=tokenizer().eos_token_id,
            **options,
        )[:, context.shape[1] :]
        runs.append(key | {"task": "generation", "sampling": name} | described(new, documents, seed))
    return {"runs": runs}


def count(n: int, seed: int, generate: bool) -> dict:
    """Unigram and left trigram of the same n tokens, and trigrams of a source's tokens before them. n = 0: alone."""
    documents, V = scenes_to_learn(n, seed) if n else [], len(tokenizer())
    before = {f"trigram + {s}" if n else f"trigram of {s}": source_documents(s) for s in SETTINGS["sources"]}
    before |= {"unigram": [], "trigram": []} if n else {}
    plays = [line.play for line in lines()]
    runs = []
    for arm, source in before.items():
        kind = "unigram" if arm == "unigram" else "left-trigram"
        counts = CountModel([*source, *documents], V, kind)
        key = {"arm": arm, "n": n, "seed": seed}
        runs.append(key | {"task": "language model"} | scored(count_nats(counts)))
        named = {"task": "completion", "context": "scene", "groups": plays}
        if kind == "left-trigram":
            runs.append(key | named | count_completions(counts))
        else:
            runs.append(key | {"arm": "commonest words"} | named | commonest_words(documents))
        if generate and arm == "trigram":
            named = {"task": "generation", "sampling": "temperature 1"}
            runs.append(key | named | described(count_samples(counts, seed), documents, seed))
    return {"runs": runs}


def shakespeare(n: int, seed: int) -> dict:
    """The same measures of what Shakespeare goes on with, the training text being as large."""
    key = {"task": "generation", "arm": "Shakespeare", "sampling": "his", "n": n, "seed": seed}
    return key | described(prompts()[1], scenes_to_learn(n, seed), seed)


# ---------------------------------------------------------------- which jobs


def plan_tuning(rates: list[float]) -> dict:
    return {f"tune {arm} {r:g}": (tune, {"arm": arm, "rate": r}) for r in rates for arm in ARMS}


def plan(rates: dict[str, float]) -> dict:
    passes = {int(n): k for n, k in SETTINGS["passes"].items()}
    largest, jobs = max(passes), {}
    for arm in SETTINGS["sources"]:
        arguments = {"arm": arm, "n": 0, "passes": 0, "rate": 0.0, "seed": 0, "generate": False}
        jobs[f"{arm} 0"] = (finetune, arguments)
    jobs["count 0"] = (count, {"n": 0, "seed": 0, "generate": False})
    for seed in SETTINGS["seeds"]:
        for n, k in passes.items():
            for arm in ARMS:
                arguments = {"arm": arm, "n": n, "passes": k, "rate": rates[arm], "seed": seed}
                jobs[f"{arm} {n} {seed}"] = (finetune, arguments | {"generate": n == largest})
            jobs[f"count {n} {seed}"] = (count, {"n": n, "seed": seed, "generate": n == largest})
        jobs[f"Shakespeare {seed}"] = (shakespeare, {"n": largest, "seed": seed})
    return jobs


def tuned() -> tuple[dict, dict[str, float]]:
    """The records of the candidates, and each arm's best; all arms get more where one's best is at the edge."""
    ladder = SETTINGS["ladder"]
    low, high = (ladder.index(SETTINGS["first_rates"][i]) for i in (0, -1))
    while True:
        candidates = ladder[low : high + 1]
        records = STUDY.run(plan_tuning(candidates))
        rates = {
            arm: min(candidates, key=lambda r: (records[f"tune {arm} {r:g}"]["perplexity"], r))
            for arm in ARMS
        }
        if candidates[0] not in rates.values() and candidates[-1] not in rates.values():
            return records, rates
        low -= candidates[0] in rates.values()
        high += candidates[-1] in rates.values()
        if low < 0 or high == len(ladder):
            raise ValueError(f"best rates {rates} at the ends of {ladder}; make the ladder longer")


def bits_difference(a: list[dict], b: list[dict], groups: str) -> dict:
    """Bits per byte of arm a less those of arm b, negative where a is better, over seeds and plays, or scenes."""

    def statistic(x: dict, y: dict):
        gap, size = (np.array(x["nats"]) - np.array(y["nats"])) / np.log(2), np.array(x["bytes"])
        return lambda w: float(w @ gap / (w @ size)) if w.any() else float("nan")

    names = [x["groups"] if groups == "plays" else list(range(len(x["nats"]))) for x in a]
    found = metrics.seeds_and_groups_statistic([statistic(x, y) for x, y in zip(a, b, strict=True)], names)
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def differences(records: dict[str, dict]) -> dict:
    """Of the language models: every pair of arms at every budget."""
    runs = [r for record in records.values() for r in record.get("runs", [record])]
    pairs = (("bible", "wordnet"), ("bible", "scratch"), ("wordnet", "scratch"), ("bible", "trigram"))
    pairs += (("wordnet", "trigram"), ("scratch", "trigram"), ("trigram + bible", "trigram + wordnet"))
    found = {}
    for n in SETTINGS["passes"]:
        arms = {}
        for run in runs:
            if run["task"] == "language model" and run["n"] == int(n):
                arms.setdefault(run["arm"], []).append(run)
        for a, b in pairs:
            x, y = (sorted(arms[arm], key=lambda r: r["seed"]) for arm in (a, b))
            found[f"{a} − {b}, {n}"] = {g: bits_difference(x, y, g) for g in ("plays", "scenes")}
    return found


def main() -> None:
    records, rates = tuned()
    print("chosen rates:", rates)
    records |= STUDY.run(plan(rates))
    STUDY.write(records, rates=rates, bits_per_byte=differences(records))


if __name__ == "__main__":
    main()
