"""Whole models as folders in the Hugging Face layout: config.json beside model.safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tlcourse import assets
from tlcourse.weights.files import WeightsError, load_checkpoint, save, write_text
from tlcourse.weights.shipped import checkpoints, home

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def locate(source: str | Path) -> Path:
    """Folder with config.json, model.safetensors and the tokenizer's files of a pretrained model.

    source: an asset's name, the name of a checkpoint of this project ("bert-mini"), a local folder, or a hub id that
    is already in the local cache; looked for in this order. Never downloads: raises MissingAssetError or
    FileNotFoundError, naming the command that fetches it.
    """
    if str(source) in assets.names():
        return assets.path(str(source))
    if str(source) in checkpoints():
        return home() / str(source)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    wanted = [CONFIG, WEIGHTS, "tokenizer.json"]
    try:
        return Path(snapshot_download(str(source), allow_patterns=wanted, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise FileNotFoundError(
            f"{str(source)!r} is no asset ({', '.join(assets.names())}), no checkpoint of this project "
            f"({', '.join(checkpoints()) or 'none yet'}), no folder, and not in the hub's local cache; "
            f"fetch it with: hf download {source} {' '.join(wanted)}"
        ) from error


def read_folder(source: str | Path, model_type: str) -> tuple[dict, dict[str, Tensor]]:
    """The settings of config.json and the tensors of model.safetensors by their official names.

    source: see `locate`. model_type: the architecture wanted, as config.json calls it. Raises FileNotFoundError where
    one of the files is absent; WeightsError on a damaged file and on another architecture.
    """
    folder = locate(source)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {name}; a model's folder needs {CONFIG} and {WEIGHTS} "
                "(transformers writes both by model.save_pretrained(folder))"
            )
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{folder / CONFIG} is no JSON ({error}); fetch it again") from error
    found = settings.get("model_type") if isinstance(settings, dict) else None
    if found != model_type:
        raise WeightsError(f"{folder} holds a model of model_type {found!r}; {model_type!r} is wanted here")
    return settings, load_checkpoint(folder / WEIGHTS)


def save_folder(
    folder: str | Path, settings: Mapping, state: Mapping[str, Tensor], *, dtype: torch.dtype | None = None
) -> None:
    """Write config.json and model.safetensors, each complete or not at all; other files in folder stay.

    settings: as transformers' configuration of this model_type has them; state: tensors by their official names;
    dtype: to convert floating-point tensors to. Raises OSError where the disk is full or not writable.
    """
    folder = Path(folder)
    text = (
        json.dumps(dict(settings), indent=2, sort_keys=True) + "\n"
    )  # before anything is touched: it may raise
    folder.mkdir(parents=True, exist_ok=True)
    save(state, folder / WEIGHTS, dtype=dtype)
    write_text(folder / CONFIG, text)
