"""Blocks that the transformer models share, each as short as its formula.

Shapes: B batch, T positions (S where queries and keys differ), D width, A heads, K width of a head, V vocabulary;
images (B, C, H, W). A mask is boolean and says where a query may look: True is seen, False is hidden.
"""

from tlcourse.layers.attention import (
    MultiHeadAttention,
    attention,
    check_heads,
    fused_attention,
    merge_heads,
    split_heads,
)
from tlcourse.layers.blocks import (
    ACTIVATIONS,
    FeedForward,
    activation,
    as_generator,
    layer_norm,
    start_normal,
)
from tlcourse.layers.encoder import (
    EncoderConfig,
    EncoderLayer,
    Pooler,
    TextEmbeddings,
    Trace,
    WordHead,
)
from tlcourse.layers.images import check_images, in_fast_layout, start_convolutional
from tlcourse.layers.masks import causal_mask, check_ids, padding_mask
from tlcourse.layers.patches import PatchEmbedding, patches

__all__ = [
    "ACTIVATIONS",
    "EncoderConfig",
    "EncoderLayer",
    "FeedForward",
    "MultiHeadAttention",
    "PatchEmbedding",
    "Pooler",
    "TextEmbeddings",
    "Trace",
    "WordHead",
    "activation",
    "as_generator",
    "attention",
    "causal_mask",
    "check_heads",
    "check_ids",
    "check_images",
    "fused_attention",
    "in_fast_layout",
    "layer_norm",
    "merge_heads",
    "padding_mask",
    "patches",
    "split_heads",
    "start_convolutional",
    "start_normal",
]
