"""AdamW over all parameters of a model, with weight decay where it belongs."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from tlcourse.training.config import TrainingConfig


def adamw(
    model: nn.Module, config: TrainingConfig, parameter_groups: Sequence[Mapping] | None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); each group also has its `base_lr`, which the schedule scales.

    Frozen parameters are in it as well: they have no gradient, so that AdamW passes them over, decay and momentum
    included, until they are unfrozen. Biases and the parameters of norms are split off their group and have no
    decay. Raises ValueError where parameter_groups miss a parameter, name one twice or a foreign one.
    """
    groups = [{"params": list(model.parameters())}] if parameter_groups is None else list(parameter_groups)
    for i, group in enumerate(groups):
        if "params" not in group:
            raise ValueError(
                f"parameter_groups: group {i} has {', '.join(group) or 'nothing'}, but no params"
            )
    groups = [{**group, "params": list(group["params"])} for group in groups]
    _check_cover(model, groups)
    decaying = set(_decaying(model))
    split = []
    for group in groups:
        lr = group.get("lr", config.learning_rate)
        shared = {"weight_decay": config.weight_decay, **group, "lr": lr, "base_lr": lr}
        with_decay = [p for p in group["params"] if p in decaying]
        without = [p for p in group["params"] if p not in decaying]
        split += [{**shared, "params": with_decay}] if with_decay else []
        split += [{**shared, "params": without, "weight_decay": 0.0}] if without else []
    # Four times as fast as the default for 22 million parameters on one core.
    return torch.optim.AdamW(split, fused=True)


def _decaying(model: nn.Module) -> list[nn.Parameter]:
    return [
        parameter
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1 and "bias" not in name and "norm" not in type(module).__name__.lower()
    ]


def _check_cover(model: nn.Module, groups: list[dict]) -> None:
    names = {parameter: name for name, parameter in model.named_parameters()}
    if not names:
        raise ValueError(f"the {type(model).__name__} has no parameters to train")
    times = Counter(parameter for group in groups for parameter in group["params"])
    wrong = {
        "are not the model's": [str(tuple(p.shape)) for p in times if p not in names],
        "are missing": [name for p, name in names.items() if p not in times],
        "are there twice": [name for p, name in names.items() if times[p] > 1],
    }
    for problem, which in wrong.items():
        if which:
            raise ValueError(
                f"parameter_groups: {len(which)} parameters {problem} ({', '.join(which[:5])}); give every parameter "
                "of the model once, frozen ones too"
            )
