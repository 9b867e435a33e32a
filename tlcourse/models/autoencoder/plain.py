"""An autoencoder: an encoder that makes a short code of its input, a decoder that makes the input of the code again.

Every kind and every modality is one `Autoencoder` of two parts with one latent size; what is minimised stands outside,
in `errors` (Hinton & Salakhutdinov 2006).
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tlcourse.layers import as_generator
from tlcourse.models.autoencoder import audio, configs, images, text, vectors, video
from tlcourse.weights import WeightsError, load_into, read_folder, save_folder

MODEL_TYPE = "autoencoder"
# As config.json calls a modality: its configuration, encoder and decoder.
PARTS = {
    "vector": (configs.VectorConfig, vectors.VectorEncoder, vectors.VectorDecoder),
    "image": (configs.ImageConfig, images.ImageEncoder, images.ImageDecoder),
    "text": (configs.TextConfig, text.TextEncoder, text.TextDecoder),
    "audio": (configs.AudioConfig, audio.AudioEncoder, audio.AudioDecoder),
    "video": (configs.VideoConfig, video.VideoEncoder, video.VideoDecoder),
}


class Autoencoder(nn.Module):
    """Inputs x → their reconstruction, through codes (B, n_latent).

    encoder, decoder: modules with an n_latent each; the encoder maps inputs, and where it reads text an attention
    mask, to (B, encoder.n_latent), the decoder (B, decoder.n_latent) to what is to be like the inputs.
    CODES: numbers that the encoder gives for each latent one. Raises ValueError where the two do not fit: by the width
    of the code, and of the modalities here by what one reads and the other makes.
    """

    CODES: ClassVar[int] = 1

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not hasattr(part, "n_latent"):
                raise ValueError(
                    f"the {name}, a {type(part).__name__}, has no n_latent; set it to the width of its code"
                )
        read, made = (_item(part) for part in (encoder, decoder))
        if None not in (read, made) and read != made:
            raise ValueError(
                f"the encoder reads {read}, the decoder makes {made}; build both from one configuration: "
                f"{type(self).__name__}.from_config(config)"
            )
        if encoder.n_latent != self.CODES * decoder.n_latent:
            each = f"; {type(self).__name__} wants {self.CODES} for each" if self.CODES > 1 else ""
            raise ValueError(
                f"the encoder gives codes of {encoder.n_latent} numbers, the decoder reads {decoder.n_latent}{each}; "
                f"build both from one configuration: {type(self).__name__}.from_config(config)"
            )
        self.encoder = encoder
        self.decoder = decoder

    @classmethod
    def from_config(cls, config: Any, *, seed: int | torch.Generator = 0) -> Self:
        """Encoder and decoder of the modality of the configuration, with random weights drawn from seed."""
        generator = as_generator(seed)
        for known, encoder, decoder in PARTS.values():
            if type(config) is known:
                wide = replace(config, n_latent=cls.CODES * config.n_latent)
                return cls(encoder(wide, seed=generator), decoder(config, seed=generator))
        names = ", ".join(known.__name__ for known, _, _ in PARTS.values())
        raise ValueError(f"{type(config).__name__} is the configuration of no modality; known are {names}")

    @property
    def config(self) -> Any:
        """The configuration of its modality; parts of one's own may have none (AttributeError)."""
        return self.decoder.config

    @property
    def n_latent(self) -> int:
        return self.decoder.n_latent

    def encode(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Codes (B, n_latent). attention_mask: (B, T), 1 for a word, where the inputs are text with padding."""
        return self._read(inputs, attention_mask)

    def decode(self, codes: Tensor) -> Tensor:
        """What the codes (B, n_latent) stand for. Raises ValueError on codes of another width."""
        if codes.dim() != 2 or codes.shape[1] != self.n_latent:
            raise ValueError(f"codes have shape {tuple(codes.shape)}; give (B, n_latent={self.n_latent})")
        return self.decoder(codes)

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The reconstruction: shaped as the inputs; for text logits (B, P, V), for video with the next frame too."""
        return self.decode(self.encode(inputs, attention_mask))

    def _read(self, inputs: Tensor, attention_mask: Tensor | None) -> Tensor:
        return self.encoder(inputs) if attention_mask is None else self.encoder(inputs, attention_mask)

    def settings(self) -> dict[str, Any]:
        """What a kind takes besides encoder and decoder, as JSON; for config.json."""
        return {}

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Self:
        """The autoencoder in a folder that `save_pretrained` wrote, in evaluation mode.

        source: an asset's name, a local folder, or a hub id in the local cache; nothing is downloaded. Raises
        FileNotFoundError; WeightsError on another kind, and on missing, unexpected or misshapen tensors, all listed.
        """
        settings, state = read_folder(source, MODEL_TYPE)
        try:
            kind = settings.get("kind")
            if kind != cls.__name__:
                raise WeightsError(f"it holds a {kind}; open it by {kind}.from_pretrained")
            own, encoder, decoder = PARTS[settings["modality"]]
            config = own(**settings["config"])
            wide = replace(config, n_latent=cls.CODES * config.n_latent)
            model = cls(encoder(wide), decoder(config), **settings["settings"])
            load_into(model, state)
        except (KeyError, TypeError) as error:
            raise WeightsError(f"{source}: config.json does not describe an autoencoder: {error}") from error
        except ValueError as error:
            raise WeightsError(f"{source}: {error}") from error
        return model.eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write config.json and model.safetensors; see `save_folder`. Raises ValueError for parts of one's own."""
        found = [
            name
            for name, (_, encoder, decoder) in PARTS.items()
            if type(self.encoder) is encoder and type(self.decoder) is decoder
        ]
        if not found or self.encoder.config != replace(self.decoder.config, n_latent=self.encoder.n_latent):
            raise ValueError(
                f"{type(self.encoder).__name__} and {type(self.decoder).__name__} are not of one modality and one "
                "configuration; save model.state_dict() by tlcourse.weights.save"
            )
        settings: Mapping[str, Any] = {
            "model_type": MODEL_TYPE,
            "kind": type(self).__name__,
            "modality": found[0],
            "config": asdict(self.decoder.config),
            "settings": self.settings(),
        }
        save_folder(folder, settings, self.state_dict(), dtype=dtype)


def _item(part: nn.Module) -> str | None:
    """What an encoder of this package reads, or a decoder makes, in words; None of parts of one's own."""
    for name, (_, encoder, decoder) in PARTS.items():
        if isinstance(part, (encoder, decoder)):
            return f"{name} of {part.config.item}"
    return None
