"""One network twice with the same weights: ours and a peer's, transformers at its fastest attention or torchvision."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
import transformers
from torch import nn

from tlcourse.models.albert import ALBERT_BASE, AlbertForMaskedLM
from tlcourse.models.bert import BERT_BASE, BertForMaskedLM
from tlcourse.models.gpt2 import GPT2, GPT2_124M, GPT2_MINI
from tlcourse.models.resnet import ResNet
from tlcourse.models.vgg import VGG
from tlcourse.weights import ImageClassifier


@dataclass(frozen=True)
class Network:
    """Our class, its configuration, and the name of transformers' class that reads what ours saves."""

    ours: type[nn.Module]
    config: Any
    theirs: str

    @property
    def masked(self) -> bool:
        """Whether it learns masked words; else the next token."""
        return self.theirs.endswith("MaskedLM")


NETWORKS = {
    "bert-base": Network(BertForMaskedLM, BERT_BASE, "BertForMaskedLM"),
    "albert-base": Network(AlbertForMaskedLM, ALBERT_BASE, "AlbertForMaskedLM"),
    "gpt2-124m": Network(GPT2, GPT2_124M, "GPT2LMHeadModel"),
    "gpt2-mini": Network(GPT2, GPT2_MINI, "GPT2LMHeadModel"),
}


@dataclass(frozen=True)
class Classifier:
    """Of images: our class, and torchvision's function that makes the network with random weights."""

    ours: type[ImageClassifier]
    theirs: Callable[[], nn.Module]


CLASSIFIERS = {
    "vgg-16": Classifier(VGG, torchvision.models.vgg16),
    "resnet-18": Classifier(ResNet, torchvision.models.resnet18),
    "resnet-50": Classifier(ResNet, torchvision.models.resnet50),
}


@dataclass(frozen=True)
class Sides:
    ours: nn.Module
    theirs: nn.Module


def both(network: Network, *, seed: int = 0) -> Sides:
    """Random weights, drawn by ours and handed over through a folder in the official layout."""
    ours = network.ours(network.config, seed=seed).eval()
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        return Sides(ours, load_theirs(network, folder))


def both_classifiers(network: Classifier, *, seed: int = 0) -> Sides:
    """Random weights, drawn by torchvision and read by ours from its state dict; the global seed stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs = network.theirs().eval()
    return Sides(network.ours.from_pretrained(theirs.state_dict()), theirs)


def load_ours(network: Network, folder: str | Path) -> nn.Module:
    return network.ours.from_pretrained(folder)


def load_theirs(network: Network, folder: str | Path) -> nn.Module:
    """Raises RuntimeError where a tensor found no place: the two sides would not do the same work."""
    model, report = getattr(transformers, network.theirs).from_pretrained(
        folder, attn_implementation="sdpa", output_loading_info=True
    )
    if any(report.values()):
        raise RuntimeError(f"transformers did not load {network.theirs} as we saved it: {report}")
    return model.eval()
