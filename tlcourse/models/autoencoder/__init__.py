"""Autoencoders in four modalities: plain, denoising, variational and masked.

`plain` joins an encoder and a decoder; `vectors`, `images`, `text`, `audio` and `video` have one of each, their sizes
are in `configs`; `denoising`, `variational` and `masked` are kinds; `errors` measure, `heads` put a classifier on top;
`spectrogram` turns waveforms into what the audio encoder reads.
"""

from tlcourse.models.autoencoder.audio import AudioDecoder, AudioEncoder
from tlcourse.models.autoencoder.configs import (
    AudioConfig,
    ImageConfig,
    TextConfig,
    VectorConfig,
    VideoConfig,
)
from tlcourse.models.autoencoder.denoising import (
    DenoisingAutoencoder,
    GaussianNoise,
    MaskingNoise,
    TokenNoise,
)
from tlcourse.models.autoencoder.errors import (
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    mean_where,
    squared_errors,
    token_errors,
    token_log_likelihood,
)
from tlcourse.models.autoencoder.heads import CodeModel, Joint, joint_loss
from tlcourse.models.autoencoder.images import ImageDecoder, ImageEncoder
from tlcourse.models.autoencoder.masked import (
    MaskedAutoencoder,
    hidden_frames,
    hidden_parts,
    hidden_patches,
    hidden_tokens,
)
from tlcourse.models.autoencoder.plain import Autoencoder
from tlcourse.models.autoencoder.spectrogram import MelConfig, log_mel
from tlcourse.models.autoencoder.text import TextDecoder, TextEncoder
from tlcourse.models.autoencoder.variational import (
    Draw,
    Posterior,
    VariationalAutoencoder,
    importance_weighted_bound,
    log_weights,
    lower_bound,
    standard_normal,
)
from tlcourse.models.autoencoder.vectors import VectorDecoder, VectorEncoder
from tlcourse.models.autoencoder.video import VideoDecoder, VideoEncoder, split_next

__all__ = [
    "AudioConfig",
    "AudioDecoder",
    "AudioEncoder",
    "Autoencoder",
    "CodeModel",
    "DenoisingAutoencoder",
    "Draw",
    "GaussianNoise",
    "ImageConfig",
    "ImageDecoder",
    "ImageEncoder",
    "Joint",
    "MaskedAutoencoder",
    "MaskingNoise",
    "MelConfig",
    "Posterior",
    "TextConfig",
    "TextDecoder",
    "TextEncoder",
    "TokenNoise",
    "VariationalAutoencoder",
    "VectorConfig",
    "VectorDecoder",
    "VectorEncoder",
    "VideoConfig",
    "VideoDecoder",
    "VideoEncoder",
    "bernoulli_log_likelihood",
    "gaussian_log_likelihood",
    "hidden_frames",
    "hidden_parts",
    "hidden_patches",
    "hidden_tokens",
    "importance_weighted_bound",
    "joint_loss",
    "log_mel",
    "log_weights",
    "lower_bound",
    "mean_where",
    "split_next",
    "squared_errors",
    "standard_normal",
    "token_errors",
    "token_log_likelihood",
]
