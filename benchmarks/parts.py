"""The parts of the benchmark: each makes the records of one results file, and can be run alone.

A record of a comparison holds every single time, so that the table, or another statistic, can be made of it anew.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np
import torch

from benchmarks import half, memory, sides, work
from benchmarks.machine import bfloat16_instructions
from benchmarks.pairs import interleave
from tlcourse.transfer.distance import logme

Say = Callable[[str], None]
FULL, PADDED = (128, 128), (128, 64)  # lengths of the rows
PROMPT = 32
AIM, AIM_MINI = 0.97, 2.0  # lower end of the interval of theirs / ours
AIM_LOGME = 0.667  # at most one and a half times as long as the SVD
MEMORY_SHAPE = (4, 128)
IMAGES, SIDE, N_CLASSES = 2, 224, 1000  # pixels and classes as in ImageNet
FEATURES, N_LABELS = (5000, 1280), 10  # as wide as EfficientNet's


def passes(network: str, seconds: float, say: Say) -> list[dict]:
    """Forward pass and training step; of a masked-word model, which pads as it trains, with padding too."""
    found = sides.NETWORKS[network]
    pair = sides.both(found)
    batches = {
        name: work.random_batch(found.config.vocab_size, lengths, masked=found.masked)
        for name, lengths in {"no padding": FULL, "padded": PADDED}.items()
        if found.masked or name == "no padding"
    }
    flops = work.forward_flops(pair.ours, batches["no padding"])
    records = []
    for task, make, times in (("forward", work.forward, 1), ("training step", work.training_step, 3)):
        for name, batch in batches.items():
            runs = make(pair.ours, batch), make(pair.theirs, batch)
            # Backward has two products for each one of forward.
            settings = {"shape": list(batch.input_ids.shape), "rows": name, "flops": times * flops}
            records.append(compare(network, task, *runs, seconds, say, **settings))
    return records


def classifier(network: str, seconds: float, say: Say) -> list[dict]:
    """Forward pass and training step of a network that classifies images.

    difference: of both sides' logits, the largest, relative to the largest of theirs.
    """
    pair, batch = (
        sides.both_classifiers(sides.CLASSIFIERS[network]),
        work.random_images(IMAGES, SIDE, N_CLASSES),
    )
    forward = work.forward(pair.ours, batch), work.forward(pair.theirs, batch)
    ours, theirs = (run() for run in forward)
    flops = work.forward_flops(pair.ours, batch)
    settings = {
        "shape": [IMAGES, SIDE, SIDE],
        "parameters": sum(p.numel() for p in pair.ours.parameters()),
        "difference": float((ours - theirs).abs().max() / theirs.abs().max()),
        "flops": flops,
    }
    records = [compare(network, "forward", *forward, seconds, say, **settings)]
    settings["flops"] = 3 * flops  # backward has two products for each one of forward
    step = work.training_step(pair.ours, batch), work.training_step(pair.theirs, batch)
    return [*records, compare(network, "training step", *step, seconds, say, **settings)]


def generation(network: str, n_new: int, aim: float, seconds: float, say: Say) -> list[dict]:
    """Greedy continuation of one prompt and of eight, in float32."""
    pair = sides.both(sides.NETWORKS[network])
    return [
        compare(
            network,
            "generation",
            work.generation(pair.ours, prompts(pair, n_rows), n_new),
            work.generation(pair.theirs, prompts(pair, n_rows), n_new),
            seconds,
            say,
            aim=aim,
            shape=[n_rows, PROMPT],
            n_new=n_new,
            bytes=n_new * work.weight_bytes(pair.ours),
        )
        for n_rows in (1, 8)
    ]


def bfloat16(seconds: float, say: Say) -> list[dict]:
    """The same continuation with bfloat16 weights: against ours in float32, and against theirs in bfloat16."""
    network, n_new, records = "gpt2-124m", 16, []
    single, pair = sides.both(sides.NETWORKS[network]), sides.both(sides.NETWORKS[network])
    pair.ours.to(torch.bfloat16), pair.theirs.to(torch.bfloat16)
    for n_rows in (1, 8):
        ours = work.generation(pair.ours, prompts(pair, n_rows), n_new)
        settings = {
            "shape": [n_rows, PROMPT],
            "n_new": n_new,
            "bytes": n_new * work.weight_bytes(pair.ours),
            "instructions": bfloat16_instructions(),
        }
        others = {"ours in float32": single.ours, "transformers in bfloat16": pair.theirs}
        for name, other in others.items():
            run = work.generation(other, prompts(pair, n_rows), n_new)
            records.append(
                compare(
                    network, "generation in bfloat16", ours, run, seconds, say,
                    aim=AIM if other is pair.theirs else None, against=name, **settings,
                )
            )  # fmt: skip
    return records


def evidence(seconds: float, say: Say) -> list[dict]:
    """LogME against one thin SVD of the same features alone, by the function that `logme` calls."""
    features, labels = work.random_features(*FEATURES, N_LABELS)
    return [
        compare(
            "logme",
            "score",
            partial(logme, features, labels),
            partial(np.linalg.svd, features.numpy(), full_matrices=False),
            seconds,
            say,
            aim=AIM_LOGME,
            shape=list(FEATURES),
            n_classes=N_LABELS,
            svd="numpy.linalg.svd",
        )
    ]


def perplexity(seconds: float, say: Say) -> list[dict]:
    """Perplexity of the book's own checkpoints in both precisions; takes the time it takes."""
    records = []
    for name, corpus in half.CHECKPOINTS.items():
        found = half.perplexities(name, half.held_out(corpus))
        worst = max(abs(found["bfloat16"][per] / found["float32"][per] - 1) for per in found["float32"])
        say(f"{name}: bfloat16 changes perplexity by at most {worst:.3%}")
        records.append({"checkpoint": name, "corpus": corpus, "perplexity": found, "largest_change": worst})
    return records


def memory_of_all(seconds: float, say: Say) -> list[dict]:
    """Memory of each kind of work, each side in a process of its own; takes the time it takes."""
    records = []
    for name in ("bert-base", "albert-base", "gpt2-124m"):
        network = sides.NETWORKS[name]
        with tempfile.TemporaryDirectory() as folder:
            network.ours(network.config).save_pretrained(folder)
            for kind in memory.KINDS if name == "gpt2-124m" else memory.KINDS[:2]:
                found = {
                    side: memory.in_a_process(name, side, kind, folder, MEMORY_SHAPE)
                    for side in ("ours", "theirs")
                }
                ratio = found["ours"]["tensors"] / found["theirs"]["tensors"]
                say(f"{name}, {kind}: ours takes {ratio:.3f} of their memory")
                records.append({"network": name, "task": kind, "shape": list(MEMORY_SHAPE), **found})
    return records


def prompts(pair: sides.Sides, n_rows: int) -> torch.Tensor:
    """(n_rows, PROMPT) random ids."""
    return work.random_batch(pair.ours.config.vocab_size, (PROMPT,) * n_rows, masked=False).input_ids


def compare(
    network: str,
    task: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    seconds: float,
    say: Say,
    *,
    aim: float | None = AIM,
    **settings: object,
) -> dict:
    """Time both in pairs; the record."""
    found = interleave(ours, theirs, seconds=seconds)
    say(f"{network}, {task}, {settings}: {len(found.ours.wall)} pairs")
    return {"network": network, "task": task, "aim": aim, **settings, **asdict(found)}


# Name → what makes its records, and how many comparisons share the time; 0: it is not timed.
PARTS: dict[str, tuple[Callable[[float, Say], list[dict]], int]] = {
    "bert": (partial(passes, "bert-base"), 4),
    "albert": (partial(passes, "albert-base"), 4),
    "gpt2": (partial(passes, "gpt2-124m"), 2),
    **{name: (partial(classifier, name), 2) for name in sides.CLASSIFIERS},
    "generation": (partial(generation, "gpt2-124m", 16, AIM), 2),
    "generation-mini": (partial(generation, "gpt2-mini", 64, AIM_MINI), 2),
    "bfloat16": (bfloat16, 4),
    "logme": (evidence, 1),
    "memory": (memory_of_all, 0),
    "perplexity": (perplexity, 0),
}
