"""Feature extraction: the outputs of a pretrained model's layers, and small models on top of them.

One file per idea: `capture` (the outputs of layers for one batch), `pooling` (one row per item out of them),
`batches` (features of many inputs), `guard` (the model stays as it was), `naming` and `cache` (features found
again by content), `attention` (a learned query that pools), `clusters` (features to clusters to an embedding layer),
`probe` (how well a linear layer reads labels).
"""

from tlcourse.transfer.extraction.attention import AttentionPooling, Pooled
from tlcourse.transfer.extraction.batches import extract
from tlcourse.transfer.extraction.cache import CacheError
from tlcourse.transfer.extraction.capture import FeatureExtractor
from tlcourse.transfer.extraction.clusters import ClusterEmbedding, RandomFeatures
from tlcourse.transfer.extraction.guard import content, unchanged
from tlcourse.transfer.extraction.pooling import first_token, mean_pixels, mean_tokens, part
from tlcourse.transfer.extraction.probe import LinearProbe, Tried

__all__ = [
    "AttentionPooling",
    "CacheError",
    "ClusterEmbedding",
    "FeatureExtractor",
    "LinearProbe",
    "Pooled",
    "RandomFeatures",
    "Tried",
    "content",
    "extract",
    "first_token",
    "mean_pixels",
    "mean_tokens",
    "part",
    "unchanged",
]
