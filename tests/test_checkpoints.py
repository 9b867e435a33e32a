"""The checkpoints that come with the project: each with its card, true to it, and opened alike by a peer library.

Autoencoders have no peer: they answer as when they were stored, and are scored again.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.reference.checkpoint_faults import faults
from tlcourse import results
from tlcourse.models.autoencoder import Autoencoder
from tlcourse.weights import checkpoints, export, read_card, shipped

ROOT = Path(__file__).resolve().parents[1]


def bytes_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_every_checkpoint_is_as_its_card_says_and_transformers_or_torchvision_agrees_to_1e_5():
    assert [fault for name in checkpoints() for fault in faults(shipped.home() / name, ROOT)] == []


def test_language_models_are_24_megabytes_at_most_zoo_and_autoencoders_16():
    small = [name for name in checkpoints() if name.startswith(("zoo-", "autoencoder-"))]
    assert len(small) == 16 + 7
    assert sum(bytes_of(shipped.home() / name) for name in small) <= 16e6
    assert sum(bytes_of(shipped.home() / name) for name in {*checkpoints()} - {*small}) <= 24e6


# Not that of images: they are a download that no chapter needs.
@pytest.mark.parametrize("modality", ["text", "audio", "video"])
def test_an_autoencoder_scored_again_has_the_figures_of_its_card_and_those_of_the_study(modality):
    script = results.load_script(results.SCRIPTS / "pretrained" / "autoencoder_checkpoints.py")
    name = f"autoencoder-{modality}"
    found = script.scores(Autoencoder.from_pretrained(name), modality, "plain")
    on_the_card = {f"held out: {script.LABELS[k]}": v for k, v in found.items() if k in script.LABELS}
    assert on_the_card == pytest.approx(read_card(name).metrics, rel=1e-3)
    # The study's own network is the same, but not rounded to float16.
    (studied,) = results.load("pretrained/autoencoders").select(task="kept", modality=modality, seed=0)
    assert found == pytest.approx({k: studied[k] for k in found}, rel=1e-3)


def test_an_autoencoder_that_answers_otherwise_is_found(tmp_path):
    model, folder = Autoencoder.from_pretrained("autoencoder-audio"), tmp_path / "autoencoder-audio"
    with torch.no_grad():
        model.encoder.image.to_code.weight.mul_(1.01)
    export(model, None, read_card("autoencoder-audio"), folder)
    (fault,) = faults(folder, ROOT)
    assert "autoencoder-audio: its answers differ from those when it was stored by" in fault


def test_every_weight_is_stored_in_float16():
    for name in checkpoints():
        state = load_file(shipped.home() / name / "model.safetensors")
        # What counts the batches that a norm has seen is a whole number, and no weight.
        weights = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
        assert {t.dtype for t in weights.values()} == {torch.float16}, name
