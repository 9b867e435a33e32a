"""Log-mel spectrograms against transformers' audio utilities, which follow librosa and torchaudio; and bad audio."""

import math

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from tlcourse.models.autoencoder import MelConfig, log_mel
from tlcourse.models.autoencoder.spectrogram import hertz_to_mel, mel_bands, mel_to_hertz

CONFIGS = [
    MelConfig(),
    MelConfig(sample_rate=22050, window=512, hop=200, n_mels=23, f_min=60.0, f_max=7600.0, floor=1e-5),
    MelConfig(sample_rate=8000, window=256, hop=256, n_mels=20, floor=1e-7),
]


def noise(n_rows=2, n=4000):
    x = torch.randn(n_rows, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return 0.9 * x / x.abs().amax(1, keepdim=True)


def theirs_bands(config):
    return mel_filter_bank(
        num_frequency_bins=config.window // 2 + 1, num_mel_filters=config.n_mels, min_frequency=config.f_min,
        max_frequency=config.highest, sampling_rate=config.sample_rate, norm=None, mel_scale="htk",
    )  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS)
def test_bands_are_those_of_transformers(config):
    expected = theirs_bands(config).T
    assert np.abs(mel_bands(config).numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("config", CONFIGS)
def test_spectrograms_are_those_of_transformers(config):
    x = noise()
    ours = log_mel(x, config)
    assert ours.shape == (2, config.n_mels, 1 + 4000 // config.hop)
    for row, wave in zip(ours.numpy(), x.numpy(), strict=True):
        expected = spectrogram(
            wave, window_function(config.window, "hann"), config.window, config.hop, config.window, power=2.0,
            center=True, pad_mode="reflect", mel_filters=mel_bands(config).numpy().T, mel_floor=config.floor,
            log_mel="log", dtype=np.float64,
        )  # fmt: skip
        # Theirs keeps the transform in complex64: seven digits of the largest power, nats of the smaller ones.
        assert np.abs(row - expected).max() < 1e-3


def test_single_precision_is_kept_and_agrees():
    x = noise()
    ours = log_mel(x.float())
    assert ours.dtype == torch.float32
    assert float((ours - log_mel(x)).abs().max()) < 1e-3


def test_the_mel_scale_has_1000_at_1000_hertz_and_is_undone():
    hertz = torch.tensor([0.0, 1000.0, 8000.0], dtype=torch.float64)
    assert torch.allclose(
        hertz_to_mel(hertz), torch.tensor([0.0, 999.9856, 2840.0231], dtype=torch.float64), atol=1e-3
    )
    assert torch.allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz, atol=1e-9)


def test_neighbouring_bands_sum_to_one_between_their_centres():
    bands = mel_bands(MelConfig())
    inside = slice(3, 180)  # between the first and the last centre
    assert torch.allclose(bands.sum(0)[inside], torch.ones(177, dtype=torch.float64), atol=1e-12)


def test_a_tone_shows_in_its_band_at_its_height_and_a_rest_at_the_floor():
    """A sine of amplitude a on a frequency of the transform has power (a · window / 4)² there under Hann's window."""
    config = MelConfig()
    hertz = 25 * config.sample_rate / config.window  # 1 kHz
    n = torch.arange(16000, dtype=torch.float64)
    tone = 0.5 * torch.sin(2 * math.pi * hertz * n / config.sample_rate)
    tone[8000:] = 0
    picture = log_mel(tone[None], config)[0]
    assert (picture[:, 20:30].argmax(0) == mel_bands(config)[:, 25].argmax()).all()
    bands = mel_bands(config)
    side = (0.5 * config.window / 8) ** 2  # Hann's window gives half the height to each neighbour
    power = (0.5 * config.window / 4) ** 2 * bands[:, 25] + side * (bands[:, 24] + bands[:, 26])
    assert torch.allclose(picture[:, 25].exp(), power, atol=1e-6 * float(power.max()))
    assert torch.allclose(picture[:, 60:], torch.tensor(math.log(config.floor), dtype=torch.float64))


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (torch.zeros(2, 0), r"waveforms of shape \(2, 0\) are empty; leave such clips out"),
        (torch.zeros(0, 900), r"waveforms of shape \(0, 900\) are empty"),
        (torch.zeros(900), r"waveforms are torch.float32 of shape \(900,\); give floats \(B, N\) in −1…1"),
        (
            torch.zeros(2, 900).short(),
            r"waveforms are torch.int16 of shape .* 16-bit samples divided by 32768",
        ),
        (torch.ones(2, 200) / 2, "waveforms of 200 samples are shorter than half a window of 400; pad them"),
    ],
)
def test_audio_that_is_no_batch_of_waveforms_is_refused(wave, message):
    with pytest.raises(ValueError, match=message):
        log_mel(wave)


def spoilt(row):
    x = noise(3, 900)
    x[1] = row(x[1])
    return x


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            lambda x: x.index_fill(0, torch.tensor([5]), math.nan),
            "waveform 1 is not finite; look at how it was read",
        ),
        (lambda x: x * 0, "waveform 1 is silent; leave it out"),
        (lambda x: 20000 * x, "waveform 1 goes beyond ±1; divide 16-bit samples by 32768"),
        (
            lambda x: (3 * x).clamp(-1, 1),
            r"waveform 1 is clipped \(3 neighbours or more stay at its peak, .*\); record",
        ),
        (lambda x: (3 * x).clamp(-0.995, 2 / 3), "waveform 1 is clipped"),
        (lambda x: (3 * x).clamp(-2 / 3, 0.995), "waveform 1 is clipped"),
        (lambda x: 0.5 * (9 * x).clamp(-1, 1), "waveform 1 is clipped"),  # and made quieter afterwards
    ],
)
def test_audio_that_tells_nothing_is_refused_by_its_row(row, message):
    x = torch.nn.functional.avg_pool1d(spoilt(row)[:, None], 1)[:, 0]
    smooth = noise(1, 300).repeat_interleave(3, 1)  # three equal neighbours throughout
    if "clipped" in message:
        x[1] = row(smooth[0])
    with pytest.raises(ValueError, match=message):
        log_mel(x)


def test_loud_but_whole_waves_are_taken():
    n = torch.arange(4000)
    sine = torch.sin(2 * math.pi * 440 * n / 16000)
    square = torch.where(n % 2 == 0, 1.0, -1.0)  # peaks beside peaks, but never three of one sign
    coarse = (
        0.5 * (127 * torch.sin(2 * math.pi * 100 * n / 16000)).round() / 127
    )  # eight bits, flat at its peaks
    late = sine.clone()
    late[:3000] = 0  # silence is no peak
    assert bool(log_mel(torch.stack([sine / sine.abs().max(), square, coarse, late])).isfinite().all())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_mels": 0}, "n_mels=0 must be a whole number of at least 1"),
        ({"window": 400.0}, "window=400.0 must be"),
        ({"hop": 0}, "hop=0 must be"),
        ({"window": 401}, "window=401 must be even, so that a frame has a middle; try 402"),
        ({"sample_rate": 0}, "sample_rate=0 must be"),
        ({"f_max": 9000.0}, r"f_min=0.0 and f_max=9000.0 must rise and lie in 0…8000 Hz, half the sample rate"),
        ({"f_min": 4000.0, "f_max": 4000.0}, "f_min=4000.0 and f_max=4000.0 must rise"),
        ({"f_min": -1.0}, "f_min=-1.0 and f_max=8000.0 must rise"),
        ({"floor": 0.0}, "floor=0.0 must be a positive power"),
        ({"floor": math.inf}, "floor=inf must be"),
        ({"window": 64}, r"no frequency of a window of 64 samples falls into \d+ of 40 bands, the first is 0; take"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        MelConfig(**sizes)
