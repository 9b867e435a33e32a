"""Audio parts are the image parts on spectrograms as images of one channel."""

import pytest
import torch

from tlcourse.models.autoencoder import (
    AudioConfig,
    AudioDecoder,
    AudioEncoder,
    ImageDecoder,
    ImageEncoder,
    MelConfig,
    log_mel,
)

CONFIG = AudioConfig(8, 16, 5, widths=(4, 6))


def test_spectrograms_are_read_and_made_as_images_of_one_channel():
    x = torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(0))
    encoder, decoder = AudioEncoder(CONFIG, seed=1), AudioDecoder(CONFIG, seed=2)
    codes = encoder(x)
    assert torch.equal(codes, ImageEncoder(CONFIG.image, seed=1)(x[:, None]))
    assert torch.equal(decoder(codes), ImageDecoder(CONFIG.image, seed=2)(codes)[:, 0])
    assert decoder(codes).shape == x.shape


def test_a_spectrogram_of_a_waveform_fits_its_encoder():
    mel = MelConfig(sample_rate=8000, window=128, hop=64, n_mels=8)
    waves = torch.sin(torch.arange(64 * 15 + 10) / 3).repeat(2, 1) * 0.5
    assert AudioEncoder(CONFIG)(log_mel(waves, mel)).shape == (2, 5)


@pytest.mark.parametrize("shape", [(2, 800), (2, 8, 15), (2, 1, 8, 16)])
def test_waveforms_and_other_sizes_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"spectrograms \(2, .*\) for an encoder of 8 mels × 16 frames; give"
    ):
        AudioEncoder(CONFIG)(torch.zeros(shape))
