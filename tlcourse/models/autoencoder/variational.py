"""Variational: codes are distributions, and the loss is a bound on log p(x) (Kingma & Welling 2014).

The model says how data arise: z ~ N(0, I), then x ~ p(x | z), which the decoder computes. The encoder guesses z from x
by q(z | x) = N(mean, diag(sd²)). All in nats, one number a row.
"""

import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tlcourse.models.autoencoder.plain import Autoencoder

_LOG_2PI = math.log(2 * math.pi)


class Posterior(NamedTuple):
    """q(z | x), a normal distribution for each number of the code: mean and log_variance, both (B, n_latent)."""

    mean: Tensor
    log_variance: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """z = mean + sd · noise: random through the noise alone, so that gradients reach mean and sd.

        noise: (..., B, n_latent), standard normal.
        """
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def log_density(self, z: Tensor) -> Tensor:
        """log q(z | x), (..., B), for z (..., B, n_latent)."""
        squares = (z - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (squares + self.log_variance + _LOG_2PI).sum(-1)

    def kl(self) -> Tensor:
        """KL(q(z | x) ‖ N(0, I)) in closed form, (B,) (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(-1)


class Draw(NamedTuple):
    """reconstruction: of one z a row; posterior: from which z was drawn."""

    reconstruction: Tensor
    posterior: Posterior


class VariationalAutoencoder(Autoencoder):
    """Autoencoder whose encoder gives two numbers for each latent one, the mean and the log variance of q(z | x).

    `encode` gives the mean; `forward` reconstructs a drawn z in training mode, the mean in evaluation mode.
    """

    CODES: ClassVar[int] = 2

    def posterior(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Posterior:
        return Posterior(*self._read(inputs, attention_mask).chunk(2, dim=1))

    def encode(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Means of q(z | x), (B, n_latent)."""
        return self.posterior(inputs, attention_mask).mean

    def draw(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Draw:
        """One z from each row's posterior, and its reconstruction: what the loss needs. generator: None for torch's."""
        posterior = self.posterior(inputs, attention_mask)
        noise = standard_normal(posterior.mean, generator)
        return Draw(self.decode(posterior.at(noise)), posterior)

    def forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        if self.training:
            return self.draw(inputs, attention_mask, generator=generator).reconstruction
        return super().forward(inputs, attention_mask)


def standard_normal(
    like: Tensor, generator: torch.Generator | None = None, n_draws: int | None = None
) -> Tensor:
    """Standard normal numbers of the shape, type and device of like; with n_draws, (n_draws, *shape)."""
    shape = like.shape if n_draws is None else (n_draws, *like.shape)
    device = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def lower_bound(log_likelihood: Tensor, posterior: Posterior, *, beta: float = 1.0) -> Tensor:
    """log p(x | z) − beta · KL, (B,): with beta 1 and on average over z at most log p(x); maximise its mean.

    log_likelihood: (B,), see `errors`. beta: another weight is no bound any more (Higgins et al. 2017). Raises
    ValueError on another shape or a negative beta.
    """
    if log_likelihood.shape != posterior.mean.shape[:1]:
        raise ValueError(
            f"log_likelihood {tuple(log_likelihood.shape)} for {len(posterior.mean)} rows; give one number a row, "
            "summed over the row, not a mean over the batch"
        )
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta={beta} must be a number of at least 0; 1 gives the bound")
    return log_likelihood - beta * posterior.kl()


def log_weights(
    model: VariationalAutoencoder,
    inputs: Tensor,
    log_likelihood: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    attention_mask: Tensor | None = None,
) -> Tensor:
    """log p(x, z) − log q(z | x) at z drawn by the noise (S, B, n_latent): (S, B).

    log_likelihood(reconstruction, inputs) → (rows,), given S · B rows. The mean over S is an estimate of the lower
    bound, `importance_weighted_bound` a tighter one.
    """
    posterior = model.posterior(inputs, attention_mask)
    if noise.dim() != 3 or noise.shape[1:] != posterior.mean.shape:
        raise ValueError(
            f"noise {tuple(noise.shape)} for codes {tuple(posterior.mean.shape)}; give (S, B, n_latent), "
            "standard_normal(codes, generator, n_draws=S)"
        )
    z = posterior.at(noise)  # (S, B, n_latent)
    repeated = inputs.repeat(len(noise), *[1] * (inputs.dim() - 1))  # (S · B, ...), as z flattens
    likelihood = log_likelihood(model.decode(z.flatten(0, 1)), repeated).unflatten(0, noise.shape[:2])
    prior = -0.5 * (z.square() + _LOG_2PI).sum(-1)
    return likelihood + prior - posterior.log_density(z)


def importance_weighted_bound(weights: Tensor) -> Tensor:
    """log of the mean weight over S draws, (B,), from log weights (S, B) (Burda et al. 2016).

    Never below the mean of the log weights, and on average at most log p(x), which it nears as S grows.
    """
    return weights.logsumexp(0) - math.log(len(weights))
