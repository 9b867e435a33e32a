"""LoRA in a whole model: into chosen layers, merged, and out again."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tlcourse.transfer.finetuning.lora import LoRA
from tlcourse.transfer.finetuning.patterns import matches, nearest


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
    if not targets:
        raise ValueError("no targets; name at least one nn.Linear, as in add_lora(model, ['query', 'value'])")
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

    Outputs stay those of evaluation mode; names, modules and requires_grad are as before `add_lora`.
    keep: leave the adapters in place, so that `unmerge_lora` can undo it.
    Raises ValueError where the model has no LoRA, FloatingPointError where a merged weight would not be
    finite; then nothing is merged.
    """
    adapters = _adapters(model)
    merged = []
    for name, adapter in adapters.items():
        if adapter.merged:
            continue
        try:
            adapter.merge()
        except FloatingPointError as error:
            for earlier in merged:
                earlier.unmerge()
            raise FloatingPointError(f"{name}: {error}") from None
        merged.append(adapter)
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
    modules = dict(model.named_modules(remove_duplicate=False))
    adapted = [name for name, module in modules.items() if isinstance(module, LoRA)]
    chosen: set[nn.Module] = set()
    for target in targets:
        found = {n: m for n, m in modules.items() if matches(n, target) or matches(n, f"*.{target}")}
        again = [name for name in adapted if name in found or f"{name}.base" in found]
        if again:
            raise ValueError(
                f"{again[0]} has a LoRA already; merge_lora(model) first, or choose other targets"
            )
        linears = {module for module in found.values() if isinstance(module, nn.Linear)}
        if not linears:
            raise ValueError(_no_linear(target, found, modules))
        chosen |= linears
    by_name = {module: name for name, module in model.named_modules() if module in chosen}
    _check_not_shared(model, by_name)
    return by_name


def _no_linear(target: str, found: dict[str, nn.Module], modules: dict[str, nn.Module]) -> str:
    linears = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    hint = f"nearest: {nearest([*linears, *(name.rpartition('.')[2] for name in linears)], target)}"
    if found:
        kinds = ", ".join(sorted({type(module).__name__ for module in found.values()}))
        return f"target {target!r} matches {kinds}, but LoRA wraps nn.Linear; {hint}"
    return f"target {target!r} matches none of the {len(linears)} nn.Linear; {hint}"


def _check_not_shared(model: nn.Module, chosen: dict[nn.Module, str]) -> None:
    """A merge would change the other owner too, and nn.MultiheadAttention reads the weight past the LoRA."""
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
    places = [
        (parent, key, child)
        for parent in model.modules()
        for key, child in parent._modules.items()  # named_children skips the second place
        if child in replacement
    ]
    for parent, key, child in places:
        setattr(parent, key, replacement[child])
