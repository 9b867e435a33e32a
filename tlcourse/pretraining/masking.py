"""Masked words: hide some tokens, ask for them (Devlin et al. 2019)."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

IGNORED = -100  # the label PyTorch's cross entropy skips


@dataclass(frozen=True)
class MaskingConfig:
    """How tokens are hidden.

    mask_id, special_ids: of the vocabulary (0 … vocab_size − 1); special tokens, padding among them, are never
    chosen and never put in. probability: of a token to be chosen; of the chosen, mask_share become the mask,
    random_share a random token that is not special, the rest stay as they are.
    Raises ValueError on a probability outside (0, 1), shares that are negative or exceed 1, ids outside the
    vocabulary, and fewer than two tokens to replace by.
    """

    mask_id: int
    vocab_size: int
    special_ids: tuple[int, ...]
    probability: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(f"probability={self.probability} must lie between 0 and 1; BERT's is 0.15")
        if not (self.mask_share >= 0 and self.random_share >= 0 and self.mask_share + self.random_share <= 1):
            raise ValueError(
                f"mask_share={self.mask_share} and random_share={self.random_share} must not be negative nor sum "
                "to more than 1; BERT's are 0.8 and 0.1"
            )
        special = {self.mask_id, *self.special_ids}
        if outside := sorted(id for id in special if not 0 <= id < self.vocab_size):
            raise ValueError(f"special ids {outside} are outside the vocabulary 0…{self.vocab_size - 1}")
        if self.vocab_size - len(special) < 2:
            raise ValueError(
                f"vocab_size={self.vocab_size} with {len(special)} special tokens leaves fewer than 2 tokens to "
                "replace by; use a larger vocabulary"
            )

    def ordinary_ids(self) -> Tensor:
        """(V − specials,) int64: what may be chosen and put in."""
        ordinary = torch.ones(self.vocab_size, dtype=torch.bool)
        ordinary[[self.mask_id, *self.special_ids]] = False
        return ordinary.nonzero().squeeze(1)


class Masked(NamedTuple):
    """input_ids: (B, T), some hidden; labels: (B, T), the tokens that were chosen, −100 elsewhere."""

    input_ids: Tensor
    labels: Tensor


def mask_words(
    input_ids: Tensor,
    config: MaskingConfig,
    generator: torch.Generator,
    *,
    continues: Tensor | None = None,
) -> Masked:
    """Choose tokens at random, each for itself, and hide them.

    input_ids: (B, T) int64, special tokens and padding included. continues: (B, T) bool, True where a token goes on
    with the word before it; then words are chosen whole, and each of their tokens is masked, replaced or kept for
    itself, as in BERT's whole-word models. A row may end up with nothing chosen: BERT's own code draws a fixed
    number per row instead. Called again with a generator that has moved on, it masks anew (Liu et al. 2019).
    The inputs stay unchanged. Raises ValueError on a wrong shape or type, an empty batch, ids out of the vocabulary.
    """
    _check(input_ids, config, continues)
    B, T = input_ids.shape
    device = input_ids.device
    # On the generator's device, so that one seed gives one mask wherever the batch is.
    draw = torch.rand(3, B, T, generator=generator, device=generator.device).to(device)
    chance, fate, which = draw  # (B, T) each
    if continues is not None:
        at = torch.arange(T, device=device).expand(B, T)
        starts = torch.where(continues, 0, at).cummax(dim=1).values  # (B, T) where each token's word begins
        chance = chance.gather(1, starts)
    ordinary = config.ordinary_ids().to(device)
    chosen = (chance < config.probability) & torch.isin(input_ids, ordinary)
    replacement = ordinary[(which * len(ordinary)).long().clamp(max=len(ordinary) - 1)]
    hidden = torch.where(fate < config.mask_share, config.mask_id, replacement)
    hidden = torch.where(fate < config.mask_share + config.random_share, hidden, input_ids)
    return Masked(torch.where(chosen, hidden, input_ids), torch.where(chosen, input_ids, IGNORED))


def epoch_generator(
    seed: int, epoch: int, batch: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A generator that depends on nothing but its numbers: masks of each epoch differ and can be made again.

    Raises ValueError on a number that is negative.
    """
    if min(seed, epoch, batch) < 0:
        raise ValueError(f"seed={seed}, epoch={epoch}, batch={batch}: none may be negative; try 0")
    # torch keeps near seeds near in the first draws of some devices; a hash does not.
    digest = hashlib.sha256(f"{seed} {epoch} {batch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _check(input_ids: Tensor, config: MaskingConfig, continues: Tensor | None) -> None:
    if input_ids.ndim != 2 or input_ids.dtype != torch.int64 or not input_ids.numel():
        raise ValueError(
            f"input_ids are {input_ids.dtype} of shape {tuple(input_ids.shape)}; give int64 of shape (B, T), not empty"
        )
    low, high = int(input_ids.min()), int(input_ids.max())
    if low < 0 or high >= config.vocab_size:
        raise ValueError(
            f"input_ids run from {low} to {high}, the vocabulary from 0 to {config.vocab_size - 1}; "
            "use the tokenizer's vocab_size"
        )
    if continues is not None and (continues.shape != input_ids.shape or continues.dtype != torch.bool):
        raise ValueError(
            f"continues is {continues.dtype} of shape {tuple(continues.shape)}; give bool of shape "
            f"{tuple(input_ids.shape)}"
        )
