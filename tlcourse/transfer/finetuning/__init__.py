"""Fine-tuning: which parameters move, how far, and how fast.

One file per idea: `freezing` (what moves), `groups` (layers and their learning rates), `lora` (a low-rank
update) and `adapters` (that update in a whole model), `regularisation` (staying near the start),
`interpolation` (between two sets of weights), `heads` (a new output layer), `curves` (score against number
of labels). A pattern, wherever one is taken, is a dotted name, a prefix of dotted names or a glob:
`encoder.layer.1` (not `encoder.layer.10`), `encoder.layer.*.attention`, `*.bias`.
"""

from tlcourse.transfer.finetuning.adapters import add_lora, lora_state, merge_lora, unmerge_lora
from tlcourse.transfer.finetuning.curves import LabelCurve, label_curve
from tlcourse.transfer.finetuning.freezing import (
    Count,
    StatisticsHold,
    freeze,
    hold_statistics,
    trainable_parameters,
    unfreeze,
)
from tlcourse.transfer.finetuning.groups import (
    GradualUnfreezing,
    LayerGroup,
    discriminative_lr,
    layer_groups,
)
from tlcourse.transfer.finetuning.heads import replace_head
from tlcourse.transfer.finetuning.interpolation import interpolate, shrink_perturb
from tlcourse.transfer.finetuning.lora import LoRA
from tlcourse.transfer.finetuning.regularisation import L2SP

__all__ = [
    "L2SP",
    "Count",
    "GradualUnfreezing",
    "LabelCurve",
    "LayerGroup",
    "LoRA",
    "StatisticsHold",
    "add_lora",
    "discriminative_lr",
    "freeze",
    "hold_statistics",
    "interpolate",
    "label_curve",
    "layer_groups",
    "lora_state",
    "merge_lora",
    "replace_head",
    "shrink_perturb",
    "trainable_parameters",
    "unfreeze",
    "unmerge_lora",
]
