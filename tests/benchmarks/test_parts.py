"""The parts on tiny networks: what each record holds. Nothing is said about times, which are no test's business."""

import pytest
import torch

from benchmarks import parts
from benchmarks.pairs import Pairs, Times


@pytest.fixture
def told():
    return []


@pytest.fixture
def once(monkeypatch):
    """Each side runs once; what they return is kept."""
    runs = []

    def interleave(ours, theirs, *, seconds):
        runs.append((ours(), theirs()))
        return Pairs(Times((1.0, 2.0), (1.5, 2.5)), Times((2.0, 3.0), (2.5, 3.5)))

    monkeypatch.setattr(parts, "interleave", interleave)
    return runs


@pytest.mark.parametrize(("network", "n"), [("bert-base", 4), ("albert-base", 4), ("gpt2-124m", 2)])
def test_passes_are_timed_forward_and_training_and_padded_where_masked(tiny, once, told, network, n):
    records = parts.passes(network, 0.0, told.append)
    assert len(records) == len(once) == len(told) == n
    assert [r["task"] for r in records] == ["forward"] * (n // 2) + ["training step"] * (n // 2)
    assert [r["rows"] for r in records[: n // 2]] == ["no padding", "padded"][: n // 2]
    assert all(r["shape"] == [2, 128] and r["aim"] == 0.97 and r["network"] == network for r in records)
    assert records[-1]["flops"] == 3 * records[0]["flops"] > 0
    assert records[0]["ours"] == {"wall": (1.0, 2.0), "cpu": (1.5, 2.5)}
    forward, step = once[0], once[n // 2]
    assert forward[0].shape == forward[1].shape == (2, 128, 61) and step[0].dim() == 0


@pytest.mark.parametrize("name", ["vgg-16", "resnet-18", "resnet-50"])
def test_a_classifier_of_images_is_timed_forward_and_in_training(monkeypatch, once, told, name):
    small = {name: parts.sides.CLASSIFIERS["resnet-18"]}
    monkeypatch.setattr(parts.sides, "CLASSIFIERS", small)
    monkeypatch.setattr(parts, "SIDE", 32)
    part, n = parts.PARTS[name]
    records = part(0.0, told.append)
    assert len(records) == len(once) == len(told) == n == 2
    assert [(r["network"], r["task"]) for r in records] == [(name, "forward"), (name, "training step")]
    assert all(r["shape"] == [2, 32, 32] and r["aim"] == 0.97 for r in records)
    assert records[1]["flops"] == 3 * records[0]["flops"] > 0
    assert records[0]["difference"] < 1e-5 and records[0]["parameters"] == 11_689_512
    assert once[0][0].shape == once[0][1].shape == (2, 1000)
    assert once[1][0].dim() == once[1][1].dim() == 0


def test_a_generation_is_timed_for_one_prompt_and_for_eight(tiny, once, told):
    records = parts.generation("gpt2-mini", 5, 2.0, 0.0, told.append)
    assert [r["shape"] for r in records] == [[1, 32], [8, 32]]
    assert all(r["n_new"] == 5 and r["aim"] == 2.0 for r in records)
    assert records[0]["bytes"] == records[1]["bytes"] == 5 * parts.work.weight_bytes(tiny["gpt2-mini"].ours(
        tiny["gpt2-mini"].config))  # fmt: skip
    for (ours, theirs), n_rows in zip(once, (1, 8), strict=True):
        assert ours.shape == theirs.shape == (n_rows, 37)
        assert torch.equal(ours[:, :32], theirs[:, :32])


def test_bfloat16_meets_our_float32_and_their_bfloat16(tiny, once, told):
    records = parts.bfloat16(0.0, told.append)
    assert [r["against"] for r in records] == ["ours in float32", "transformers in bfloat16"] * 2
    assert [r["aim"] for r in records] == [None, 0.97] * 2
    assert all(r["task"] == "generation in bfloat16" and r["instructions"] for r in records)
    single = parts.work.weight_bytes(tiny["gpt2-124m"].ours(tiny["gpt2-124m"].config))
    assert {r["bytes"] for r in records} == {16 * single // 2}


def test_logme_meets_the_decomposition_that_it_calls(monkeypatch, once, told):
    monkeypatch.setattr(parts, "FEATURES", (30, 7))
    monkeypatch.setattr(parts, "N_LABELS", 3)
    called, svd = [], parts.np.linalg.svd
    monkeypatch.setattr(parts.np.linalg, "svd", lambda *a, **k: called.append((a, k)) or svd(*a, **k))
    part, n = parts.PARTS["logme"]
    records = part(0.0, told.append)
    assert len(records) == len(once) == len(told) == n == 1
    settings = {"network": "logme", "task": "score", "aim": 0.667, "shape": [30, 7], "n_classes": 3}
    assert settings.items() < records[0].items() and records[0]["svd"] == "numpy.linalg.svd"
    score, factors = once[0]
    assert isinstance(score, float) and [f.shape for f in factors] == [(30, 7), (7,), (7, 7)]
    (of_logme, how), (alone, likewise) = called
    assert (of_logme[0] == alone[0]).all() and how == likewise == {"full_matrices": False}


def test_perplexity_says_the_largest_change(monkeypatch, told):
    found = {
        "float32": {"per token": 100.0, "per byte": 4.0},
        "bfloat16": {"per token": 99.0, "per byte": 4.01},
    }
    monkeypatch.setattr(parts.half, "held_out", lambda corpus: [corpus])
    monkeypatch.setattr(parts.half, "perplexities", lambda name, texts: found if texts else None)
    records = parts.perplexity(0.0, told.append)
    assert [(r["checkpoint"], r["corpus"]) for r in records] == list(parts.half.CHECKPOINTS.items())
    assert records[0]["largest_change"] == pytest.approx(0.01) and records[0]["perplexity"] == found
    assert told[0] == "gpt2-mini-bible: bfloat16 changes perplexity by at most 1.000%"


def test_memory_is_asked_of_each_side_and_kind(tiny, monkeypatch, told):
    asked = []

    def in_a_process(network, side, kind, folder, shape):
        asked.append((network, side, kind))
        assert (parts.memory.Path(folder) / "config.json").is_file() and shape == (4, 128)
        return {"resident": None, "tensors": 90 if side == "ours" else 100}

    monkeypatch.setattr(parts.memory, "in_a_process", in_a_process)
    records = parts.memory_of_all(0.0, told.append)
    kinds = [("bert-base", 2), ("albert-base", 2), ("gpt2-124m", 3)]
    assert asked == [
        (network, side, kind)
        for network, n in kinds
        for kind in parts.memory.KINDS[:n]
        for side in ("ours", "theirs")
    ]
    assert records[0] == {
        "network": "bert-base", "task": "forward", "shape": [4, 128],
        "ours": {"resident": None, "tensors": 90}, "theirs": {"resident": None, "tensors": 100},
    }  # fmt: skip
    assert told[0] == "bert-base, forward: ours takes 0.900 of their memory"


def test_the_number_of_comparisons_is_the_number_of_records(tiny, once, told):
    for name in ("bert", "albert", "gpt2", "generation", "generation-mini", "bfloat16"):
        part, n = parts.PARTS[name]
        assert len(part(0.0, told.append)) == n, name
