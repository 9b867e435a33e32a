"""A head on the codes: what trains, what does not, and that the caller's autoencoder is left alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from tlcourse.models.autoencoder import (
    Autoencoder,
    CodeModel,
    DenoisingAutoencoder,
    TextConfig,
    VariationalAutoencoder,
    VectorConfig,
    joint_loss,
    squared_errors,
)

CONFIG = VectorConfig(6, 3, (5,))
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 2


def step(model, loss):
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def moved(model, before):
    return {name.split(".")[1 if "autoencoder" in name else 0] for name, t in model.state_dict().items()
            if not torch.equal(t, before[name])}  # fmt: skip


@pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])
@pytest.mark.parametrize(("frozen", "trained"), [(True, {"head"}), (False, {"head", "encoder"})])
def test_frozen_trains_the_head_alone_and_tuned_the_encoder_too(kind, frozen, trained):
    autoencoder = kind.from_config(CONFIG)
    kept = copy.deepcopy(autoencoder.state_dict())
    model = CodeModel(autoencoder, 2, frozen=frozen)
    before = copy.deepcopy(model.state_dict())
    out = model(X)
    assert torch.allclose(out, model.head(autoencoder.encode(X)), atol=1e-6) and out.shape == (8, 2)
    step(model, F.cross_entropy(out, LABELS))
    assert moved(model, before) == trained
    assert all(torch.equal(t, kept[n]) for n, t in autoencoder.state_dict().items())
    assert all(p.requires_grad for p in autoencoder.parameters())


def test_a_regressor_on_frozen_codes_is_least_squares_and_a_tuned_encoder_fits_better():
    autoencoder = Autoencoder.from_config(CONFIG, seed=1)
    y = torch.stack([X.sum(1), X[:, 0] * X[:, 1]], 1)  # (8, 2) numbers
    losses = {}
    for frozen in (True, False):
        model = CodeModel(autoencoder, 2, frozen=frozen)
        weights = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.LBFGS(weights, max_iter=200, line_search_fn="strong_wolfe")

        def closure(model=model, optimiser=optimiser):
            optimiser.zero_grad()
            loss = F.mse_loss(model(X), y)
            loss.backward()
            return loss

        optimiser.step(closure)
        losses[frozen] = float(F.mse_loss(model(X), y).detach())
    with torch.no_grad():
        read = torch.cat([autoencoder.encode(X), torch.ones(8, 1)], 1).double()
    best = torch.linalg.lstsq(read, y.double()).solution
    assert losses[True] == pytest.approx(float((read @ best - y).square().mean()), rel=1e-3)
    assert losses[False] < 0.5 * losses[True]


def test_a_frozen_encoder_stays_in_evaluation_mode_and_keeps_no_graph():
    model = CodeModel(DenoisingAutoencoder.from_config(CONFIG), 2, frozen=True)
    assert model.training and model.head.training and not model.autoencoder.encoder.training
    model.eval().train()
    assert not model.autoencoder.training and not model.features(X).requires_grad
    tuned = CodeModel(DenoisingAutoencoder.from_config(CONFIG).eval(), 2, frozen=False)
    assert not tuned.training and tuned.train().autoencoder.encoder.training
    assert tuned.features(X).requires_grad
    with torch.no_grad():
        assert not tuned.features(X).requires_grad


def test_a_joint_loss_trains_all_three_parts_with_the_sum_of_both_gradients():
    model = CodeModel(Autoencoder.from_config(CONFIG), 1, frozen=False).double()
    x, y = X.double(), X.double()[:, :1]
    outputs, reconstruction = model.both(x)
    assert torch.equal(outputs, model(x)) and torch.equal(reconstruction, model.autoencoder(x))
    task, error = squared_errors(outputs, y).mean(), squared_errors(reconstruction, x).mean()
    weight = model.autoencoder.encoder.layers[0].weight
    a, b = (torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (task, error))
    together = torch.autograd.grad(joint_loss(task, error, 0.3), weight, retain_graph=True)[0]
    assert torch.allclose(together, 0.7 * a + 0.3 * b, atol=1e-14)
    before = copy.deepcopy(model.state_dict())
    step(model, joint_loss(task, error, 0.3))
    assert moved(model, before) == {"head", "encoder", "decoder"}
    assert joint_loss(task, error, 0) == task and joint_loss(task, error, 1) == error


def test_a_frozen_encoder_refuses_a_joint_loss():
    with pytest.raises(
        ValueError, match="the encoder is frozen, a joint loss cannot train it; build with frozen=F"
    ):
        CodeModel(Autoencoder.from_config(CONFIG), 2, frozen=True).both(X)


def test_sentences_go_with_their_mask():
    sizes = {"vocab_size": 20, "d_model": 8, "n_layers": 1, "n_heads": 2, "d_inner": 8, "n_positions": 6}
    autoencoder = Autoencoder.from_config(TextConfig(**sizes, n_latent=4)).eval()
    model = CodeModel(autoencoder, 3, frozen=False)
    ids, mask = torch.tensor([[5, 6, 0], [8, 9, 3]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
    codes = autoencoder.encode(ids, mask)
    assert torch.equal(model(ids, mask), model.head(codes))
    assert torch.equal(model.both(ids, mask).reconstruction, autoencoder.decode(codes))


def test_the_head_starts_as_a_linear_layer_from_its_seed():
    state = torch.get_rng_state()
    autoencoder = Autoencoder.from_config(CONFIG)
    first, same, other = (CodeModel(autoencoder, 4, frozen=True, seed=seed).head for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.weight, same.weight) and not torch.equal(first.weight, other.weight)
    assert float(first.weight.abs().max()) <= 3**-0.5 and first.weight.shape == (4, 3)


@pytest.mark.parametrize("n", [0, 2.0, True])
def test_a_number_of_outputs_that_cannot_be_is_refused(n):
    with pytest.raises(ValueError, match=f"n_outputs={n} must be a whole number of at least 1"):
        CodeModel(Autoencoder.from_config(CONFIG), n, frozen=True)


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(weight):
    with pytest.raises(ValueError, match=f"weight={weight} must lie in 0…1, the share of the reconstruction"):
        joint_loss(torch.zeros(()), torch.zeros(()), weight)
