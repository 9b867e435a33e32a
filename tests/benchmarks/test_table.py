"""The page: each number of a record in its place."""

import json

import pytest

from benchmarks import table

ENVIRONMENT = {
    "python": "3.12.1", "torch": "2.9", "torchvision": "0.24", "transformers": "5.1", "processor": "Some Chip",
    "kernels": "AVX2", "threads": 2,
}  # fmt: skip
TIMES = {"ours": {"wall": [0.5, 0.25, 0.5]}, "theirs": {"wall": [1.0, 0.5, 1.0]}}  # a ratio of 2, always


def body(*records):
    return {
        "date": "2026-01-31",
        "seconds": 77,
        "environment": ENVIRONMENT,
        "limits": {"matmul_gflops": 200.0, "read_gbytes": 20.0},
        "records": list(records),
    }


def row(text, start):
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_pass_is_told_in_milliseconds_and_operations():
    record = {
        "network": "bert-base", "task": "forward", "aim": 0.97, "rows": "padded", "shape": [4, 128], "flops": 25e9
    }  # fmt: skip
    assert row(table.write({"bert": body(record | TIMES)}), "bert-base") == [
        "bert-base", "forward, padded", "4 × 128", "500 ms", "1000 ms", "2.000 (2.000 to 2.000)", "3",
        "0.97: reached", "50 GFLOP/s, 25%",
    ]  # fmt: skip


def test_a_batch_of_images_is_told_with_its_sides():
    record = {"network": "vgg-16", "task": "forward", "aim": 0.97, "shape": [4, 224, 224], "flops": 25e9}
    assert row(table.write({"vgg": body(record | TIMES)}), "vgg-16")[2] == "4 × 224 × 224"


def test_a_generation_is_told_for_each_token_and_in_bytes():
    record = {
        "network": "gpt2",
        "task": "generation",
        "aim": 2.001,
        "shape": [8, 32],
        "n_new": 10,
        "bytes": 1e9,
    }
    assert row(table.write({"generation": body(record | TIMES)}), "gpt2") == [
        "gpt2", "generation", "8 × 32, 10 new", "50.00 ms, 160 tokens/s", "100.00 ms, 80 tokens/s",
        "2.000 (2.000 to 2.000)", "3", "2.001: missed", "2.0 GB/s, 10%",
    ]  # fmt: skip


def test_an_aim_is_held_against_the_lower_end():
    times = {"ours": {"wall": [1.0] * 4}, "theirs": {"wall": [0.9, 1.0, 1.0, 1.1]}}
    record = {"aim": 0.97, **times}
    assert table.aim(record) == "0.97: missed" and table.aim(record | {"aim": 0.9}) == "0.9: reached"
    assert table.aim(record | {"aim": None}) == "–"


def test_bfloat16_has_a_section_of_its_own():
    record = {
        "network": "gpt2", "task": "generation in bfloat16", "aim": None, "against": "ours in float32",
        "instructions": "avx512_bf16", "shape": [1, 32], "n_new": 5, "bytes": 5e8,
    }  # fmt: skip
    page = table.write({"bfloat16": body(record | TIMES)})
    assert row(page, "1 × 32, 5 new") == [
        "1 × 32, 5 new", "100.00 ms, 10 tokens/s", "ours in float32", "200.00 ms, 5 tokens/s",
        "2.000 (2.000 to 2.000)", "–", "1.0 GB/s, 5%", "avx512_bf16",
    ]  # fmt: skip
    assert "## Weights in bfloat16" in page and "## Speed" not in page


def test_logme_has_a_section_of_its_own():
    record = {
        "network": "logme", "task": "score", "aim": 0.667, "shape": [30, 7], "n_classes": 3,
        "svd": "numpy.linalg.svd",
    }  # fmt: skip
    page = table.write({"logme": body(record | TIMES)})
    assert row(page, "30 × 7") == [
        "30 × 7", "3", "500 ms", "1000 ms", "numpy.linalg.svd", "2.000 (2.000 to 2.000)", "3", "0.667: reached"
    ]  # fmt: skip
    assert "## LogME" in page and "## Speed" not in page


def test_memory_is_told_in_megabytes():
    record = {
        "network": "bert", "task": "forward", "shape": [4, 128],
        "ours": {"tensors": 1_250_000, "resident": None}, "theirs": {"tensors": 2_500_000_000, "resident": 3_000_000},
    }  # fmt: skip
    assert row(table.write({"memory": body(record)}), "bert") == [
        "bert", "forward", "4 × 128", "1.2", "2,500.0", "0.001", "not told", "3.0"
    ]  # fmt: skip


def test_perplexity_has_a_row_for_each_unit():
    found = {
        "float32": {"per token": 50.0, "per byte": 3.0},
        "bfloat16": {"per token": 50.25, "per byte": 2.97},
    }
    page = table.write({"perplexity": body({"checkpoint": "mini", "corpus": "bible", "perplexity": found})})
    assert "| mini | bible | per token | 50.0000 | 50.2500 | +0.50% |" in page
    assert "| mini | bible | per byte | 3.0000 | 2.9700 | -1.00% |" in page


def test_where_and_when_is_told_of_each_part():
    page = table.write({"one": body(), "two": body()})
    assert row(page, "two") == [
        "two", "2026-01-31", "77", "Some Chip", "AVX2", "2", "200 GFLOP/s", "20.0 GB/s",
        "Python 3.12.1, torch 2.9, torchvision 0.24, transformers 5.1",
    ]  # fmt: skip
    assert page.startswith("# Ours against transformers") and page.count("\n## ") == 1


def test_results_are_read_by_part(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no results in .*; measure with: make bench"):
        table.load(tmp_path)
    (tmp_path / "b.json").write_text(json.dumps(body()))
    (tmp_path / "a.json").write_text(json.dumps(body({"x": 1})))
    assert list(table.load(tmp_path)) == ["a", "b"] and table.load(tmp_path)["a"]["records"] == [{"x": 1}]
