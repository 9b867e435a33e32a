"""Tokenizers: text into the numbers a model reads, and back.

One file per idea. The three tokenizers: `wordpiece` (BERT), `bpe` (GPT-2), `unigram` (ALBERT). What they do to text
before they split it: `bert_text` (normalisation and words), `byte_level` (bytes as letters, GPT-2's pattern),
`normalisation` (Unigram's steps). How a vocabulary is learned: `merges` (pairs, for the first two) and `pruning`
(a probable subset, for Unigram). `inputs` and `files` refuse what cannot be read.

All three have the same names: `train(texts, vocab_size)`, `load(path)`, `save(folder)`, `tokenize(text)` → strings,
`encode(text)` → ids without special tokens, `decode(ids)` → text, `tokens` and `vocab` (the two directions of the
vocabulary), `len()`. A special token that is spelled out in a text is read as its letters; its id comes from
`mask_token_id` and the like.
"""

from tlcourse.tokenizers.bpe import ByteLevelBPE
from tlcourse.tokenizers.unigram import Unigram
from tlcourse.tokenizers.wordpiece import WordPiece

__all__ = ["ByteLevelBPE", "Unigram", "WordPiece"]
