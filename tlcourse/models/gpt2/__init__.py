"""GPT-2 from its config to its text: `network` is the model, `generation` and `sampling` continue a prompt."""

from tlcourse.models.gpt2.config import (
    GPT2_124M,
    GPT2_355M,
    GPT2_774M,
    GPT2_1558M,
    GPT2_MINI,
    GPT2Config,
)
from tlcourse.models.gpt2.network import GPT2
from tlcourse.models.gpt2.sampling import distribution, draw, keep_top_k, keep_top_p, scale_by_temperature

__all__ = [
    "GPT2",
    "GPT2_124M",
    "GPT2_355M",
    "GPT2_774M",
    "GPT2_1558M",
    "GPT2_MINI",
    "GPT2Config",
    "distribution",
    "draw",
    "keep_top_k",
    "keep_top_p",
    "scale_by_temperature",
]
