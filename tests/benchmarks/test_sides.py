"""Both sides compute the same: logits, losses over training, tokens."""

import pytest
import torch

from benchmarks import sides, work
from tests.benchmarks.conftest import TINY
from tests.reference.encoder_pairs import error

LENGTHS = (9, 5, 1)


@pytest.fixture(params=["bert-base", "albert-base", "gpt2-124m"])
def found(request):
    """In float64, so that training and greedy choice do not part by rounding."""
    network = TINY[request.param]
    pair = sides.both(network)
    pair.ours.double(), pair.theirs.double()
    return pair, work.random_batch(61, LENGTHS, masked=network.masked)


def test_both_sides_have_the_same_logits(found):
    pair, batch = found
    ours, theirs = work.forward(pair.ours, batch)(), work.forward(pair.theirs, batch)()
    words = batch.attention_mask.bool()  # what stands at padding means nothing
    assert error(ours[words], theirs[words]) <= 1e-12 and ours[words].std() > 0.1
    assert pair.theirs.config._attn_implementation == "sdpa"


def test_both_sides_train_alike(found):
    pair, batch = found
    steps = work.training_step(pair.ours, batch), work.training_step(pair.theirs, batch)
    losses = torch.tensor([[step().item() for step in steps] for _ in range(4)])  # (steps, sides)
    assert error(losses[:, 0], losses[:, 1]) <= 1e-10
    assert (losses.diff(dim=0) < 0).all()
    assert all(p.grad is None for model in (pair.ours, pair.theirs) for p in model.parameters())


def test_both_classifiers_have_the_same_logits_and_train_alike():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    pair = sides.both_classifiers(sides.CLASSIFIERS["resnet-18"])
    assert torch.equal(torch.get_rng_state(), before)
    pair.ours.double(), pair.theirs.double()
    batch = work.random_images(3, 40, 1000)
    batch = work.ImageBatch(batch.images.double(), batch.labels)
    ours, theirs = (work.forward(model, batch)() for model in (pair.ours, pair.theirs))
    assert error(ours, theirs) <= 1e-12 and ours.std() > 0.1
    steps = work.training_step(pair.ours, batch), work.training_step(pair.theirs, batch)
    losses = torch.tensor([[step().item() for step in steps] for _ in range(4)])  # (steps, sides)
    assert error(losses[:, 0], losses[:, 1]) <= 1e-10
    assert (losses.diff(dim=0) < 0).all()


def test_classifiers_are_torchvisions_of_these_names():
    names = {name: network.theirs.__name__ for name, network in sides.CLASSIFIERS.items()}
    assert names == {name: name.replace("-", "") for name in ("vgg-16", "resnet-18", "resnet-50")}


@pytest.mark.parametrize("n_rows", [1, 8])
def test_both_sides_write_the_same_text(n_rows):
    pair = sides.both(TINY["gpt2-mini"])
    pair.ours.double(), pair.theirs.double()
    prompt = work.random_batch(61, (7,) * n_rows, masked=False).input_ids
    texts = [work.generation(model, prompt, 20)() for model in (pair.ours, pair.theirs)]
    assert texts[0].shape == (n_rows, 27) and torch.equal(*texts)
    assert torch.equal(texts[0][:, :7], prompt) and len(texts[0].unique()) > 5


def test_a_tensor_without_a_place_is_an_error(tmp_path):
    network = TINY["bert-base"]
    network.ours(network.config).save_pretrained(tmp_path)
    other = sides.Network(network.ours, network.config, "BertForTokenClassification")
    with pytest.raises(
        RuntimeError, match=r"transformers did not load BertForTokenClassification as we saved"
    ):
        sides.load_theirs(other, tmp_path)


def test_our_side_loads_what_was_saved(tmp_path):
    network = TINY["gpt2-mini"]
    saved = network.ours(network.config, seed=5)
    saved.save_pretrained(tmp_path)
    loaded = sides.load_ours(network, tmp_path).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in saved.state_dict().items())


def test_the_networks_are_those_of_the_papers():
    sizes = {name: sum(p.numel() for p in n.ours(n.config).parameters()) for name, n in sides.NETWORKS.items()
             if name == "gpt2-mini"}  # fmt: skip
    assert sizes == {"gpt2-mini": 4096 * 192 + 128 * 192 + 4 * (12 * 192**2 + 13 * 192) + 2 * 192}
    found = {name: (n.config.d_model, n.config.n_layers, n.masked) for name, n in sides.NETWORKS.items()}
    assert found == {
        "bert-base": (768, 12, True),
        "albert-base": (768, 12, True),
        "gpt2-124m": (768, 12, False),
        "gpt2-mini": (192, 4, False),
    }
