"""The shape of a GPT-2, and its translation from and to the official config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tlcourse.layers import activation, check_heads

# Ours → the name in config.json, whose defaults are ours.
OFFICIAL_NAMES = {
    "vocab_size": "vocab_size",
    "n_positions": "n_positions",
    "d_model": "n_embd",
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "d_inner": "n_inner",
    "activation": "activation_function",
    "embedding_dropout": "embd_pdrop",
    "residual_dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "norm_eps": "layer_norm_epsilon",
    "init_sd": "initializer_range",
    "eos_token_id": "eos_token_id",
}
# Settings that make another function of the same weights; the network here has these values and no others.
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True)
class GPT2Config:
    """Sizes and rates of a GPT-2 (Radford et al. 2019); the defaults are those of the official 124 M model.

    d_inner: width inside the feed-forward layers, None for 4 · d_model. The three dropouts are shares in [0, 1): of
    the sum of embeddings, of what each sublayer adds to the residual stream, of the attention weights. init_sd:
    standard deviation of the random start. eos_token_id: the vocabulary's end of text, None where it has none.
    Raises ValueError naming the field, its value and what is wanted.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    d_inner: int | None = None
    activation: str = "gelu_new"
    embedding_dropout: float = 0.1
    residual_dropout: float = 0.1
    attention_dropout: float = 0.1
    norm_eps: float = 1e-5
    init_sd: float = 0.02
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "d_model", "n_layers", "n_heads", "d_inner"):
            value = getattr(self, name)
            if value is None and name == "d_inner":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r}; give a whole number of at least 1")
        check_heads(self.d_model, self.n_heads)
        activation(self.activation)
        for name in ("embedding_dropout", "residual_dropout", "attention_dropout"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value < 1):
                raise ValueError(f"{name}={value!r} must be a number, at least 0 and below 1")
        for name in ("norm_eps", "init_sd"):
            value = getattr(self, name)
            if not (_is_number(value) and math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value!r} must be a positive number")
        end = self.eos_token_id
        if end is not None and not (type(end) is int and 0 <= end < self.vocab_size):
            raise ValueError(
                f"eos_token_id={end!r} is outside 0…{self.vocab_size - 1} (vocab_size={self.vocab_size});"
                " give the id of the end of text, or None"
            )

    @property
    def inner_width(self) -> int:
        """d_inner, or what None stands for."""
        return 4 * self.d_model if self.d_inner is None else self.d_inner

    @classmethod
    def from_official(cls, settings: Mapping[str, Any]) -> GPT2Config:
        """From the content of config.json; a setting that is absent has its default, as in transformers.

        Settings that do not touch the language model are left out. Raises ValueError on a value that this network
        does not compute, and as the class itself does.
        """
        for name, wanted in FIXED.items():
            if settings.get(name, wanted) != wanted:
                raise ValueError(
                    f"config.json has {name}={settings[name]!r}; this GPT2 has {wanted!r} only, as all official ones"
                )
        given = {ours: settings[theirs] for ours, theirs in OFFICIAL_NAMES.items() if theirs in settings}
        return cls(**given)

    def to_official(self) -> dict[str, Any]:
        """The content of config.json, which transformers' GPT2LMHeadModel takes."""
        settings = {OFFICIAL_NAMES[field.name]: getattr(self, field.name) for field in fields(self)}
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            **settings,
            "bos_token_id": self.eos_token_id,  # one token both begins and ends a text
            **FIXED,
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# The four official ones, named by their parameters.
GPT2_124M = GPT2Config(eos_token_id=50256)
GPT2_355M = GPT2Config(d_model=1024, n_layers=24, n_heads=16, eos_token_id=50256)
GPT2_774M = GPT2Config(d_model=1280, n_layers=36, n_heads=20, eos_token_id=50256)
GPT2_1558M = GPT2Config(d_model=1600, n_layers=48, n_heads=25, eos_token_id=50256)
# The book's own, gpt2-mini-*: its vocabulary is trained on its corpora, its end of text is the last token.
GPT2_MINI = GPT2Config(
    vocab_size=4096, n_positions=128, d_model=192, n_layers=4, n_heads=4, eos_token_id=4095,
)  # fmt: skip
