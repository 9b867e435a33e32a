"""The variational autoencoder against theory: KL, gradients, and the bounds where log p(x) is known exactly."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tlcourse.models.autoencoder import (
    ImageConfig,
    Posterior,
    TextConfig,
    VariationalAutoencoder,
    VectorConfig,
    gaussian_log_likelihood,
    importance_weighted_bound,
    log_weights,
    lower_bound,
    standard_normal,
    token_log_likelihood,
)

SD = 0.7  # of the data around the decoder's mean


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def posterior(n_rows=3, n_latent=4):
    return Posterior(numbers(n_rows, n_latent), numbers(n_rows, n_latent, seed=1))


def likelihood(reconstruction, x):
    return gaussian_log_likelihood(reconstruction, x, SD)


def linear_model(exact):
    """x = W z + b + SD · noise, the columns of W orthogonal: log p(x) and q(z | x) are known (Tipping & Bishop 1999).

    exact: whether the encoder is the true posterior, or a little off it.
    """
    model = VariationalAutoencoder.from_config(VectorConfig(6, 2)).double()
    W = torch.linalg.qr(numbers(6, 2, seed=2)).Q * torch.tensor([1.5, 0.8], dtype=torch.float64)
    b = numbers(6, seed=3)
    M = W.T @ W + SD**2 * torch.eye(2, dtype=torch.float64)  # diagonal
    decoder, encoder = model.decoder.layers[0], model.encoder.layers[0]
    with torch.no_grad():
        decoder.weight.copy_(W)
        decoder.bias.copy_(b)
        encoder.weight.zero_()
        encoder.weight[:2] = torch.linalg.solve(M, W.T)
        encoder.bias[:2] = -encoder.weight[:2] @ b
        encoder.bias[2:] = (SD**2 / M.diagonal()).log()
        if not exact:
            encoder.weight.add_(0.1)
            encoder.bias.add_(0.2)
    evidence = MultivariateNormal(b, W @ W.T + SD**2 * torch.eye(6, dtype=torch.float64))
    return model, evidence


def test_kl_equals_torch_distributions_and_a_monte_carlo_estimate_within_its_error():
    q = posterior()
    theirs = kl_divergence(
        Normal(q.mean, (0.5 * q.log_variance).exp()), Normal(torch.zeros(4), torch.ones(4))
    )
    assert torch.allclose(q.kl(), theirs.sum(1), atol=1e-12)
    z = q.at(standard_normal(q.mean, generator(), 100_000))
    terms = q.log_density(z) - Normal(0.0, 1.0).log_prob(z).sum(-1)  # (S, B), mean KL
    off = (terms.mean(0) - q.kl()).abs() / (terms.std(0) / len(terms) ** 0.5)
    assert bool((off < 4).all())


def test_kl_is_zero_at_the_prior_only():
    zero = torch.zeros(1, 3)
    assert float(Posterior(zero, zero).kl()) == 0
    assert float(Posterior(zero + 1, zero).kl()) == pytest.approx(1.5)  # half the squared distance
    assert float(Posterior(zero, zero + 2).kl()) == pytest.approx(1.5 * (math.e**2 - 3))


def test_density_is_that_of_torch_distributions():
    q, z = posterior(), numbers(5, 3, 4, seed=4)
    expected = Normal(q.mean, (0.5 * q.log_variance).exp()).log_prob(z).sum(-1)
    assert torch.allclose(q.log_density(z), expected, atol=1e-12)


def test_gradients_reach_mean_and_variance_through_the_draw():
    """E z² = mean² + sd², so its derivatives are 2 · mean and, by the log variance, sd²."""
    q = Posterior(*(t.requires_grad_() for t in posterior()))
    noise = standard_normal(q.mean, generator(), 50_000)
    noise = torch.cat([noise, -noise])  # antithetic, so the mean of the noise is exactly 0
    noise = noise / noise.square().mean(0).sqrt()  # and of its square 1: the estimate has no error
    q.at(noise).square().mean(0).sum().backward()
    assert torch.allclose(q.mean.grad, 2 * q.mean.detach(), atol=1e-10)
    assert torch.allclose(q.log_variance.grad, q.log_variance.detach().exp(), atol=1e-10)


def test_with_the_true_posterior_every_weight_is_the_evidence():
    model, evidence = linear_model(exact=True)
    x = numbers(7, 6, seed=5)
    weights = log_weights(model, x, likelihood, standard_normal(model.encode(x), generator(), 9))
    assert weights.shape == (9, 7)
    assert torch.allclose(weights, evidence.log_prob(x).expand(9, 7), atol=1e-10)


def test_the_bound_with_the_closed_kl_is_the_mean_weight_and_below_the_evidence():
    model, evidence = linear_model(exact=False)
    x = numbers(7, 6, seed=5)
    q = model.posterior(x)
    noise = standard_normal(q.mean, generator(), 40_000)
    weights = log_weights(model, x, likelihood, noise)
    z = q.at(noise).flatten(0, 1)
    log_p = likelihood(model.decode(z), x.repeat(len(noise), 1)).unflatten(0, (-1, 7))
    bounds = torch.stack([lower_bound(row, q) for row in log_p[:50]])
    assert torch.allclose(bounds, log_p[:50] - q.kl(), atol=1e-12)
    bound = lower_bound(log_p.mean(0), q)
    error = 4 * (weights - log_p).std(0) / len(noise) ** 0.5
    assert bool(((bound - weights.mean(0)).abs() < error).all())
    assert bool((bound < evidence.log_prob(x)).all())


def test_the_bound_does_not_exceed_the_importance_weighted_one_on_the_same_samples():
    """By Jensen's inequality, for any weights; and that one nears the evidence from below as the draws grow."""
    model, evidence = linear_model(exact=False)
    x = numbers(7, 6, seed=5)
    weights = log_weights(model, x, likelihood, standard_normal(model.encode(x), generator(), 20_000))
    for n in (1, 2, 5, 50):
        groups = weights[: 20_000 // n * n].unflatten(0, (-1, n)).transpose(0, 1)  # (n, groups, B)
        means, tighter = groups.mean(0), importance_weighted_bound(groups)
        assert bool((means <= tighter + 1e-12).all())
        error = 4 * tighter.std(0) / len(tighter) ** 0.5
        assert bool((tighter.mean(0) < evidence.log_prob(x) + error).all())
        expected = groups.exp().mean(0).log()
        assert torch.allclose(tighter, expected, atol=1e-10)
    assert torch.equal(importance_weighted_bound(weights[:1]), weights[0])
    gaps = []
    for n in (1, 5, 50):
        tighter = importance_weighted_bound(weights.unflatten(0, (-1, n)).transpose(0, 1))
        gaps.append((evidence.log_prob(x) - tighter.mean(0)).mean().item())
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]


def test_draws_come_from_the_generator_in_training_and_means_in_evaluation():
    model = VariationalAutoencoder.from_config(ImageConfig(4, 4, 1, 3, widths=(2,)))
    x = torch.randn(5, 1, 4, 4, generator=generator())
    assert model.encoder.n_latent == 6 and model.n_latent == 3 and model.encode(x).shape == (5, 3)
    mean, log_variance = model.encoder(x).chunk(2, 1)
    noise = torch.randn(5, 3, generator=generator(1))
    z = mean + (log_variance / 2).exp() * noise
    reconstruction, q = model.draw(x, generator=generator(1))
    assert torch.allclose(reconstruction, model.decode(z), atol=1e-6)
    assert torch.equal(q.mean, mean) and torch.equal(q.log_variance, log_variance)
    assert torch.equal(model(x, generator=generator(1)), reconstruction)
    torch.manual_seed(0)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model.decode(mean))


def test_noise_is_shaped_and_typed_like_the_codes():
    codes = torch.zeros(3, 2, dtype=torch.float64)
    assert standard_normal(codes, generator(), 4).shape == (4, 3, 2)
    assert standard_normal(codes).shape == (3, 2) and standard_normal(codes).dtype == torch.float64


def test_sentences_with_padding_have_weights_too():
    sizes = {"vocab_size": 20, "d_model": 8, "n_layers": 1, "n_heads": 2, "d_inner": 8, "n_positions": 6}
    model = VariationalAutoencoder.from_config(TextConfig(**sizes, n_latent=4)).double().eval()
    ids, mask = torch.tensor([[5, 6, 7, 0], [8, 9, 3, 4]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    noise = numbers(3, 2, 4)
    weights = log_weights(
        model, ids, lambda logits, x: token_log_likelihood(logits, x, mask.repeat(3, 1)), noise, mask
    )
    alone = log_weights(model, ids[:1, :3], token_log_likelihood, noise[:, :1])
    assert torch.allclose(weights[:, :1], alone, atol=1e-10)
    assert model.draw(ids, mask).reconstruction.shape == (2, 6, 20)


def test_beta_weighs_the_kl():
    q, log_p = posterior(), numbers(3)
    assert torch.allclose(lower_bound(log_p, q, beta=0.5), log_p - 0.5 * q.kl())
    assert torch.equal(lower_bound(log_p, q, beta=0), log_p)
    for beta in (-1.0, math.nan, math.inf):
        with pytest.raises(
            ValueError, match=f"beta={beta} must be a number of at least 0; 1 gives the bound"
        ):
            lower_bound(log_p, q, beta=beta)


@pytest.mark.parametrize("shape", [(), (3, 4), (2,)])
def test_a_likelihood_that_is_not_one_number_a_row_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"for 3 rows; give one number a row, summed over the row, not a mean"
    ):
        lower_bound(torch.zeros(shape), posterior())


@pytest.mark.parametrize("shape", [(7, 2), (5, 6, 2), (5, 7, 3)])
def test_noise_of_another_shape_is_refused(shape):
    model, _ = linear_model(exact=True)
    with pytest.raises(ValueError, match=r"for codes \(7, 2\); give \(S, B, n_latent\), standard_normal"):
        log_weights(model, numbers(7, 6), likelihood, torch.zeros(shape, dtype=torch.float64))
