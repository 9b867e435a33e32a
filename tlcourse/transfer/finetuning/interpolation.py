"""Between two sets of weights of one architecture."""

from collections.abc import Mapping

import torch
from torch import Tensor


def interpolate(state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor], t: float) -> dict[str, Tensor]:
    """State dict (1 − t)·a + t·b; t = 0 gives a and t = 1 gives b, to the same bits.

    Integer and boolean tensors (a batch norm's num_batches_tracked) come from b from t = 0.5 on, else
    from a. Running statistics are interpolated too, which is only roughly right: they are not linear in
    the weights. Results are new tensors on a's devices. Wortsman et al. (2022), "Robust fine-tuning of
    zero-shot models".
    Raises ValueError for t outside 0 … 1 and for states whose keys, shapes or types differ.
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t={t} is outside 0 … 1; 0 gives the first state, 1 the second")
    _check_alike(state_a, state_b)
    state = {}
    for name, a in state_a.items():
        a, b = a.detach(), state_b[name].detach().to(a.device)
        if t in (0, 1) or not a.is_floating_point():
            state[name] = (a if t < 0.5 else b).clone()
        else:
            state[name] = torch.lerp(a, b, t)
    return state


def shrink_perturb(
    state: Mapping[str, Tensor],
    initial_state: Mapping[str, Tensor],
    shrink: float,
    noise: float,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """State dict initial + shrink·(state − initial) + noise·ε, with ε from the standard normal.

    Ash & Adams (2020), "On warm-starting neural network training", who shrink towards zero; a pretrained
    model is shrunk towards its pretrained weights instead. Tensors that initial_state lacks are copied as
    they are: give it parameters (`dict(model.named_parameters())`) and running variances stay positive.
    Raises ValueError for shrink outside 0 … 1, noise < 0, and initial tensors of another name, shape or
    type.
    """
    if not 0 <= shrink <= 1:
        raise ValueError(
            f"shrink={shrink} is outside 0 … 1; 1 keeps the state, 0 goes back to the initial one"
        )
    if not noise >= 0:
        raise ValueError(f"noise={noise} is a standard deviation and cannot be negative")
    _check_alike({n: state[n] for n in initial_state if n in state}, initial_state)
    result = {}
    for name, tensor in state.items():
        tensor = tensor.detach().clone()
        if name in initial_state and tensor.is_floating_point():
            start = initial_state[name].detach().to(tensor.device)
            epsilon = torch.randn(tensor.shape, generator=generator).to(tensor)
            tensor = torch.lerp(start, tensor, shrink) + noise * epsilon
        result[name] = tensor
    return result


def _check_alike(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    lone = sorted(a.keys() ^ b.keys())
    if lone:
        where = "first" if lone[0] in a else "second"
        raise ValueError(
            f"{len(lone)} tensors are in one state only, as {lone[0]!r} in the {where}; "
            "both must come from one architecture"
        )
    for name in a:
        if a[name].shape != b[name].shape or a[name].dtype != b[name].dtype:
            raise ValueError(
                f"{name!r} is {tuple(a[name].shape)} {a[name].dtype} in the first state and "
                f"{tuple(b[name].shape)} {b[name].dtype} in the second; both must come from one architecture"
            )
