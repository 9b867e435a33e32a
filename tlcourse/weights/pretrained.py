"""`from_pretrained` and `save_pretrained` for a family of models: an encoder, and the heads that go on it.

A family says once how official checkpoints name its parts and its settings. Every head then loads from every
checkpoint of the family: what it needs is taken, known parts of other heads are left, anything else is an error.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tlcourse.weights.files import WeightsError
from tlcourse.weights.folders import read_folder, save_folder
from tlcourse.weights.keys import KeyTable, load_into, translate

# Fields of our encoders' configurations → what config.json calls them.
ENCODER_SETTINGS = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_inner": "intermediate_size",
    "activation": "hidden_act",
    "n_positions": "max_position_embeddings",
    "n_token_types": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "init_sd": "initializer_range",
    "norm_eps": "layer_norm_eps",
    "pad_token_id": "pad_token_id",
}


@dataclass(frozen=True)
class Family:
    """How official checkpoints of one architecture are laid out.

    model_type: as config.json calls it. defaults: our configuration for settings that config.json leaves out.
    settings: our field → its official name. fixed: official settings of which the code here knows one value.
    prefix: of the encoder's names where a head is present, official and ours alike ("bert.").
    encoder: official → our names. heads: for each part of a head, official → our names.
    copies: tensors that are another one again, and must equal it. dropped: rebuilt here, never read.
    """

    model_type: str
    defaults: Any
    settings: Mapping[str, str]
    fixed: Mapping[str, object]
    prefix: str
    encoder: Mapping[str, str]
    heads: Mapping[str, Mapping[str, str]]
    copies: Mapping[str, str]
    dropped: tuple[str, ...] = ()

    def read_config(self, settings: Mapping) -> Any:
        """Our configuration from the official settings.

        Raises WeightsError for a setting that the code here does not follow, ValueError for sizes that cannot be.
        """
        for name, value in self.fixed.items():
            if settings.get(name, value) != value:
                raise WeightsError(f"config.json has {name}={settings[name]!r}; only {value!r} is known here")
        found = {ours: settings[theirs] for ours, theirs in self.settings.items() if theirs in settings}
        if n_labels := len(settings.get("id2label") or ()) or settings.get("num_labels"):
            found["n_labels"] = n_labels
        return replace(self.defaults, **found)

    def write_config(self, config: Any, architecture: str) -> dict:
        """The official settings of our configuration, for the class that transformers calls architecture."""
        labels = [f"LABEL_{i}" for i in range(config.n_labels)]
        return {
            "model_type": self.model_type,
            "architectures": [architecture],
            **{theirs: getattr(config, ours) for ours, theirs in self.settings.items()},
            "id2label": {str(i): label for i, label in enumerate(labels)},
            "label2id": {label: i for i, label in enumerate(labels)},
        }

    def keys(self, parts: Collection[str], names: Collection[str]) -> KeyTable:
        """Key table for a checkpoint with these names: the encoder, the given parts of a head, the rest dropped."""
        keys: dict[str, str | None] = (
            dict(self.encoder) | dict.fromkeys(self.dropped) | dict.fromkeys(self.copies)
        )
        for part, table in self.heads.items():
            keys |= table if part in parts else dict.fromkeys(table)
        return self.dialect(keys, names)

    def dialect(self, table: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """The table with its official names as these names spell them.

        Two things vary between published files: the prefix, and the norms' names, which TensorFlow calls otherwise.
        """
        bare = not any(name.startswith(self.prefix) for name in names)
        old = any(name.endswith(".gamma") for name in names)
        spelt = {}
        for name, target in table.items():
            name = name.removeprefix(self.prefix) if bare else name
            if old:
                name = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
            spelt[name] = target
        return spelt

    def check_copies(self, state: Mapping[str, Tensor]) -> None:
        """Raise WeightsError where a checkpoint has two values for what is one tensor here (tied weights)."""
        originals = {original: original for original in self.copies.values()}
        spelt = {original: name for name, original in self.dialect(originals, state.keys()).items()}
        for copy, original in self.copies.items():
            if copy in state and not torch.equal(state[copy], state.get(spelt[original], state[copy])):
                raise WeightsError(
                    f"{copy} differs from {spelt[original]}; here they are one tensor (tied weights)"
                )


class Pretrained(nn.Module):
    """What an encoder and its heads share: `config`, `from_pretrained`, `save_pretrained`.

    Attributes: FAMILY; PARTS, the parts of a head that the class has, none for the encoder itself; OFFICIAL, the
    class that transformers opens our files with.
    """

    FAMILY: ClassVar[Family]
    OFFICIAL: ClassVar[str]
    PARTS: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        new_head: bool = False,
        n_labels: int | None = None,
        seed: int | torch.Generator = 0,
    ) -> Self:
        """The model with the weights of a folder in the Hugging Face layout, in evaluation mode.

        source: an asset's name, a checkpoint of this project, a local folder, or a hub id that is in the local cache;
        nothing is downloaded.
        new_head: draw from seed those parts of the head that the checkpoint lacks; without it, their absence is an
        error. n_labels: outputs of a new classifier, in place of the checkpoint's number.
        Raises FileNotFoundError, naming the command that fetches it; WeightsError for another architecture and for
        missing, unexpected, misshapen or cut off tensors, all listed.
        """
        family = cls.FAMILY
        settings, state = read_folder(source, family.model_type)
        try:
            config = family.read_config(settings)
            if n_labels is not None:
                config = replace(config, n_labels=n_labels)
            present = [
                p for p in cls.PARTS if family.dialect(family.heads[p], state.keys()).keys() & state.keys()
            ]
            # A sentence's classifier and a word's have the same names and shapes: only config.json tells them apart.
            if cls.OFFICIAL not in (settings.get("architectures") or [cls.OFFICIAL]):
                present = [part for part in present if part != "classifier"]
            lacking = [part for part in cls.PARTS if part not in present]
            if lacking and not new_head:
                raise WeightsError(
                    f"the checkpoint has no {' and no '.join(lacking)} of a {cls.__name__}; for a random one, say so: "
                    f"{cls.__name__}.from_pretrained(…, new_head=True, seed=0)"
                )
            if cls.PARTS:
                family.check_copies(state)
            loaded = translate(state, cls._without_prefix(family.keys(present, state.keys())))
            model = cls(config, seed=seed)
            drawn = {ours for part in lacking for ours in family.heads[part].values()}
            load_into(model, {n: t for n, t in model.state_dict().items() if n in drawn} | loaded)
        except ValueError as error:
            raise WeightsError(f"{source}: {error}") from error
        return model.eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write config.json and model.safetensors, which transformers opens too; see `save_folder`."""
        family = self.FAMILY
        table = dict(family.encoder)
        for part in self.PARTS:
            table |= family.heads[part]
        # The encoder alone is written, as it is named here, without the prefix.
        table = self._without_prefix(table if self.PARTS else family.dialect(table, ()))
        state = translate(self.state_dict(), {ours: theirs for theirs, ours in table.items()})
        save_folder(folder, family.write_config(self.config, self.OFFICIAL), state, dtype=dtype)

    @classmethod
    def _without_prefix(cls, keys: KeyTable) -> dict[str, str | None]:
        """The table for this class: the encoder itself has no prefix before its own names."""
        prefix = "" if cls.PARTS else cls.FAMILY.prefix
        return {theirs: ours and ours.removeprefix(prefix) for theirs, ours in keys.items()}


def linears(table: Mapping[str, str]) -> dict[str, str]:
    """A key table for layers from one for their names: weight and bias of each."""
    return {
        f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in table.items() for kind in ("weight", "bias")
    }
