"""One training loop for the whole course, on `accelerate`: `fit`, and `predict` for what came of it.

A package, because the loop is one idea and each of its conditions another: `config` (what is asked for and what
happened), `batches` (order of the data; predicting), `optimiser`, `processes` (what a run shares with others),
`state` (what a checkpoint holds), `checkpoints` (how it gets to the disk and back), `loop`.
"""

from tlcourse.training.batches import predict
from tlcourse.training.checkpoints import CheckpointError
from tlcourse.training.config import History, TrainingConfig
from tlcourse.training.loop import fit

__all__ = ["CheckpointError", "History", "TrainingConfig", "fit", "predict"]
