"""Weights from a file into a module by an explicit table of names, or not at all; and back into a file.

`files` reads and writes single files, `keys` translates their names, `folders` finds, reads and writes whole
models in the Hugging Face layout.
"""

from tlcourse.weights.files import PICKLES, WeightsError, content_hash, load_checkpoint, save
from tlcourse.weights.folders import locate, read_folder, save_folder
from tlcourse.weights.keys import KeyTable, load_into, translate

__all__ = [
    "PICKLES",
    "KeyTable",
    "WeightsError",
    "content_hash",
    "load_checkpoint",
    "load_into",
    "locate",
    "read_folder",
    "save",
    "save_folder",
    "translate",
]
