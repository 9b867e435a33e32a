"""The autoencoders of the study, to open by name: one of each modality, and of images the other kinds.

make experiment NAME=pretrained/autoencoder_checkpoints

Each is the network of the study's seed 0, trained again with the rate that the study chose, rounded to float16, scored
on its test part as there, and stored with its card as data/checkpoints/autoencoder-…. Nothing is chosen here.
"""

from __future__ import annotations

import hashlib
import time

import torch
from torch import Tensor

from tlcourse import assets, datasets, results, runtime, weights
from tlcourse.datasets import spoken
from tlcourse.models import autoencoder as ae
from tlcourse.tokenizers import WordPiece

BASE = results.load_script(results.SCRIPTS / "pretrained" / "autoencoders.py")
CHOSEN = results.load(BASE.STUDY.name).body["chosen"]
NAMES = {f"autoencoder-{modality}": (modality, "plain") for modality in BASE.MODALITIES}
NAMES |= {f"autoencoder-images-{kind}": ("images", kind) for kind in BASE.KINDS}
SETTINGS = {
    "base": BASE.STUDY.recipe,
    "seed": 0,
    "rates": {name: CHOSEN[modality][kind] for name, (modality, kind) in NAMES.items()},
}
STUDY = results.Study("pretrained/autoencoder_checkpoints", SETTINGS, assets=BASE.STUDY.assets)
SEEN = {
    "images": "clothes, 4,000 images",
    "text": "definitions in ten classes, 4,000",
    "audio": "ten digits spoken by synthetic voices, 560 clips",
    "video": "handwritten digits that move, 2,000 videos",
}
# Of a score's name in the study: what the card calls it. Errors are squared, in % of what the mean is off by.
LABELS = {
    "error": "error (% of the mean's)",
    "error, PCA": "error of PCA (%)",
    "next": "error at the next frame (%)",
    "next, PCA": "error there of a regression on PCA (%)",
    "words right": "words right (%)",
    "words right, PCA": "words right by PCA (%)",
    "itself": "error (% of the mean's)",
    "plain": "error of the plain autoencoder (%)",
    "PCA": "error of PCA (%)",
    "bound": "lower bound (nats an image)",
    "weighted": "importance-weighted bound (nats an image)",
}


# ---------------------------------------------------------------- what a network is asked


def scores(model: ae.Autoencoder, modality: str, kind: str) -> dict[str, float]:
    """What the study measured of this network, under its names."""
    seed = SETTINGS["seed"]
    if kind == "plain":
        found = BASE.reconstruction(BASE.load(modality, seed), model, BASE.pca_of(modality, seed))
        return {name: value for name, value in found.items() if name != "of groups"}
    data, plain, pca, _ = BASE.base(modality, seed, CHOSEN[modality]["plain"])
    measured = {"denoising": BASE.denoised, "variational": BASE.bounds, "masked": BASE.filled}[kind]
    return measured(data, model, plain, pca, seed)


def question(config: ae.ImageConfig | ae.TextConfig | ae.AudioConfig | ae.VideoConfig) -> Tensor:
    """Two inputs of the right shape and no meaning, to see whether a network answers as it did when it was stored."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(config, ae.TextConfig):
        return torch.randint(BASE.FIRST, config.vocab_size, (2, config.n_positions), generator=generator)
    if isinstance(config, ae.AudioConfig):
        return torch.randn(2, config.n_mels, config.n_frames, generator=generator)
    frame = (config.n_channels, config.height, config.width)
    time = (config.n_frames,) if isinstance(config, ae.VideoConfig) else ()
    return torch.rand(2, *time, *frame, generator=generator)


@torch.inference_mode()
def answer(model: ae.Autoencoder) -> list[float]:
    """Root mean square of both codes and of both reconstructions."""
    x = question(model.config)
    return [float(y.square().mean().sqrt()) for y in (*model.encode(x), *model(x))]


# ---------------------------------------------------------------- jobs


def make(name: str, rate: float) -> dict:
    """Train, round to float16, score, and store with its card."""
    (modality, kind), seed = NAMES[name], SETTINGS["seed"]
    wall, cpu = time.monotonic(), time.process_time()
    data = BASE.load(modality, seed)
    model = BASE.trained(kind, data, rate, seed).half().float()
    took = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
    found, steps = scores(model, modality, kind), BASE.SETTINGS["steps"][modality]
    content = hashlib.sha256(data.inputs["train"].numpy().tobytes()).hexdigest()
    card = weights.Card(
        name=name,
        model=type(model).__name__,
        command=f"make experiment NAME={STUDY.name}",
        corpora=(weights.Corpus(SEEN[modality], content, licence(modality)),),
        steps=steps,
        tokens=steps * BASE.SETTINGS["batch_size"],
        seed=seed,
        metrics={f"held out: {LABELS[what]}": value for what, value in found.items() if what in LABELS},
        environment=runtime.environment(),
        good_for=f"seeing what a code of {model.n_latent} numbers keeps; it reads {reads(modality)}",
        not_good_for="anything else than such inputs: it is small and trained for seconds",
        **{clock: round(value, 1) for clock, value in took.items()},
    )
    weights.export(model, tokenizer(data) if modality == "text" else None, card)
    return {"task": "make", "name": name, "modality": modality, "kind": kind, "seed": seed, "rate": rate} | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "scores": found,
        "answer": answer(model),
    }


def licence(modality: str) -> str:
    asset = {"images": "fashion-mnist", "text": "wordnet", "video": "digits"}
    return assets.get(asset[modality]).licence if modality in asset else spoken.card_of_words()["licence"]


def reads(modality: str) -> str:
    """What the encoder wants, with the numbers that no configuration holds."""
    settings = BASE.SETTINGS
    if modality == "text":
        return f"the first {settings['n_words']} runs of a…z in lower case, by its own tokenizer"
    if modality == "audio":
        clips = datasets.spoken_words(seconds=settings["seconds"])
        train = datasets.spoken_split(clips, SETTINGS["seed"]).train
        loud = ae.log_mel(torch.from_numpy(clips.waveforms[train]), ae.MelConfig(**settings["mel"]))
        mel = ", ".join(f"{key}={value}" for key, value in settings["mel"].items())
        return (
            f"spoken digits of {settings['seconds']} seconds as "
            f"(log_mel(waveforms, MelConfig({mel})) {-loud.mean():+.4f}) / {loud.std():.4f}"
        )
    return {"images": "28 × 28 pixels, 0 black … 1 white", "video": "six frames of 16 × 16 pixels, 0…1"}[
        modality
    ]


def tokenizer(data) -> WordPiece:
    """Whole words by their numbers; what is in no training text is unknown."""
    return WordPiece(["[PAD]", "[UNK]", *data.vocabulary[BASE.FIRST :]])


def plan() -> dict:
    return {f"make {name}": (make, {"name": name, "rate": rate}) for name, rate in SETTINGS["rates"].items()}


def main() -> None:
    STUDY.write(STUDY.run(plan()))


if __name__ == "__main__":
    main()
