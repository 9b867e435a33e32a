"""The checkpoints that come with the project: each with its card, true to it, and opened alike by a peer library."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.reference.checkpoint_faults import faults
from tlcourse.weights import checkpoints, shipped

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 24e6


def bytes_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_every_checkpoint_is_as_its_card_says_and_transformers_or_torchvision_agrees_to_1e_5():
    assert [fault for name in checkpoints() for fault in faults(shipped.home() / name, ROOT)] == []


def test_all_checkpoints_together_are_24_megabytes_at_most():
    assert not shipped.home().is_dir() or bytes_of(shipped.home()) <= MOST_BYTES


def test_every_weight_is_stored_in_float16():
    for name in checkpoints():
        state = load_file(shipped.home() / name / "model.safetensors")
        # What counts the batches that a norm has seen is a whole number, and no weight.
        weights = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
        assert {t.dtype for t in weights.values()} == {torch.float16}, name
