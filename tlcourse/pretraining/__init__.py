"""What transformers are pretrained on: masked words, next sentence, sentence order, next token.

Pure functions from token ids to batches; every label is −100 where no loss is taken.
"""

from tlcourse.pretraining.counts import KINDS, CountModel
from tlcourse.pretraining.masking import IGNORED, Masked, MaskingConfig, epoch_generator, mask_words
from tlcourse.pretraining.next_token import Blocks, pack, windows
from tlcourse.pretraining.pairs import (
    BROKEN,
    FOLLOWS,
    Pair,
    PairBatch,
    collate_pairs,
    next_sentence_pairs,
    sentence_order_pairs,
)
from tlcourse.pretraining.scores import (
    bits_per_byte,
    masked_word_accuracy,
    pair_loss,
    perplexity_per_byte,
    token_loss,
    token_nats,
)

__all__ = [
    "BROKEN",
    "FOLLOWS",
    "IGNORED",
    "KINDS",
    "Blocks",
    "CountModel",
    "Masked",
    "MaskingConfig",
    "Pair",
    "PairBatch",
    "bits_per_byte",
    "collate_pairs",
    "epoch_generator",
    "mask_words",
    "masked_word_accuracy",
    "next_sentence_pairs",
    "pack",
    "pair_loss",
    "perplexity_per_byte",
    "sentence_order_pairs",
    "token_loss",
    "token_nats",
    "windows",
]
