"""A new output layer for a new task."""

import copy
import math

import torch
from torch import nn

from tlcourse.transfer.finetuning.lora import LoRA


def replace_head(model: nn.Module, n_classes: int, *, generator: torch.Generator | None = None) -> str:
    """Give a classifier a new, random output layer. Returns its dotted name, ready as a pattern.

    The model's own `reset_classifier` is used where there is one (timm), else its last nn.Linear is
    replaced (torchvision, transformers, plain models); a transformers config learns the new number of
    labels and forgets the old kind of loss. The new layer starts as nn.Linear does, trains even in a
    frozen model, and is on the old one's device, in its type.
    Raises ValueError for n_classes < 1 and where the last nn.Linear is no classifier.
    """
    if n_classes < 1:
        raise ValueError(f"n_classes={n_classes} must be at least 1")
    name, old = _find_head(model)
    if hasattr(model, "reset_classifier"):
        model.reset_classifier(n_classes)
        name, new = _find_head(model)
        new.to(old.weight.device, old.weight.dtype)
    else:
        new = nn.Linear(
            old.in_features, n_classes, old.bias is not None, device=old.weight.device, dtype=old.weight.dtype
        )
        parent, _, key = name.rpartition(".")
        setattr(model.get_submodule(parent), key, new)
    _initialise(new, generator)
    new.train(old.training)
    if _is_from_transformers(model):
        model.config = copy.copy(model.config)  # other models may have been built from the same one
        model.config.num_labels = model.num_labels = n_classes
        # The kind of loss, which transformers notes there at the first labels it sees.
        model.config.problem_type = None
    return name


def _find_head(model: nn.Module) -> tuple[str, nn.Linear]:
    linears = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear) and name
    ]
    if hasattr(model, "get_classifier"):
        classifier = model.get_classifier()
        if not isinstance(classifier, nn.Module):
            raise ValueError(f"{type(model).__name__} has several heads; replace them one by one")
        inside = set(classifier.modules())
        linears = [(name, module) for name, module in linears if module in inside]
    if not linears:
        raise ValueError(f"{type(model).__name__} has no nn.Linear as its head; add one, or wrap the model")
    name, head = linears[-1]
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(parent, LoRA):
        raise ValueError(
            f"the head {name.removesuffix('.base')} has a LoRA; merge_lora(model) before replace_head"
        )
    n_labels = model.config.num_labels if _is_from_transformers(model) else head.out_features
    if n_labels != head.out_features:
        raise ValueError(
            f"the last nn.Linear of {type(model).__name__}, {name}, has {head.out_features} outputs for "
            f"config.num_labels={n_labels}: it is no classifier; "
            "use a …ForSequenceClassification model, or wrap this one"
        )
    return name, head


def _is_from_transformers(model: nn.Module) -> bool:
    return hasattr(model, "base_model_prefix") and hasattr(model, "config")


def _initialise(linear: nn.Linear, generator: torch.Generator | None) -> None:
    device = generator.device if generator else "cpu"
    bound = 1 / math.sqrt(linear.in_features)
    with torch.no_grad():
        for parameter in linear.parameters():
            start = torch.empty(parameter.shape, device=device).uniform_(-bound, bound, generator=generator)
            parameter.copy_(start)
