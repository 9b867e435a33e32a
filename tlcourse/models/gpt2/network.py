"""GPT-2 (Radford et al. 2019), read from top to bottom: attention, block, network.

Shapes: B batch, T positions (S with those in the cache), D width, A heads, K width of a head, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import weights
from tlcourse.layers import (
    FeedForward,
    as_generator,
    check_ids,
    merge_heads,
    padding_mask,
    start_normal,
)
from tlcourse.models.gpt2.cache import KeyValueCache
from tlcourse.models.gpt2.checkpoints import check_tied, key_table, official_state
from tlcourse.models.gpt2.config import GPT2_124M, GPT2Config
from tlcourse.models.gpt2.decoding import column_by_column
from tlcourse.models.gpt2.generation import generate
from tlcourse.models.gpt2.positions import check_positions, prompt_mask


class CausalSelfAttention(nn.Module):
    """Self-attention in which no position sees a later one; queries, keys and values come from one matrix."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.n_heads = config.n_heads
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.output = nn.Linear(config.d_model, config.d_model)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        """x: (B, T, D); mask: boolean, broadcastable to (B, A, T, S), None for plain causality. Returns (B, T, D)."""
        n_rows, n_new, width = x.shape
        qkv = self.qkv(x).view(n_rows, n_new, 3, self.n_heads, width // self.n_heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)  # (3, B, A, T, K)
        q, k, v = qkv.unbind()
        if cache is not None:
            k, v = cache.extend(layer, qkv[1:])  # each (B, A, S, K)
        dropout = self.dropout if self.training else 0.0
        # One query, the last position, sees all: then causality hides nothing. The kernel is called bare, for the
        # checks of `layers.fused_attention` cannot fail here and would be paid for with each new token.
        heads = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and n_new > 1, dropout_p=dropout
        )
        return self.output(merge_heads(heads))


class Block(nn.Module):
    """Norms come first (unlike BERT's), so that the residual stream runs through unchanged."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.attention = CausalSelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.feed_forward = FeedForward(config.d_model, config.inner_width, config.activation)
        self.dropout = config.residual_dropout

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        y = self.attention(self.attention_norm(x), mask, cache, layer)
        x = x + F.dropout(y, self.dropout, self.training)
        y = self.feed_forward(self.feed_forward_norm(x))
        return x + F.dropout(y, self.dropout, self.training)


class GPT2(nn.Module):
    """Language model: input_ids (B, T) → logits (B, T, V), where those at position t are for token t + 1.

    The random start is the paper's, drawn from `seed`, or on from a torch.Generator: matrices and tables normal with
    sd config.init_sd, divided by √(2 · n_layers) in the two matrices of each block that add to the residual stream,
    whose variance would else grow with depth. The output layer and the token embedding are one tensor.
    """

    def __init__(self, config: GPT2Config = GPT2_124M, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config = config
        with torch.device("meta"):  # no memory and no numbers yet: start_normal gives both
            self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
            self.position_embedding = nn.Embedding(config.n_positions, config.d_model)
            self.dropout = nn.Dropout(config.embedding_dropout)
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
            self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        start_normal(self, config.init_sd, as_generator(seed))
        with torch.no_grad():
            for block in self.blocks:
                for last in (block.attention.output, block.feed_forward.down):
                    last.weight.div_(math.sqrt(2 * config.n_layers))
        for block in self.blocks:
            for wide in (block.attention.qkv, block.feed_forward.up):
                wide.weight.data = column_by_column(wide.weight.data)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False, device="meta")
        self.head.weight = self.token_embedding.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V).

        attention_mask: (B, T), 1 for a token, 0 for padding, which may stand anywhere: a row has the logits that it
        has alone without its padding, and logits at padding mean nothing. Raises ValueError on ids outside the
        vocabulary, rows longer than n_positions, masks that do not fit.
        """
        return self.head(self.features(input_ids, attention_mask))

    def features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The last hidden states after the final norm, (B, T, D): what the output layer, or another head, reads."""
        check_ids(input_ids, self.config.vocab_size)
        padding = padding_mask(attention_mask, input_ids)
        positions = check_positions(input_ids, padding, self.config.n_positions)
        return self.run(input_ids, positions, prompt_mask(padding, input_ids.shape[1]))

    def run(
        self,
        input_ids: Tensor,
        positions: Tensor | slice,
        mask: Tensor | None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """`features` of ids already checked, at given positions, behind the columns that a cache holds.

        positions: (B, T), or the same for all rows as a slice. mask: see `CausalSelfAttention`.
        """
        table = self.position_embedding
        places = table.weight[positions] if isinstance(positions, slice) else table(positions)
        x = self.dropout(self.token_embedding(input_ids) + places)  # (B, T, D)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, cache, layer)
        if cache is not None:
            cache.advance(input_ids.shape[1])
        return self.norm(x)

    def generate(
        self,
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
        """The prompts continued, (B, T + new): see `tlcourse.models.gpt2.generation.generate`."""
        return generate(
            self,
            input_ids,
            max_new_tokens,
            attention_mask=attention_mask,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=generator,
            eos_token_id=eos_token_id,
        )

    @classmethod
    def from_pretrained(cls, source: str | Path) -> GPT2:
        """Weights and sizes from an asset, a checkpoint of this project ("gpt2-mini-bible"), a folder in the Hugging
        Face layout, or a hub id in the local cache.

        Any official GPT-2 layout: with or without `transformer.`, with or without the tied output layer. In float32,
        in evaluation mode. Never downloads. Raises FileNotFoundError or MissingAssetError naming the command that
        fetches; WeightsError listing every missing, unexpected or misshapen tensor, and on settings that this network
        does not have.
        """
        settings, state = weights.read_folder(source, "gpt2")
        try:
            model = cls(GPT2Config.from_official(settings))
            weights.load_into(model, state, key_table(state))
        except ValueError as error:
            raise weights.WeightsError(f"{source}: {error}") from error
        check_tied(model.head, model.token_embedding)
        return model.eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write config.json and model.safetensors, which transformers' GPT2LMHeadModel loads.

        dtype: to save in another precision, such as torch.float16. Raises WeightsError where the output layer is no
        longer tied, OSError where the disk is full or not writable.
        """
        check_tied(self.head, self.token_embedding)
        weights.save_folder(folder, self.config.to_official(), official_state(self.state_dict()), dtype=dtype)
