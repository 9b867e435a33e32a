"""What is wrong with a checkpoint of the project: its card, its hash, its recipe, and whether a peer library agrees."""

import importlib
import json

import torch
import torchvision
import transformers
from safetensors.torch import load_file

from tests.reference.encoder_pairs import error
from tlcourse import results
from tlcourse.models import autoencoder
from tlcourse.models.resnet import ResNet
from tlcourse.tokenizers import ByteLevelBPE, WordPiece
from tlcourse.weights import WeightsError, content_hash
from tlcourse.weights.card import card_of

SENTENCE = "In the beginning was the word, and the word was measured."


def faults(folder, root):
    """One line for each fault of the checkpoint in folder; root: where the recipe of its card is looked for."""
    try:
        card = card_of(folder)
    except (FileNotFoundError, WeightsError) as problem:
        return [str(problem)]
    found = []
    if card.name != folder.name:
        found.append(f"{folder.name} has the card of {card.name}")
    if content_hash(folder / "model.safetensors") != card.sha256:
        found.append(f"{folder.name}: the weights are not those that its card is about")
    if not (root / card.script).is_file():
        found.append(f"{folder.name}: its recipe {card.script} does not exist")
    if found or card.model == "ResNet":
        return found or image_disagreements(folder)
    if json.loads((folder / "config.json").read_text())["model_type"] == "autoencoder":
        reads_text = (folder / "vocab.txt").is_file()
        return [*(tokenizer_faults(folder) if reads_text else []), *changed_answers(folder, card)]
    return [*tokenizer_faults(folder), *disagreements(folder, card)]


def changed_answers(folder, card):
    """Of an autoencoder, which no peer library opens: whether it answers as it did when it was stored."""
    study = results.load(card.script.removeprefix("experiments/").removesuffix(".py"))
    (stored,) = study.select(name=card.name)
    model = getattr(autoencoder, card.model).from_pretrained(folder)
    now = results.load_script(results.SCRIPTS.parent / card.script).answer(model)
    off = error(torch.tensor(now), torch.tensor(stored["answer"]))
    return (
        []
        if off <= 1e-5
        else [f"{folder.name}: its answers differ from those when it was stored by {off:.1e}"]
    )


def tokenizer_faults(folder):
    """Whether ours and transformers' give the same ids, which is so only where both read all the files."""
    ours = (WordPiece if (folder / "vocab.txt").is_file() else ByteLevelBPE).load(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    if ours.encode(SENTENCE) != theirs.encode(SENTENCE, add_special_tokens=False):
        return [f"{folder.name}: transformers' tokenizer gives other ids"]
    return []


def disagreements(folder, card):
    """Answers of ours and of transformers' class of config.json on the same ids, batch 2 with padding, in float32."""
    settings = transformers.AutoConfig.from_pretrained(folder)
    cls = getattr(importlib.import_module(f"tlcourse.models.{settings.model_type}"), card.model)
    ours = cls.from_pretrained(folder)
    theirs = getattr(transformers, settings.architectures[0])
    theirs, report = theirs.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if any(report.values()):
        return [f"{folder.name}: transformers does not find every tensor: {report}"]
    ids = torch.randint(settings.vocab_size, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        a, b = ours(ids, attention_mask=mask), theirs.eval()(ids, attention_mask=mask)
    pairs = zip(a if isinstance(a, tuple) else [a], b.to_tuple(), strict=False)
    # What is answered at padding is nobody's business: rows of positions are compared where the mask is 1.
    errors = [error(*(x[mask.bool()] if x.dim() == 3 else x for x in pair)) for pair in pairs]
    # float32 adds in another order in the two: 1e-5 of the largest logit is some hundred roundings.
    return [f"{folder.name}: transformers' logits differ by {e:.1e}" for e in errors if not e <= 1e-5]


def image_disagreements(folder):
    """Answers of ours and of torchvision's blocks with the stored weights to the same images, in float32."""
    settings = json.loads((folder / "config.json").read_text())
    theirs = torchvision_resnet(settings)
    theirs.load_state_dict({n: t.float() for n, t in load_file(folder / "model.safetensors").items()})
    size = (2, settings["n_channels"], 28, 28)
    images = torch.rand(size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        off = error(ResNet.from_pretrained(folder)(images), theirs.eval()(images))
    return [] if off <= 1e-5 else [f"{folder.name}: torchvision's logits differ by {off:.1e}"]  # as above


def torchvision_resnet(settings):
    """torchvision's ResNet of two-convolution blocks with other widths, three stages and a stem for small images."""
    first, last = settings["widths"][0], settings["widths"][-1]
    model = torchvision.models.resnet18(num_classes=settings["num_classes"])
    model.conv1 = torch.nn.Conv2d(settings["n_channels"], first, 3, padding=1, bias=False)
    model.bn1, model.maxpool, model.layer4 = (
        torch.nn.BatchNorm2d(first),
        torch.nn.Identity(),
        torch.nn.Identity(),
    )
    model.inplanes = first
    block = torchvision.models.resnet.BasicBlock
    for number, (width, n) in enumerate(zip(settings["widths"], settings["n_blocks"], strict=True), 1):
        setattr(model, f"layer{number}", model._make_layer(block, width, n, stride=1 if number == 1 else 2))
    model.fc = torch.nn.Linear(last, settings["num_classes"])
    return model
