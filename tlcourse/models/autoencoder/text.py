"""Encoder and decoder of sentences: transformer layers around one code for the whole sentence.

The decoder makes all positions at once, each from the code and its own place, and sees no word of the sentence: what
it writes comes out of the code alone. A decoder that is fed the words before each would not need the code
(Bowman et al. 2016). Shapes: B batch, T positions read, P = n_positions written, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from tlcourse.layers import EncoderLayer, TextEmbeddings, as_generator, padding_mask, start_normal
from tlcourse.models.autoencoder.configs import TextConfig


class TextEncoder(nn.Module):
    """Ids (B, T), T ≤ n_positions → codes (B, n_latent), from the mean over the positions that are no padding."""

    def __init__(self, config: TextConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        with torch.device("meta"):  # no memory and no numbers yet: start_normal gives both
            self.embeddings = TextEmbeddings(config, config.d_model)
            self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
            self.to_code = nn.Linear(config.d_model, config.n_latent)
        start_normal(self, config.init_sd, as_generator(seed))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Raises ValueError on ids outside the vocabulary, too many positions, masks that do not fit."""
        x = self.embeddings(input_ids)
        mask = padding_mask(attention_mask, input_ids)
        for layer in self.layers:
            x, _ = layer(x, mask)
        if mask is None:
            return self.to_code(x.mean(1))
        kept = mask[:, 0, 0, :, None].to(x.dtype)  # (B, T, 1)
        return self.to_code((x * kept).sum(1) / kept.sum(1))


class TextDecoder(nn.Module):
    """Codes (B, n_latent) → logits (B, P, V), a score for every word at every position."""

    def __init__(self, config: TextConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        with torch.device("meta"):
            self.from_code = nn.Linear(config.n_latent, config.d_model)
            self.positions = nn.Embedding(config.n_positions, config.d_model)
            self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
            self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
            self.words = nn.Linear(config.d_model, config.vocab_size)
        start_normal(self, config.init_sd, as_generator(seed))

    def forward(self, codes: Tensor) -> Tensor:
        x = self.norm(self.from_code(codes).unsqueeze(1) + self.positions.weight)  # (B, P, D)
        for layer in self.layers:
            x, _ = layer(x)
        return self.words(x)
