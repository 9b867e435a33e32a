"""Sizes of autoencoders, one configuration for the encoder and the decoder of a modality."""

from collections.abc import Mapping
from dataclasses import dataclass

from tlcourse.layers import EncoderConfig


def check_whole(sizes: Mapping[str, object]) -> None:
    """Raise ValueError naming the first of these sizes that is no whole number of at least 1."""
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


@dataclass(frozen=True)
class VectorConfig:
    """Vectors of n_inputs numbers. hidden: widths between input and code; none makes both parts linear."""

    n_inputs: int
    n_latent: int
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON has lists only
        check_whole({"n_inputs": self.n_inputs, "n_latent": self.n_latent})
        check_whole({f"hidden[{i}]": width for i, width in enumerate(self.hidden)})

    @property
    def item(self) -> tuple[int, ...]:
        """The shape of one input, as in the configurations below."""
        return (self.n_inputs,)


@dataclass(frozen=True)
class ImageConfig:
    """Images (n_channels, height, width). widths: channels of the stages, each of which halves height and width."""

    height: int
    width: int
    n_channels: int
    n_latent: int
    widths: tuple[int, ...] = (32, 64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        sizes = {name: getattr(self, name) for name in ("height", "width", "n_channels", "n_latent")}
        check_whole(sizes | {f"widths[{i}]": width for i, width in enumerate(self.widths)})
        stride = 2 ** len(self.widths)
        if self.height % stride or self.width % stride or not self.widths:
            raise ValueError(
                f"{self.height} × {self.width} pixels cannot be halved {len(self.widths)} times; give one to "
                f"{max(_halvings(self.height, self.width), 1)} widths, or pad the images to multiples of {stride}"
            )

    @property
    def item(self) -> tuple[int, ...]:
        return self.n_channels, self.height, self.width

    @property
    def smallest(self) -> tuple[int, int, int]:
        """Channels, height and width of the last maps of the encoder, the first of the decoder."""
        stride = 2 ** len(self.widths)
        return self.widths[-1], self.height // stride, self.width // stride


@dataclass(frozen=True)
class AudioConfig:
    """Log-mel spectrograms (n_mels, n_frames), read as images. widths: as in ImageConfig."""

    n_mels: int
    n_frames: int
    n_latent: int
    widths: tuple[int, ...] = (32, 64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        check_whole({"n_mels": self.n_mels, "n_frames": self.n_frames})
        _ = self.image  # which checks the rest

    @property
    def item(self) -> tuple[int, ...]:
        return self.n_mels, self.n_frames

    @property
    def image(self) -> ImageConfig:
        return ImageConfig(self.n_mels, self.n_frames, 1, self.n_latent, self.widths)


@dataclass(frozen=True)
class VideoConfig:
    """Videos (n_frames, n_channels, height, width), of which the decoder also makes the frame that comes next.

    n_frames: that the encoder reads, two at least, for one shows no motion; d_frame: width of a frame's own code;
    d_state: of the recurrent layers; widths: as in ImageConfig.
    """

    n_frames: int
    height: int
    width: int
    n_channels: int
    n_latent: int
    d_frame: int = 64
    d_state: int = 128
    widths: tuple[int, ...] = (16, 32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        sizes = ("n_frames", "n_latent", "d_frame", "d_state")
        check_whole({name: getattr(self, name) for name in sizes})
        if self.n_frames < 2:
            raise ValueError("n_frames=1; a video has two frames at least, for one shows no motion")
        _ = self.frame

    @property
    def item(self) -> tuple[int, ...]:
        return self.n_frames, *self.frame.item

    @property
    def frame(self) -> ImageConfig:
        return ImageConfig(self.height, self.width, self.n_channels, self.d_frame, self.widths)


@dataclass(frozen=True)
class TextConfig(EncoderConfig):
    """Sentences as ids. Fields: see EncoderConfig; both parts have n_layers layers of the same sizes.

    The decoder makes n_positions tokens, whatever was read.
    """

    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 4
    d_inner: int = 512
    n_positions: int = 48
    n_token_types: int = 1
    n_latent: int = 128

    @property
    def item(self) -> tuple[int, ...]:
        """Positions and words to choose among."""
        return self.n_positions, self.vocab_size


def _halvings(*sizes: int) -> int:
    return min((size & -size).bit_length() - 1 for size in sizes)
