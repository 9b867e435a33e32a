"""Pretrained encoders that chapters start from, and the classifiers built on them.

The sentence encoder is transformers' `BertModel`, on the cpu profile with the weights of MiniLM (Wang et al. 2020,
tuned on sentence pairs after Reimers & Gurevych 2019); the image encoder is timm's EfficientNet-Lite0 (Tan & Le 2019).
Shapes: B batch, T positions, D width, C classes; images (B, 3, H, W).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse import assets, weights
from tlcourse.weights import locate

PAD = 0
_NORMS = (
    "embeddings.LayerNorm",
    "encoder.layer.{}.attention.output.LayerNorm",
    "encoder.layer.{}.output.LayerNorm",
)
_LINEARS = (
    *(f"encoder.layer.{{}}.attention.self.{part}" for part in ("query", "key", "value")),
    "encoder.layer.{}.attention.output.dense",
    "encoder.layer.{}.intermediate.dense",
    "encoder.layer.{}.output.dense",
)
_TABLES = tuple(f"embeddings.{kind}_embeddings" for kind in ("word", "position", "token_type"))
# What a checkpoint carries beyond the encoder: rebuilt (0…511), unused (we pool by mean), or heads of pretraining.
_DROPPED = (
    "embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias",
    "cls.predictions.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
    "cls.predictions.transform.dense.weight", "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.{}", "cls.seq_relationship.weight", "cls.seq_relationship.bias",
)  # fmt: skip


def _bert_keys(names: Collection[str]) -> weights.KeyTable:
    """Key table for the published layouts of BERT: bare names or behind `bert.`; norms by either name."""
    prefix = "bert." if any(name.startswith("bert.") for name in names) else ""
    scale, shift = ("gamma", "beta") if any(name.endswith(".gamma") for name in names) else ("weight", "bias")
    keys: dict[str, str | None] = {f"{prefix}{table}.weight": f"{table}.weight" for table in _TABLES}
    for norm in _NORMS:
        keys |= {f"{prefix}{norm}.{scale}": f"{norm}.weight", f"{prefix}{norm}.{shift}": f"{norm}.bias"}
    for linear in _LINEARS:
        keys |= {f"{prefix}{linear}.{part}": f"{linear}.{part}" for part in ("weight", "bias")}
    for dropped in _DROPPED:
        whole = dropped if dropped.startswith("cls.") else prefix + dropped
        for ending in (scale, shift) if "{}" in dropped else ("",):
            keys[whole.replace("{}", ending)] = None
    return {name: target for name, target in keys.items() if target or name in names}


def sentence_encoder(source: str | Path = "minilm", *, pretrained: bool = True, seed: int = 0) -> nn.Module:
    """A BERT encoder: `encoder(input_ids, attention_mask).last_hidden_state` is (B, T, D).

    source: see `locate`; `"minilm"` is MiniLM-L6, width 384, 22.6 M parameters. With `pretrained=False` the same
    network with BERT's random start (normal, sd 0.02) drawn from `seed`. Raises WeightsError for another layout.
    """
    from transformers import BertConfig, BertModel

    folder = locate(source)
    settings = json.loads((folder / "config.json").read_text())
    if settings.get("model_type") != "bert":
        raise ValueError(
            f"{source} is of model_type {settings.get('model_type')!r}; a BERT encoder is wanted here"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = BertModel(BertConfig(**settings), add_pooling_layer=False)
    if pretrained:
        state = weights.load_checkpoint(folder / "model.safetensors")
        weights.load_into(encoder, state, _bert_keys(state))
    return encoder


def minilm(*, pretrained: bool = True, seed: int = 0) -> nn.Module:
    """`sentence_encoder("minilm")`, the book's encoder on the cpu profile."""
    return sentence_encoder("minilm", pretrained=pretrained, seed=seed)


@dataclass(frozen=True)
class SentenceData:
    """Tokenised sentences as a map-style data set of (ids, label) pairs; `lengths` (N,) in word pieces."""

    ids: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[tuple[int, ...], int]:
        return self.ids[index], self.labels[index]

    @property
    def lengths(self) -> list[int]:
        return [len(row) for row in self.ids]


def encode_texts(
    texts: Sequence[str],
    labels: Sequence[int] | None = None,
    *,
    max_length: int = 48,
    source: str | Path = "minilm",
) -> SentenceData:
    """Word-piece ids with [CLS] and [SEP] from the tokenizer of an encoder, cut to `max_length` positions.

    labels: (N,) integers; zeros where they are unknown. Raises ValueError when the lengths differ or max_length < 3.
    """
    from tokenizers import Tokenizer

    if max_length < 3:
        raise ValueError(f"max_length={max_length} leaves no room beside [CLS] and [SEP]; use at least 3")
    if labels is not None and len(labels) != len(texts):
        raise ValueError(f"{len(texts)} texts but {len(labels)} labels; give one label for each text")
    tokenizer = Tokenizer.from_file(str(locate(source) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    ids = tuple(tuple(row.ids) for row in tokenizer.encode_batch(list(texts)))
    return SentenceData(ids, tuple(int(y) for y in labels) if labels is not None else (0,) * len(ids))


def collate_sentences(rows: Sequence[tuple[Sequence[int], int]]) -> dict[str, Tensor]:
    """Pad to the longest row: input_ids, attention_mask (B, T) and labels (B,)."""
    width = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), width), PAD, dtype=torch.long)
    for i, (ids, _) in enumerate(rows):
        input_ids[i, : len(ids)] = torch.tensor(ids)
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    mask = (torch.arange(width) < lengths[:, None]).long()
    return {"input_ids": input_ids, "attention_mask": mask, "labels": torch.tensor([y for _, y in rows])}


class SentenceClassifier(nn.Module):
    """An encoder, the mean over its unpadded positions, dropout, and one linear layer.

    `forward(input_ids, attention_mask)` → logits (B, C); `features(…)` → pooled states (B, D).
    """

    def __init__(self, encoder: nn.Module, n_classes: int = 2, *, dropout: float = 0.1, seed: int = 0):
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes={n_classes}; a classifier needs at least 2")
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(encoder.config.hidden_size, n_classes)

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state  # (B, T, D)
        kept = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
        return (states * kept).sum(1) / kept.sum(1)  # (B, D)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(input_ids, attention_mask)))


LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage


def _lite0_keys() -> weights.KeyTable:
    """The checkpoint numbers its blocks through; timm numbers them within stages."""
    norms = {"_bn0": "bn1", "_bn1": "bn2"}
    layers = {"_conv_stem": "conv_stem", "_conv_head": "conv_head", "_fc": "classifier"}
    separable = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw"}
    inverted = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
    number = 0
    for stage, n_blocks in enumerate(LITE0_STAGES):
        for block in range(n_blocks):
            theirs, ours = f"_blocks.{number}.", f"blocks.{stage}.{block}."
            layers |= {theirs + k: ours + v for k, v in (separable if stage == 0 else inverted).items()}
            first = 1 if stage == 0 else 0  # a separable block has no expansion, so no _bn0
            norms |= {f"{theirs}_bn{first + i}": f"{ours}bn{1 + i}" for i in range(3 - first)}
            number += 1
    keys = {f"{theirs}.weight": f"{ours}.weight" for theirs, ours in layers.items()} | {
        "_fc.bias": "classifier.bias"
    }
    for theirs, ours in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            keys[f"{theirs}.{part}"] = f"{ours}.{part}"
    return keys


def efficientnet_lite0(n_classes: int = 1000, *, pretrained: bool = True, seed: int = 0) -> nn.Module:
    """EfficientNet-Lite0, 4.65 M parameters with its head: images (B, 3, H, W) in −1…1 → logits (B, C).

    Another `n_classes` gets a new random head drawn from `seed`; `pretrained=False` a random network.
    timm's `tf_efficientnet_lite0` is the variant these weights were trained in (SAME padding, eps 1e-3).
    """
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        if pretrained:
            state = weights.load_checkpoint(assets.path("efficientnet-lite0", "efficientnet-lite0.pth"))
            weights.load_into(model, state, _lite0_keys())
        if n_classes != model.num_classes:
            model.reset_classifier(n_classes)
    return model.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class ImageData:
    """Grey images (N, H, W) uint8 with labels (N,) as a map-style data set."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"{len(self.images)} images but {len(self.labels)} labels; give one for each image"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.images[index], int(self.labels[index])


def collate_images(rows: Sequence[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
    """Grey bytes to three equal channels in −1…1: images (B, 3, H, W), labels (B,)."""
    grey = torch.from_numpy(np.stack([image for image, _ in rows])).float().div(127.5).sub(1)  # (B, H, W)
    images = grey.unsqueeze(1).repeat(1, 3, 1, 1).contiguous(memory_format=torch.channels_last)
    return {"images": images, "labels": torch.tensor([y for _, y in rows])}
