"""Continue prompts token by token, reading each token once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.layers import check_ids, padding_mask
from tlcourse.models.gpt2.cache import KeyValueCache
from tlcourse.models.gpt2.decoding import next_states, output_layer
from tlcourse.models.gpt2.positions import check_positions, prompt_mask
from tlcourse.models.gpt2.sampling import check_sampling, distribution, draw, row_uniforms

if TYPE_CHECKING:
    from tlcourse.models.gpt2.network import GPT2


def generate(
    model: GPT2,
    input_ids: Tensor,
    max_new_tokens: int,
    *,
    attention_mask: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    eos_token_id: int | None = None,
) -> Tensor:
    """The prompts (B, T) and what follows them, (B, T + new): the continuation of every row begins at column T.

    attention_mask: (B, T), 1 for a token, 0 for padding. It may stand left, right or between; a row gets what it
    gets alone without padding. Left padding reads best, for there the prompt runs on into its continuation.
    temperature: 0 takes the most probable token (greedy); otherwise each is drawn from `sampling.distribution` with
    top_k and top_p. generator: one for all rows, or one for each; a row's draws depend on no other row
    (`sampling.row_uniforms`).
    eos_token_id: a row ends with this token, and is filled up with it until the last row ends or has max_new_tokens
    new ones. No dropout, whatever the mode of the model. Raises ValueError naming what does not fit, before it begins;
    FloatingPointError where the logits are not finite.
    """
    config = model.config
    check_ids(input_ids, config.vocab_size)
    check_sampling(temperature, top_k, top_p)
    if type(max_new_tokens) is not int or max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={max_new_tokens!r} must be a whole number of at least 1")
    if eos_token_id is not None and not (type(eos_token_id) is int and 0 <= eos_token_id < config.vocab_size):
        raise ValueError(
            f"eos_token_id={eos_token_id!r} is no whole number in 0…{config.vocab_size - 1}; None never stops"
        )
    padding = padding_mask(attention_mask, input_ids)
    positions = check_positions(input_ids, padding, config.n_positions, max_new_tokens)
    n_rows, length = input_ids.shape
    uniforms = row_uniforms(n_rows, max_new_tokens, generator) if temperature > 0 else None

    # Made outside inference mode, so that the caller can train on them.
    tokens = torch.cat([input_ids, input_ids.new_zeros(n_rows, max_new_tokens)], 1)  # (B, T + new)
    ended = torch.zeros(n_rows, dtype=torch.bool, device=tokens.device)
    with torch.inference_mode(), _evaluating(model):
        head = None
        steps = _last_states(model, tokens, length, positions, padding)
        for step, last in enumerate(steps):
            if (
                head is None
            ):  # it may hold a copy of the table; by now what reading the prompt took is free again
                head = output_layer(model, n_rows)
            logits = head(last)  # (B, V): of the last position alone, the others are not asked
            chosen = _choose(
                logits, temperature, top_k, top_p, None if uniforms is None else uniforms[:, step]
            )
            if eos_token_id is not None:
                chosen = chosen.masked_fill(ended, eos_token_id)
                ended |= chosen == eos_token_id
            tokens[:, length + step] = chosen
            if eos_token_id is not None and ended.all():
                break
    return tokens[:, : length + step + 1]


def _last_states(
    model: GPT2, tokens: Tensor, length: int, positions: Tensor | slice, padding: Tensor | None
) -> Iterator[Tensor]:
    """Hidden states (B, D) of each row's last token: of the prompt's, then of each column of `tokens` behind it.

    A column is read when its states are asked for, and only it: the cache holds what was read before.
    """
    n_rows, end = tokens.shape
    cache = KeyValueCache(model.config, n_rows, end - 1, like=model.token_embedding.weight)
    hidden = model.run(tokens[:, :length], positions, prompt_mask(padding, length), cache)  # (B, T, D)
    seen = None
    if padding is None:
        states = hidden[:, -1].clone()
    else:
        kept = padding[:, 0, 0]  # (B, T)
        last = (kept * torch.arange(length, device=kept.device)).amax(-1, keepdim=True)  # (B, 1)
        states = hidden.gather(1, last[..., None].expand(-1, -1, hidden.shape[-1]))[:, 0]
        positions = positions[:, -1:]  # (B, 1): padding behind the last token does not count on
        seen = F.pad(padding, (0, end - length), value=True)  # (B, 1, 1, T + new)
    del hidden  # every token of the prompt has states in it
    yield states
    read = next_states(model, cache)
    for column in range(length, end - 1):
        positions = slice(column, column + 1) if seen is None else positions + 1
        mask = None if seen is None else seen[..., : column + 1]
        yield read(tokens[:, column], positions, mask)


def _choose(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, uniforms: Tensor | None
) -> Tensor:
    """One id a row, (B,)."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    if not all(map(math.isfinite, wide.amax(-1).tolist())):  # for a few rows faster than five kernels
        raise FloatingPointError(
            f"the logits are not finite in {logits.dtype}; look for nan or inf in the weights, or take a wider dtype"
        )
    if temperature == 0:  # NumPy finds the place of the largest in an eighth of PyTorch's time on a CPU
        return torch.from_numpy(wide.cpu().numpy().argmax(-1)).to(logits.device)
    return draw(distribution(wide, temperature, top_k, top_p), uniforms.to(logits.device))


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module's own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
