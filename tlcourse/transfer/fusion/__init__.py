"""Feature fusion: several views of one input, one prediction.

All fusions are called with a list of views, (B, D) each, and say how wide their result is: `fusion(views)` is
(B, fusion.width). One file per idea: `combine` (concatenate, add, multiply, average of probabilities), `bilinear`
(products of all pairs of features), `alignment` (matrices in closed form) and `transform` (a matrix for each view
before they are fused), `multitask` (several tasks train all encoders), `mixed` (two networks that share layers),
`losses` (a loss each, and how much it counts), `views` (what all of them take).
"""

from tlcourse.transfer.fusion.alignment import Alignment, cca, procrustes
from tlcourse.transfer.fusion.bilinear import BilinearFusion
from tlcourse.transfer.fusion.combine import ConcatFusion, ProbabilityAverage, ProductFusion, SumFusion
from tlcourse.transfer.fusion.losses import FixedWeights, JointLoss, UncertaintyWeights, joint_loss
from tlcourse.transfer.fusion.mixed import MixedModel
from tlcourse.transfer.fusion.multitask import MultiTaskModel
from tlcourse.transfer.fusion.transform import TransformFusion

__all__ = [
    "Alignment",
    "BilinearFusion",
    "ConcatFusion",
    "FixedWeights",
    "JointLoss",
    "MixedModel",
    "MultiTaskModel",
    "ProbabilityAverage",
    "ProductFusion",
    "SumFusion",
    "TransformFusion",
    "UncertaintyWeights",
    "cca",
    "joint_loss",
    "procrustes",
]
