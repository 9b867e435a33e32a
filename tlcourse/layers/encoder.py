"""What BERT and ALBERT have in common: configuration, embeddings, the post-norm layer, the heads' parts.

Shapes: B batch, T positions, D width, E width of the embeddings (D in BERT), A heads, V vocabulary.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.layers.attention import MultiHeadAttention, check_heads
from tlcourse.layers.blocks import FeedForward, activation
from tlcourse.layers.masks import check_ids


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an encoder, those of BERT-base unless said otherwise. Raises ValueError on sizes that cannot be.

    n_positions: longest sequence; n_token_types: kinds of segments; dropout: share of states set to zero in training,
    attention_dropout of weights, classifier_dropout of what a classifier reads (None: dropout); init_sd: of the random
    start; pad_token_id: its row of the embeddings stays as it is; n_labels: outputs of a classifier.
    """

    vocab_size: int = 30522
    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    d_inner: int = 3072
    activation: str = "gelu"
    n_positions: int = 512
    n_token_types: int = 2
    dropout: float = 0.1
    attention_dropout: float = 0.1
    classifier_dropout: float | None = None
    init_sd: float = 0.02
    norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    n_labels: int = 2

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < 1):
                raise ValueError(f"{field.name}={value!r} must be a whole number of at least 1")
            if field.type is float and type(value) not in (int, float):
                raise ValueError(f"{field.name}={value!r} must be a number")
            if field.name.endswith("dropout") and value is not None and not 0 <= value < 1:
                raise ValueError(f"{field.name}={value} must be at least 0 and below 1")
        check_heads(self.d_model, self.n_heads)
        activation(self.activation)
        if self.init_sd < 0 or self.norm_eps <= 0:
            raise ValueError(
                f"init_sd={self.init_sd} must not be negative, norm_eps={self.norm_eps} be positive"
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id={self.pad_token_id} is outside 0…{self.vocab_size - 1}; None for no padding"
            )


class Trace(NamedTuple):
    """hidden_states: what enters the first layer and what leaves each, n_layers + 1 of (B, T, D).

    attentions: n_layers of (B, A, T, T), each row summing to one.
    """

    hidden_states: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...]


class TextEmbeddings(nn.Module):
    """Word + position + token type, normalised: ids (B, T) → (B, T, E).

    Raises ValueError on ids outside their tables, more than n_positions positions, token types of another shape.
    """

    def __init__(self, config: EncoderConfig, width: int):
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.n_positions, width)
        self.types = nn.Embedding(config.n_token_types, width)
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.dropout = config.dropout

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        check_ids(input_ids, self.words.num_embeddings)
        n_positions = self.positions.num_embeddings
        if input_ids.shape[1] > n_positions:
            raise ValueError(
                f"{input_ids.shape[1]} positions, but the model has {n_positions}; cut the texts to that length"
            )
        places = self.positions.weight[: input_ids.shape[1]]  # (T, E)
        if token_type_ids is None:
            x = self.words(input_ids) + (places + self.types.weight[0])
        else:
            if token_type_ids.shape != input_ids.shape:
                raise ValueError(
                    f"token_type_ids {tuple(token_type_ids.shape)} for input_ids {tuple(input_ids.shape)}; "
                    "give both as (B, T)"
                )
            check_ids(token_type_ids, self.types.num_embeddings, "token_type_ids", "n_token_types")
            x = self.words(input_ids) + places + self.types(token_type_ids)
        return F.dropout(self.norm(x), self.dropout, self.training)


class EncoderLayer(nn.Module):
    """Attention, then feed-forward; each is added to its input, and the sum normalised (Vaswani et al. 2017).

    forward: x (B, T, D) and a mask broadcastable to (B, A, T, T) → the same shape, and the weights (B, A, T, T) where
    need_weights asks for them, else None.
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        d, eps = config.d_model, config.norm_eps
        self.attention = MultiHeadAttention(d, config.n_heads, dropout=config.attention_dropout)
        self.attention_norm = nn.LayerNorm(d, eps=eps)
        self.feed_forward = FeedForward(d, config.d_inner, config.activation)
        self.feed_forward_norm = nn.LayerNorm(d, eps=eps)
        self.dropout = config.dropout

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        y, weights = self.attention(x, mask, need_weights=need_weights)
        y = self.attention_norm(x + F.dropout(y, self.dropout, self.training))
        z = F.dropout(self.feed_forward(y), self.dropout, self.training)
        return self.feed_forward_norm(y + z), weights


class Pooler(nn.Module):
    """The state of the first position, [CLS], through a linear layer and tanh: (B, T, D) → (B, D)."""

    def __init__(self, d_model: int):
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, states: Tensor) -> Tensor:
        return torch.tanh(self.dense(states[:, 0]))


class WordHead(nn.Module):
    """A score for every word of the vocabulary: states (B, T, D) → logits (B, T, V).

    The last matrix is the table of word embeddings (V, E) itself, handed to forward, so that the two are one tensor
    (Press & Wolf 2017); only the bias (V,) is the head's own. positions: (B, T) boolean with N True; the logits are
    then (N, V), in the order of states[positions]. Only 15 % of the positions have a loss in training, and at BERT-base
    the product with (V, D) costs as much as three layers. Raises ValueError on positions of another shape or kind.
    """

    def __init__(self, config: EncoderConfig, width: int):
        super().__init__()
        self.dense = nn.Linear(config.d_model, width)
        self.activation = activation(config.activation)
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, states: Tensor, table: Tensor, positions: Tensor | None = None) -> Tensor:
        if positions is not None:
            if positions.shape != states.shape[:2] or positions.dtype != torch.bool:
                raise ValueError(
                    f"positions are {positions.dtype} {tuple(positions.shape)}; "
                    f"give booleans (B, T) = {tuple(states.shape[:2])}"
                )
            states = states[positions]  # (N, D)
        return F.linear(self.norm(self.activation(self.dense(states))), table, self.bias)
