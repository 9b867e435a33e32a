"""Low-rank adaptation: learn a small update of a weight matrix instead of the matrix (Hu et al. 2021)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.transfer.finetuning.patterns import matches, nearest


class LoRA(nn.Module):
    """One nn.Linear whose weight W (out, in) stays as it is, plus a learned update (alpha / rank) · B A.

    lora_A: (rank, in), random; lora_B: (out, rank), zero, so that the output starts unchanged. Both are
    float32 where W is of half precision. dropout acts on the input of A, in training only. W and its bias
    are frozen. Hu et al. (2021), "LoRA: Low-rank adaptation of large language models".
    Raises ValueError for a rank outside 1 … min(in, out), alpha ≤ 0, dropout outside [0, 1).
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        rank: int = 8,
        alpha: float = 16,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        out_features, in_features = linear.weight.shape
        if not 1 <= rank <= min(in_features, out_features):
            raise ValueError(
                f"rank={rank} for a {in_features} → {out_features} nn.Linear; "
                f"choose a rank from 1 to {min(in_features, out_features)}"
            )
        if not (math.isfinite(alpha) and alpha > 0):
            raise ValueError(f"alpha={alpha} must be positive; the update is scaled by alpha / rank")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must be at least 0 and below 1")
        self.base = linear
        self.scale = alpha / rank
        self.dropout = dropout
        self._base_flags = [p.requires_grad for p in linear.parameters()]
        linear.requires_grad_(False)

        weight = linear.weight
        dtype = torch.float32 if weight.dtype in (torch.float16, torch.bfloat16) else weight.dtype
        a = torch.empty(rank, in_features, dtype=dtype, device=generator.device if generator else "cpu")
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)  # as nn.Linear starts its weight
        self.lora_A = nn.Parameter(a.to(weight.device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, dtype=dtype, device=weight.device))
        self.register_buffer("_unmerged_weight", None, persistent=False)
        self.train(linear.training)

    @property
    def rank(self) -> int:
        return self.lora_A.shape[0]

    @property
    def merged(self) -> bool:
        return self._unmerged_weight is not None

    @property
    def weight(self) -> Tensor:
        """W, for code that asks a linear layer for its weight's type or device; B A is not in it before a
        merge.
        """
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def update(self) -> Tensor:
        """The learned change of the weight, (out, in)."""
        return self.scale * (self.lora_B @ self.lora_A)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)  # (..., out)
        if self.merged:
            return y
        h = F.dropout(x.to(self.lora_A.dtype), self.dropout, self.training)
        h = F.linear(h, self.lora_A)  # (..., rank)
        if h.dtype != y.dtype or y.dim() < 2:
            return y + (F.linear(h, self.lora_B) * self.scale).to(y.dtype)
        # One kernel multiplies, scales and adds.
        z = torch.addmm(y.flatten(0, -2), h.flatten(0, -2), self.lora_B.t().to(h.dtype), alpha=self.scale)
        return z.view_as(y)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to W. W as it was is kept, so that `unmerge` gives back the same bits."""
        if self.merged:
            raise RuntimeError("this LoRA is merged already; unmerge() it first")
        weight = self.base.weight
        merged = (weight.to(self.lora_A.dtype) + self.update()).to(weight.dtype)
        if not torch.isfinite(merged).all():
            raise FloatingPointError(
                f"merged weight is not finite in {weight.dtype}; look at lora_A and lora_B"
            )
        self._unmerged_weight = weight.clone()
        weight.copy_(merged)

    @torch.no_grad()
    def unmerge(self) -> None:
        if not self.merged:
            raise RuntimeError("this LoRA is not merged; merge() it first")
        self.base.weight.copy_(self._unmerged_weight)
        self._unmerged_weight = None

    def released(self) -> nn.Linear:
        """The nn.Linear inside, training or frozen as it was found."""
        for parameter, flag in zip(self.base.parameters(), self._base_flags, strict=True):
            parameter.requires_grad_(flag)
        return self.base.train(self.training)

    def extra_repr(self) -> str:
        return f"rank={self.rank}, scale={self.scale:g}, dropout={self.dropout:g}"


def add_lora(
    model: nn.Module,
    targets: str | Sequence[str],
    *,
    rank: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[str]:
    """Put a LoRA around each nn.Linear that a target names. Returns their dotted names.

    targets: patterns of module names; the end of a name is enough ("query"). Only the layers wrapped are
    frozen: for the usual recipe call `freeze(model)` before, and `unfreeze(model, head)` after. Hu et al.
    (2021) adapt the attention's query and value. Nothing is changed where an error is raised.
    Raises ValueError for a target that matches no nn.Linear, for a layer that has a LoRA already, for a
    weight that another module uses too; see also `LoRA`.
    """
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    chosen = _find_linears(model, targets)
    adapters: dict[nn.Module, nn.Module] = {}
    try:
        for linear in chosen:
            adapters[linear] = LoRA(linear, rank=rank, alpha=alpha, dropout=dropout, generator=generator)
    except ValueError as error:
        for adapter in adapters.values():
            adapter.released()
        raise ValueError(f"{chosen[linear]}: {error}") from None
    _replace(model, adapters)
    return list(chosen.values())


def merge_lora(model: nn.Module, *, keep: bool = False) -> list[str]:
    """Add every LoRA's update to its weight and put the plain nn.Linear back. Returns the dotted names.

    Outputs are those of the model in evaluation mode; names, modules and requires_grad are as before
    `add_lora`.
    keep: leave the adapters in place, so that `unmerge_lora` can undo it.
    Raises ValueError where the model has no LoRA.
    """
    adapters = _adapters(model)
    for adapter in adapters.values():
        if not adapter.merged:
            adapter.merge()
    if not keep:
        _replace(model, {adapter: adapter.released() for adapter in adapters.values()})
    return list(adapters)


def unmerge_lora(model: nn.Module) -> list[str]:
    """Undo `merge_lora(model, keep=True)`, to the same bits. Returns the dotted names.

    Raises ValueError where no merged LoRA is left: after a plain `merge_lora` the adapters are gone.
    """
    merged = {name: adapter for name, adapter in _adapters(model).items() if adapter.merged}
    if not merged:
        raise ValueError(
            "no LoRA of this model is merged; merge_lora(model, keep=True) comes before unmerge_lora"
        )
    for adapter in merged.values():
        adapter.unmerge()
    return list(merged)


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all lora_A and lora_B by their dotted names; `model.load_state_dict(state, strict=False)`
    loads them.

    Raises ValueError where the model has no LoRA.
    """
    return {
        f"{name}.{key}": getattr(adapter, key).detach().clone()
        for name, adapter in _adapters(model).items()
        for key in ("lora_A", "lora_B")
    }


def _adapters(model: nn.Module) -> dict[str, LoRA]:
    adapters = {name: module for name, module in model.named_modules() if isinstance(module, LoRA)}
    if not adapters:
        raise ValueError(f"{type(model).__name__} has no LoRA; add_lora(model, targets) puts them in")
    return adapters


def _find_linears(model: nn.Module, targets: tuple[str, ...]) -> dict[nn.Module, str]:
    if isinstance(model, nn.Linear):
        raise ValueError("the model is itself an nn.Linear and cannot be replaced in place; use LoRA(model)")
    modules = {name: module for name, module in model.named_modules() if name}
    adapted = [name for name, module in modules.items() if isinstance(module, LoRA)]
    chosen: dict[nn.Module, str] = {}
    for target in targets:
        found = {n: m for n, m in modules.items() if matches(n, target) or matches(n, f"*.{target}")}
        again = [name for name in adapted if name in found]
        if again:
            raise ValueError(
                f"{again[0]} has a LoRA already; merge_lora(model) first, or choose other targets"
            )
        linears = {m: n for n, m in found.items() if isinstance(m, nn.Linear)}
        if not linears:
            raise ValueError(_no_linear(target, found, modules))
        chosen.update(linears)
    _check_not_shared(model, chosen)
    order = {module: i for i, module in enumerate(modules.values())}
    return dict(sorted(chosen.items(), key=lambda item: order[item[0]]))


def _no_linear(target: str, found: dict[str, nn.Module], modules: dict[str, nn.Module]) -> str:
    linears = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    if found:
        kinds = ", ".join(sorted({type(module).__name__ for module in found.values()}))
        return (
            f"target {target!r} matches {kinds}, but LoRA wraps nn.Linear; "
            f"nearest: {nearest(linears, target)}"
        )
    return (
        f"target {target!r} matches none of the {len(linears)} nn.Linear; nearest: {nearest(linears, target)}"
    )


def _check_not_shared(model: nn.Module, chosen: dict[nn.Module, str]) -> None:
    """A merge writes into the weight, and nn.MultiheadAttention reads it past the LoRA: both would go wrong
    unseen.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.out_proj in chosen:
            raise ValueError(
                f"{chosen[module.out_proj]} belongs to an nn.MultiheadAttention, which reads its weight "
                "directly; choose other targets"
            )
        for parameter in module.parameters(recurse=False):
            for linear, linear_name in chosen.items():
                if linear is not module and parameter is linear.weight:
                    raise ValueError(
                        f"{linear_name} shares its weight with {name}; choose other targets, or untie them"
                    )


def _replace(model: nn.Module, replacement: dict[nn.Module, nn.Module]) -> None:
    """Swap modules wherever they hang in the tree; one module may hang in several places."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child in replacement:
                setattr(parent, name, replacement[child])
