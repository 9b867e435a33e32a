"""Staying near the start: L2-SP (Li et al. 2018)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.transfer.finetuning.patterns import select


class L2SP:
    """Penalty ½·strength·‖w − w⁰‖² + ½·head_strength·‖w_head‖², where w⁰ is the model at construction.

    Its gradient is strength·(w − w⁰), and head_strength·w in the head, which has no pretrained start to
    stay near. Add `penalty(model)` to the loss, and set the optimiser's own weight decay to 0: that pulls
    to zero instead. Frozen parameters add nothing.
    head: pattern or patterns of parameter names.
    Li, Grandvalet & Davoine (2018), "Explicit inductive bias for transfer learning with convolutional
    networks"; their strengths are 0.1 and 0.01.
    Raises ValueError for a model without parameters, a negative strength, a head pattern without a match;
    when called, for a model with other parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        strength: float,
        *,
        head: str | Sequence[str] = (),
        head_strength: float = 0.01,
    ) -> None:
        for name, value in (("strength", strength), ("head_strength", head_strength)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{name}={value} must be a finite number, 0 or more; Li et al. use 0.1 and 0.01"
                )
        self.strength = strength
        self.head_strength = head_strength
        parameters = dict(model.named_parameters())
        if not parameters:
            raise ValueError(f"{type(model).__name__} has no parameters to keep near their start")
        self.head = frozenset(select(parameters, (head,) if isinstance(head, str) else tuple(head)))
        self.reference = {n: p.detach().clone() for n, p in parameters.items() if n not in self.head}

    def __call__(self, model: nn.Module) -> Tensor:
        """Scalar penalty of the model as it is now; device and type follow the model."""
        parameters = dict(model.named_parameters())
        self._check(parameters)
        body = head = torch.zeros((), device=next(iter(parameters.values())).device)
        for name, parameter in parameters.items():
            if not parameter.requires_grad:
                continue
            if name in self.head:
                head = head + parameter.square().sum()
            else:
                # The squared error's kernel does difference, square and sum at once, forwards and backwards.
                body = body + F.mse_loss(parameter, self._start(name, parameter), reduction="sum")
        return 0.5 * (self.strength * body + self.head_strength * head)

    def _start(self, name: str, parameter: Tensor) -> Tensor:
        self.reference[name] = self.reference[name].to(parameter.device, parameter.dtype)
        return self.reference[name]

    def _check(self, parameters: dict[str, nn.Parameter]) -> None:
        known = self.head | self.reference.keys()
        differing = sorted(known ^ parameters.keys()) or [
            name for name, start in self.reference.items() if start.shape != parameters[name].shape
        ]
        if differing:
            raise ValueError(
                f"{len(differing)} parameters differ from the model this L2SP was made for, the first "
                f"{differing[0]!r}; make a new L2SP after changing a model's modules"
            )
