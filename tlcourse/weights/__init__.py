"""Weights from a file into a module by an explicit table of names, or not at all; and back into a file.

`files` reads and writes single files, `keys` translates their names, `folders` finds, reads and writes whole
models in the Hugging Face layout, `pretrained` puts the three together for a family of models, `classifiers` for
those of images. `shipped` are the project's own checkpoints, each with its `card`.
"""

from tlcourse.weights.card import Card, Corpus
from tlcourse.weights.classifiers import ImageClassifier, read_source
from tlcourse.weights.files import PICKLES, WeightsError, content_hash, load_checkpoint, save
from tlcourse.weights.folders import locate, read_folder, save_folder
from tlcourse.weights.keys import KeyTable, load_into, translate
from tlcourse.weights.pretrained import ENCODER_SETTINGS, Family, Pretrained, linears
from tlcourse.weights.shipped import cards, checkpoints, export, read_card

__all__ = [
    "ENCODER_SETTINGS",
    "PICKLES",
    "Card",
    "Corpus",
    "Family",
    "ImageClassifier",
    "KeyTable",
    "Pretrained",
    "WeightsError",
    "cards",
    "checkpoints",
    "content_hash",
    "export",
    "linears",
    "load_checkpoint",
    "load_into",
    "locate",
    "read_card",
    "read_folder",
    "read_source",
    "save",
    "save_folder",
    "translate",
]
