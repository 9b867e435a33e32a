"""One random GPT-2 twice: ours, and transformers' built of the same official settings and tensors."""

import torch
import transformers

from tlcourse.models.gpt2 import GPT2, GPT2Config

# Odd on purpose. A wide start makes attention sharp and continuations varied; norms and biases are moved off 1 and 0.
ODD = {
    "three-heads": {
        "vocab_size": 101, "n_positions": 40, "d_model": 24, "n_layers": 3, "n_heads": 3, "d_inner": 50, "init_sd": 0.5
    },
    "one-head": {
        "vocab_size": 37, "n_positions": 33, "d_model": 10, "n_layers": 1, "n_heads": 1, "init_sd": 0.7,
        "activation": "gelu",
    },
    "heads-of-one": {
        "vocab_size": 64, "n_positions": 40, "d_model": 6, "n_layers": 5, "n_heads": 6, "d_inner": 3, "init_sd": 0.8,
        "norm_eps": 1e-3, "activation": "relu",
    },
}  # fmt: skip


def error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def model(config, dtype=torch.float32, seed=0):
    ours = GPT2(GPT2Config(**config), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in ours.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return ours.to(dtype).eval()


def twin(folder, ours, attention="sdpa"):
    """What transformers loads of what we saved, in the dtype of ours; every tensor must find its place."""
    ours.save_pretrained(folder)
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(
        folder, attn_implementation=attention, output_loading_info=True, dtype=next(ours.parameters()).dtype
    )
    assert not any(report.values()), report
    return theirs.eval()


def padded(config, side, n_rows=4, length=9):
    """Ids and a mask with rows of different lengths, padded on the left, on the right, or anywhere."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(config["vocab_size"], (n_rows, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, n_rows):
        if side == "anywhere":
            mask[row] = torch.randint(2, (length,), generator=generator)
            mask[row, row] = 1
        else:
            mask[row, slice(0, 2 * row) if side == "left" else slice(length - 2 * row, None)] = 0
    return ids, mask


def positions(mask):
    return (mask.cumsum(-1) - 1).clamp(min=0)
