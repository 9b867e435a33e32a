"""What is timed: a forward pass, a training step, a generation; the same work whichever side's model it is given.

Shapes: B rows or images, T positions, V vocabulary; images (B, C, H, W), L classes; features (N, D).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

IGNORED = -100  # label of a position without a loss, as both libraries have it
Work = Callable[[], Tensor]


@dataclass(frozen=True)
class Batch:
    """input_ids, attention_mask (1 token, 0 padding) and labels: (B, T)."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ImageBatch:
    """images: (B, C, H, W); labels: (B,)."""

    images: Tensor
    labels: Tensor


def random_batch(vocab_size: int, lengths: tuple[int, ...], *, masked: bool, seed: int = 0) -> Batch:
    """Rows of these lengths, padded on the right.

    masked: a label at about 15 % of the tokens, as in BERT; else the next token is each one's label, as in GPT-2.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    ids = torch.randint(1, vocab_size, shape, generator=generator)
    mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
    if masked:
        chosen = torch.rand(shape, generator=generator) < 0.15
        chosen[:, 0] = True  # a batch without a label has no loss
        labels = ids
    else:
        chosen = torch.ones(shape, dtype=torch.bool)
        chosen[:, -1] = False
        labels = ids.roll(-1, 1)
    return Batch(ids, mask, labels.masked_fill(~chosen | (mask == 0), IGNORED))


def random_images(n_images: int, size: int, n_classes: int, *, seed: int = 0) -> ImageBatch:
    """Colour images of size × size pixels, each pixel standard normal, with labels at random."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n_images, 3, size, size, generator=generator)
    return ImageBatch(images, torch.randint(n_classes, (n_images,), generator=generator))


def random_features(n: int, d: int, n_classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (n, d) in float64 and balanced labels (n,) that they tell in part.

    Variances fall as 1/k along directions of their own: a few hold most, as in features of networks.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    labels = torch.arange(n) % n_classes
    sd = torch.arange(1, d + 1, dtype=torch.float64) ** -0.5
    directions = torch.linalg.qr(normal(d, d)).Q
    inside, centres = normal(n, d), normal(n_classes, d)
    return (inside + 0.3 * centres[labels]) * sd @ directions, labels


def logits(model: nn.Module, batch: Batch | ImageBatch) -> Tensor:
    """(B, T, V), of images (B, L).

    GPT-2 in transformers would also keep keys and values, which nobody asks for here: switched off.
    """
    if isinstance(batch, ImageBatch):
        return model(batch.images)
    if not isinstance(model, PreTrainedModel):
        return model(batch.input_ids, batch.attention_mask)
    off = {"use_cache": False} if model.config.model_type == "gpt2" else {}
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **off).logits


def forward(model: nn.Module, batch: Batch | ImageBatch) -> Work:
    """Logits in evaluation mode without a graph."""
    model.eval()

    @torch.inference_mode()
    def work() -> Tensor:
        return logits(model, batch)

    return work


def training_step(model: nn.Module, batch: Batch | ImageBatch) -> Work:
    """Forward with the configuration's dropout, cross entropy, backward, one AdamW step; returns the loss."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def work() -> Tensor:
        found = logits(model, batch)
        loss = F.cross_entropy(found.flatten(0, -2), batch.labels.flatten(), ignore_index=IGNORED)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return work


def generation(model: nn.Module, prompt: Tensor, n_new: int) -> Work:
    """Greedy, with the key/value cache, no stop token, so that both make the same number: (B, T + n_new)."""
    model.eval()
    if not isinstance(model, PreTrainedModel):
        return lambda: model.generate(prompt, n_new, temperature=0)
    mask = torch.ones_like(prompt)

    @torch.inference_mode()
    def work() -> Tensor:
        return model.generate(
            prompt,
            attention_mask=mask,
            max_new_tokens=n_new,
            do_sample=False,
            use_cache=True,
            pad_token_id=0,
            eos_token_id=None,
        )

    return work


def forward_flops(model: nn.Module, batch: Batch | ImageBatch) -> int:
    """Floating-point operations of the matrix products and convolutions in one forward pass, counted as they run.

    Attention is taken apart for that: the counter does not know every fused kernel.
    """
    model.eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        logits(model, batch)
    return counter.get_total_flops()


def weight_bytes(model: nn.Module) -> int:
    """Bytes that each new token reads: all weights of the layers and of the output, which is the token table too."""
    tables = sum(
        part.weight.nbytes for part in model.modules() if isinstance(part, nn.Embedding)
    )  # a token reads one row of each
    return sum(p.nbytes for p in model.parameters()) - tables + model.token_embedding.weight.nbytes
