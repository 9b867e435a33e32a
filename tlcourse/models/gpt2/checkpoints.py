"""GPT-2's official names for its tensors, and ours.

The official linear layers are stored as (in, out), after the 1 × 1 convolutions that they once were; ours are
nn.Linear, (out, in). Two layouts are published: names that begin with `transformer.`, and the same without.
"""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from tlcourse.weights import KeyTable, WeightsError

PREFIX = "transformer."


def _transpose(weight: Tensor) -> Tensor:
    return weight.t()


# `{}` is the number of a block.
KEYS: KeyTable = {
    "wte.weight": "token_embedding.weight",
    "wpe.weight": "position_embedding.weight",
    "h.{}.ln_1.weight": "blocks.{}.attention_norm.weight",
    "h.{}.ln_1.bias": "blocks.{}.attention_norm.bias",
    "h.{}.attn.c_attn.weight": ("blocks.{}.attention.qkv.weight", _transpose),
    "h.{}.attn.c_attn.bias": "blocks.{}.attention.qkv.bias",
    "h.{}.attn.c_proj.weight": ("blocks.{}.attention.output.weight", _transpose),
    "h.{}.attn.c_proj.bias": "blocks.{}.attention.output.bias",
    "h.{}.ln_2.weight": "blocks.{}.feed_forward_norm.weight",
    "h.{}.ln_2.bias": "blocks.{}.feed_forward_norm.bias",
    "h.{}.mlp.c_fc.weight": ("blocks.{}.feed_forward.up.weight", _transpose),
    "h.{}.mlp.c_fc.bias": "blocks.{}.feed_forward.up.bias",
    "h.{}.mlp.c_proj.weight": ("blocks.{}.feed_forward.down.weight", _transpose),
    "h.{}.mlp.c_proj.bias": "blocks.{}.feed_forward.down.bias",
    "ln_f.weight": "norm.weight",
    "ln_f.bias": "norm.bias",
    "h.{}.attn.bias": None,  # the causal mask, not a parameter
    "h.{}.attn.masked_bias": None,  # minus infinity, of old versions
}
HEAD = "lm_head.weight"


def key_table(names: Collection[str]) -> KeyTable:
    """The table for a checkpoint with these names: with or without prefix, with or without the tied output layer."""
    prefix = PREFIX if any(name.startswith(PREFIX) for name in names) else ""
    keys = {prefix + theirs: ours for theirs, ours in KEYS.items()}
    # The output layer never has the prefix. Where it is absent, it is the token embedding.
    return keys | {HEAD: "head.weight"} if HEAD in names else keys


def official_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A GPT2's state_dict under the official names with their prefix, as transformers' GPT2LMHeadModel reads it.

    The output layer, tied to the token embedding, is left out, as there.
    """
    renamed = {}
    for theirs, target in KEYS.items():
        if target is None:
            continue
        ours, transform = (target, None) if isinstance(target, str) else target
        before, _, after = ours.partition("{}")
        for name, tensor in state.items():
            number = name.removeprefix(before).removesuffix(after)
            if name == before + number + after and (number.isdecimal() or not number):
                renamed[PREFIX + theirs.format(number)] = transform(tensor) if transform else tensor
    return renamed


def check_tied(head: nn.Module, embedding: nn.Module) -> None:
    """Raise WeightsError unless the output layer's weight is the token embedding's, the very same tensor."""
    if getattr(head, "weight", None) is not embedding.weight:
        raise WeightsError(
            "head.weight is not token_embedding.weight: the output layer of this GPT2 was replaced or copied, and a"
            " GPT-2 checkpoint has one tensor for both. Tie them again by model.head.weight ="
            " model.token_embedding.weight, or save model.state_dict() with tlcourse.weights.save"
        )
