"""Sound as an image: how loud which pitch is when, on the scales of the ear (log-mel; Stevens et al. 1937).

A waveform is cut into overlapping windows; the power of each window's Fourier transform is summed in bands that are
equally wide on the mel scale, and its logarithm is taken.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.models.autoencoder.configs import check_whole

# A wave that was not cut off turns round in a sample or two, or in a few where its levels are coarse.
CLIPPED = 3  # neighbours that share a peak at full scale
CLIPPED_SHARE = 0.1  # of all samples, in such company, at a lower peak: cut off, and made quieter afterwards


@dataclass(frozen=True)
class MelConfig:
    """sample_rate and frequencies in Hz; window and hop in samples, at 16 kHz 25 ms every 10 ms; n_mels bands.

    f_max: None for half the sample rate. floor: power below which everything is as quiet.
    Raises ValueError on numbers that cannot be, and on bands so narrow that no frequency falls into them.
    """

    sample_rate: int = 16000
    window: int = 400
    hop: int = 160
    n_mels: int = 40
    f_min: float = 0.0
    f_max: float | None = None
    floor: float = 1e-10

    def __post_init__(self) -> None:
        check_whole({name: getattr(self, name) for name in ("sample_rate", "window", "hop", "n_mels")})
        if self.window % 2:
            raise ValueError(
                f"window={self.window} must be even, so that a frame has a middle; try {self.window + 1}"
            )
        if not 0 <= self.f_min < self.highest <= self.sample_rate / 2:
            raise ValueError(
                f"f_min={self.f_min} and f_max={self.highest} must rise and lie in 0…{self.sample_rate / 2:g} Hz, "
                "half the sample rate"
            )
        if not (math.isfinite(self.floor) and self.floor > 0):
            raise ValueError(f"floor={self.floor} must be a positive power")
        if empty := (mel_bands(self).amax(1) == 0).nonzero().flatten().tolist():
            raise ValueError(
                f"no frequency of a window of {self.window} samples falls into {len(empty)} of {self.n_mels} bands, "
                f"the first is {empty[0]}; take fewer n_mels or a longer window"
            )

    @property
    def highest(self) -> float:
        return self.sample_rate / 2 if self.f_max is None else self.f_max


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """2595 · log10(1 + f / 700) (O'Shaughnessy 1987): linear below about 1 kHz, logarithmic above."""
    return 2595 * (1 + hertz / 700).log10()


def mel_to_hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


def mel_bands(config: MelConfig) -> Tensor:
    """Weight of each frequency in each band, (n_mels, window // 2 + 1) float64.

    Triangles of height 1: a band rises from the centre of the band below to its own and falls to that of the next.
    """
    ends = hertz_to_mel(torch.tensor([config.f_min, config.highest], dtype=torch.float64))
    edges = mel_to_hertz(torch.linspace(*ends.tolist(), config.n_mels + 2, dtype=torch.float64))
    hertz = torch.arange(config.window // 2 + 1, dtype=torch.float64) * config.sample_rate / config.window
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]  # (n_mels, 1) each
    rising, falling = (hertz - low) / (centre - low), (high - hertz) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0)


def log_mel(waveforms: Tensor, config: MelConfig = MelConfig()) -> Tensor:
    """Log-mel spectrograms (B, n_mels, 1 + N // hop) in nats of power, from waveforms (B, N) in −1…1.

    Frame t is centred on sample t · hop; the ends are mirrored. Raises ValueError on audio that is empty, shorter
    than half a window, not finite, silent, beyond ±1 or clipped.
    """
    check_audio(waveforms, config)
    window = torch.hann_window(config.window, dtype=waveforms.dtype, device=waveforms.device)
    transform = torch.stft(
        waveforms, config.window, config.hop, window=window, pad_mode="reflect", return_complex=True
    )
    power = transform.abs().square()  # (B, window // 2 + 1, frames)
    bands = mel_bands(config).to(power)
    return (bands @ power).clamp(min=config.floor).log()


def check_audio(waveforms: Tensor, config: MelConfig) -> None:
    """Raise ValueError, naming the first row at fault, on audio that `log_mel` does not take."""
    if waveforms.dim() != 2 or not waveforms.is_floating_point():
        raise ValueError(
            f"waveforms are {waveforms.dtype} of shape {tuple(waveforms.shape)}; give floats (B, N) in −1…1, "
            "16-bit samples divided by 32768"
        )
    if waveforms.numel() == 0:
        raise ValueError(f"waveforms of shape {tuple(waveforms.shape)} are empty; leave such clips out")
    if waveforms.shape[1] <= config.window // 2:
        raise ValueError(
            f"waveforms of {waveforms.shape[1]} samples are shorter than half a window of {config.window}; pad them"
        )
    peak = waveforms.abs().amax(1, keepdim=True)  # (B, 1)
    clipped = torch.zeros_like(peak[:, 0], dtype=torch.bool)
    for extreme in (waveforms.amax(1, keepdim=True), waveforms.amin(1, keepdim=True)):
        stays = (waveforms == extreme) & (extreme != 0)  # (B, N)
        flat = stays.unfold(1, CLIPPED, 1).all(-1)
        clipped |= (flat.any(1) & (extreme.abs() >= 0.99).squeeze(1)) | (
            flat.float().mean(1) >= CLIPPED_SHARE
        )
    faults = {
        "is not finite; look at how it was read": ~waveforms.isfinite().all(1),
        "is silent; leave it out": (peak == 0).squeeze(1),
        "goes beyond ±1; divide 16-bit samples by 32768": (peak > 1).squeeze(1),
        f"is clipped ({CLIPPED} neighbours or more stay at its peak, at full scale once or anywhere again and again); "
        "record or render it at a lower volume": clipped,
    }
    for fault, rows in faults.items():
        if rows.any():
            raise ValueError(f"waveform {int(rows.nonzero()[0])} {fault}")
