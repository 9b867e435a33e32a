"""`from_pretrained` and `save_pretrained` for classifiers of images, whose checkpoints are torchvision's state dicts.

Such a file has no settings in it: the class infers them from names and shapes, unless a config.json stands beside.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tlcourse.weights.files import PICKLES, WeightsError, load_checkpoint
from tlcourse.weights.folders import read_folder, save_folder
from tlcourse.weights.keys import load_into, translate

_COUNTER = "num_batches_tracked"


def read_source(
    source: str | Path | Mapping[str, Tensor], model_type: str
) -> tuple[dict | None, dict[str, Tensor]]:
    """Settings, None where the source has none, and tensors by their official names.

    source: tensors by name; a .safetensors, .pth, .pt or .bin file of them; an asset's name, a folder with
    config.json and model.safetensors, or a hub id in the local cache, of this model_type. Never downloads. Raises
    FileNotFoundError, WeightsError on a file that is damaged or holds another model.
    """
    if isinstance(source, Mapping):
        if not source or not all(isinstance(tensor, Tensor) for tensor in source.values()):
            raise WeightsError(
                f"the state dict holds {', '.join(map(str, list(source)[:5])) or 'nothing'}; give tensors by name, "
                "model.state_dict()"
            )
        return None, dict(source)
    if Path(source).suffix in (".safetensors", *PICKLES) and not Path(source).is_dir():
        return None, load_checkpoint(source)
    return read_folder(source, model_type)


class ImageClassifier(nn.Module):
    """What VGG and ResNet share: `config`, `head`, `from_pretrained`, `save_pretrained`.

    MODEL_TYPE: as our config.json calls the architecture; CONFIG: its configuration, with n_channels and num_classes;
    PLANS: the configurations that torchvision has; FIRST: the first weight, whose shape tells the channels.
    """

    MODEL_TYPE: ClassVar[str]
    CONFIG: ClassVar[type]
    PLANS: ClassVar[tuple]
    FIRST: ClassVar[str]
    config: Any
    head: nn.Linear

    @staticmethod
    def keys(config: Any) -> dict[str, str]:
        """torchvision's name → ours, for every tensor of this configuration: each class has its own."""

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> Any:
        """The plan that these names fit best; channels and classes are taken from the shapes.

        Raises WeightsError where more than a quarter of the names are others. What else is amiss, loading lists.
        """
        found = _without_counters(state)
        wanted = {plan: _without_counters(cls.keys(plan)) for plan in cls.PLANS}
        plan = min(cls.PLANS, key=lambda plan: len(found ^ wanted[plan]))
        if len(found ^ wanted[plan]) > len(wanted[plan]) / 4:
            raise WeightsError(
                f"its names are those of no {cls.__name__} of torchvision's that is known here; for other sizes, load "
                f"a folder that save_pretrained wrote. They begin: {', '.join(list(state)[:4])}"
            )
        theirs = {ours: name for name, ours in cls.keys(plan).items()}
        if first := _shape(state, theirs[cls.FIRST], 4):
            plan = replace(plan, n_channels=first[1])
        if head := _shape(state, theirs["head.weight"], 2):
            plan = replace(plan, num_classes=head[0])
        return plan

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Mapping[str, Tensor],
        *,
        num_classes: int | None = None,
        seed: int | torch.Generator = 0,
    ) -> Self:
        """The model with the weights of a torchvision state dict, in evaluation mode.

        source: the state dict, or where it is, see `read_source`; nothing is downloaded. num_classes: where it is not
        the checkpoint's, the head is a new one, drawn from seed. Raises FileNotFoundError; WeightsError on another
        architecture, and on missing, unexpected or misshapen tensors, all listed.
        """
        settings, state = read_source(source, cls.MODEL_TYPE)
        try:
            config = cls.infer(state) if settings is None else cls._read_config(settings)
            keys = cls.keys(config)
            if len(_without_counters(state)) == len(state):  # files older than PyTorch 0.4.1 have none
                state |= {name: torch.tensor(0) for name in keys if name.endswith(_COUNTER)}
            loaded = translate(state, keys)
            wanted = config if num_classes is None else replace(config, num_classes=num_classes)
            model = cls(wanted, seed=seed)
            if wanted != config:
                loaded |= {n: t for n, t in model.state_dict().items() if n.startswith("head.")}
            load_into(model, loaded)
        except ValueError as error:
            place = "the state dict" if isinstance(source, Mapping) else source
            raise WeightsError(f"{place}: {error}") from error
        return model.eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write config.json and model.safetensors, the tensors named as torchvision does; see `save_folder`."""
        names = {ours: theirs for theirs, ours in self.keys(self.config).items()}
        config = replace(self.config, num_classes=self.head.out_features)  # the head may have been replaced
        settings = {"model_type": self.MODEL_TYPE, **asdict(config)}
        save_folder(folder, settings, translate(self.state_dict(), names), dtype=dtype)

    @classmethod
    def _read_config(cls, settings: Mapping[str, Any]) -> Any:
        given = {name: value for name, value in settings.items() if name != "model_type"}
        try:
            return cls.CONFIG(**given)
        except TypeError as error:
            raise WeightsError(f"config.json does not describe a {cls.__name__}: {error}") from error


def _without_counters(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.endswith(_COUNTER)}


def _shape(state: Mapping[str, Tensor], name: str, n_dims: int) -> torch.Size | None:
    return state[name].shape if name in state and state[name].dim() == n_dims else None
