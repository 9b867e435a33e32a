"""From logits to a token: temperature, top-k, top-p, and one draw. Each step is a function to look at by itself.

Logits are (..., V) with V the vocabulary; a token that a filter removes has the logit -inf, that is probability zero.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError on a temperature below 0, a top_k below 1, a top_p outside (0, 1]."""
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(
            f"temperature={temperature} must be finite and at least 0; 0 is greedy, 1 leaves the logits as they are"
        )
    if top_k is not None and (isinstance(top_k, bool) or top_k < 1 or top_k != int(top_k)):
        raise ValueError(f"top_k={top_k} must be a whole number of at least 1; None keeps all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} must be above 0 and at most 1; None or 1 keeps all tokens")


def scale_by_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits / temperature: below 1 sharpens the distribution, above 1 flattens it.

    Raises ValueError unless temperature is above 0; towards 0 all probability goes to the largest logit.
    """
    check_sampling(temperature, None, None)
    if temperature == 0:
        raise ValueError("temperature=0 divides by zero; it stands for greedy choice, logits.argmax(-1)")
    return logits / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k largest logits, the others -inf (Fan et al. 2018). Ties with the k-th stay; k above V keeps all."""
    check_sampling(1.0, k, None)
    smallest = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < smallest, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The nucleus (Holtzman et al. 2020): the fewest most probable tokens with probability p together; others -inf.

    The most probable token always stays.
    """
    check_sampling(1.0, None, p)
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    above = probabilities.cumsum(-1) - probabilities  # mass of the tokens that are more probable
    outside = above >= p
    outside[..., 0] = False  # also where p is lost in rounding
    return logits.masked_fill(outside.scatter(-1, order, outside), -math.inf)


def distribution(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Probabilities (..., V) that sampling draws from: temperature first, then top-k, then top-p, then softmax.

    temperature 0 puts all on the largest logit. Raises ValueError as `check_sampling` does.
    """
    check_sampling(temperature, top_k, top_p)
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    logits = scale_by_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None and top_p < 1:
        logits = keep_top_p(logits, top_p)
    return logits.softmax(-1)


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """One token a row by inversion: the first whose cumulative probability exceeds a uniform number.

    probabilities: (B, V), each row summing to about one; uniforms: (B,) in [0, 1). Returns ids (B,). Token i comes for
    a share p_i of the uniform numbers, so it never comes where p_i = 0.
    """
    cumulative = probabilities.double().cumsum(
        -1
    )  # (B, V); in single precision the last tokens' shares drown
    points = uniforms.double().unsqueeze(-1) * cumulative[..., -1:]  # (B, 1)
    return torch.searchsorted(cumulative, points, right=True).squeeze(-1)


def row_uniforms(
    n_rows: int, n_draws: int, generator: torch.Generator | Sequence[torch.Generator] | None
) -> Tensor:
    """Uniform numbers in [0, 1), (B, n_draws) float64: a stream of its own for each row.

    generator: one for all rows, from which each row's seed is drawn, or one a row, or None for torch's own
    (`torch.manual_seed`). A row's numbers do not depend on how many rows follow or on how many numbers are drawn.
    Raises ValueError where the sequence has another length.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        if len(generator) != n_rows:
            raise ValueError(f"{len(generator)} generators for {n_rows} rows; give one, or one a row")
        rows = list(generator)
    else:
        device = "cpu" if generator is None else generator.device
        seeds = [int(torch.randint(2**62, (), generator=generator, device=device)) for _ in range(n_rows)]
        rows = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    drawn = [torch.rand(n_draws, generator=g, dtype=torch.float64, device=g.device) for g in rows]
    return torch.stack([row.cpu() for row in drawn])
