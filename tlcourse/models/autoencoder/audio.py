"""Encoder and decoder of log-mel spectrograms, which are images of one channel: frequency up, time across."""

import torch
from torch import Tensor, nn

from tlcourse.models.autoencoder.configs import AudioConfig
from tlcourse.models.autoencoder.images import ImageDecoder, ImageEncoder


class AudioEncoder(nn.Module):
    """Log-mel spectrograms (B, n_mels, n_frames), as `log_mel` gives them → codes (B, n_latent)."""

    def __init__(self, config: AudioConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        self.image = ImageEncoder(config.image, seed=seed)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Raises ValueError on spectrograms of another size, and on waveforms."""
        wanted = (self.config.n_mels, self.config.n_frames)
        if spectrograms.dim() != 3 or spectrograms.shape[1:] != wanted:
            raise ValueError(
                f"spectrograms {tuple(spectrograms.shape)} for an encoder of {wanted[0]} mels × {wanted[1]} frames; "
                "give (B, n_mels, n_frames), as log_mel makes it of waveforms of one length"
            )
        return self.image(spectrograms.unsqueeze(1))  # (B, 1, n_mels, n_frames)


class AudioDecoder(nn.Module):
    """Codes (B, n_latent) → log-mel spectrograms (B, n_mels, n_frames)."""

    def __init__(self, config: AudioConfig, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config, self.n_latent = config, config.n_latent
        self.image = ImageDecoder(config.image, seed=seed)

    def forward(self, codes: Tensor) -> Tensor:
        return self.image(codes).squeeze(1)
