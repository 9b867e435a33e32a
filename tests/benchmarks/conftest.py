"""Networks small enough for a test, in the places of those that are measured."""

import pytest

from benchmarks import sides
from tlcourse.models.albert import AlbertConfig
from tlcourse.models.bert import BertConfig
from tlcourse.models.gpt2 import GPT2Config

ENCODER = {"vocab_size": 61, "d_model": 12, "n_layers": 2, "n_heads": 3, "d_inner": 20, "n_positions": 128}
OFF = {"dropout": 0.0, "attention_dropout": 0.0, "init_sd": 0.3}  # two sides never draw the same dropout
TINY = {
    "bert-base": sides.Network(sides.BertForMaskedLM, BertConfig(**ENCODER, **OFF), "BertForMaskedLM"),
    "albert-base": sides.Network(
        sides.AlbertForMaskedLM, AlbertConfig(**ENCODER, **OFF, d_embedding=7), "AlbertForMaskedLM"
    ),
    "gpt2-124m": sides.Network(
        sides.GPT2,
        GPT2Config(
            vocab_size=61, d_model=12, n_layers=2, n_heads=3, n_positions=128, init_sd=0.3, d_inner=20,
            embedding_dropout=0.0, residual_dropout=0.0, attention_dropout=0.0,
        ),
        "GPT2LMHeadModel",
    ),
}  # fmt: skip
TINY["gpt2-mini"] = TINY["gpt2-124m"]


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(sides, "NETWORKS", TINY)
    return TINY
