"""Encoder and decoder of videos: frames one by one as images, time by a recurrent layer (Srivastava et al. 2015).

The decoder makes the frames again and one more, the next; so an autoencoder that is trained on all of them learns
what stays and what moves. Shapes: B batch, T frames that are read; frames (B, T, C, H, W).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tlcourse.layers import as_generator, start_convolutional
from tlcourse.models.autoencoder.configs import VideoConfig
from tlcourse.models.autoencoder.images import ImageDecoder, ImageEncoder


class Seen(NamedTuple):
    """frames: (B, T, C, H, W), all but the last, for the encoder; target: (B, T + 1, C, H, W), all."""

    frames: Tensor
    target: Tensor


def split_next(video: Tensor) -> Seen:
    """A video (B, T + 1, C, H, W) as what the encoder may see and what the decoder is to make.

    Raises ValueError on another number of dimensions, and on fewer than two frames.
    """
    if video.dim() != 5:
        raise ValueError(f"video has shape {tuple(video.shape)}; give (B, T, C, H, W)")
    if video.shape[1] < 2:
        raise ValueError(
            f"a video of {video.shape[1]} frames has no next one; give two at least, (B, T, C, H, W)"
        )
    return Seen(video[:, :-1], video)


class VideoEncoder(nn.Module):
    """Frames (B, T, C, H, W) → codes (B, n_latent): the state after the last frame."""

    def __init__(self, config: VideoConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        generator = as_generator(seed)
        self.config, self.n_latent = config, config.n_latent
        self.frame = ImageEncoder(config.frame, seed=generator)
        self.time = _recurrent(config.d_frame, config.d_state, generator)
        with torch.device("meta"):
            self.to_code = nn.Linear(config.d_state, config.n_latent)
        start_convolutional(self.to_code, generator)

    def forward(self, frames: Tensor) -> Tensor:
        """Raises ValueError on videos of another length, frame size or number of channels."""
        if frames.dim() != 5 or frames.shape[1] != self.config.n_frames:
            raise ValueError(
                f"frames {tuple(frames.shape)} for an encoder of {self.config.n_frames} frames; give (B, T, C, H, W), "
                "without the frame to predict: split_next(video).frames"
            )
        codes = self.frame(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])  # (B, T, d_frame)
        states, _ = self.time(codes)  # (B, T, d_state)
        return self.to_code(states[:, -1])


class VideoDecoder(nn.Module):
    """Codes (B, n_latent) → frames (B, T + 1, C, H, W): those that were read, and the next."""

    def __init__(self, config: VideoConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        generator = as_generator(seed)
        self.config, self.n_latent = config, config.n_latent
        self.time = _recurrent(config.n_latent, config.d_state, generator)
        with torch.device("meta"):
            self.to_frame = nn.Linear(config.d_state, config.d_frame)
        start_convolutional(self.to_frame, generator)
        self.frame = ImageDecoder(config.frame, seed=generator)

    def forward(self, codes: Tensor) -> Tensor:
        n = self.config.n_frames + 1
        states, _ = self.time(codes.unsqueeze(1).expand(-1, n, -1))  # (B, T + 1, d_state)
        frames = self.frame(self.to_frame(states).flatten(0, 1))  # (B · (T + 1), C, H, W)
        return frames.unflatten(0, (len(codes), n))


@torch.no_grad()
def _recurrent(n_in: int, d_state: int, generator: torch.Generator) -> nn.GRU:
    """A GRU (Cho et al. 2014) with PyTorch's start, uniform in ±1/√d_state, but from the generator."""
    layer = nn.GRU(n_in, d_state, batch_first=True, device="meta").to_empty(device=generator.device)
    bound = d_state**-0.5
    for parameter in layer.parameters():
        parameter.uniform_(-bound, bound, generator=generator)
    return layer
