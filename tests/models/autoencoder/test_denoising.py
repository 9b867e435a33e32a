"""What noise does, by its statistics; and that it acts in training only."""

import pytest
import torch

from tlcourse.models.autoencoder import (
    DenoisingAutoencoder,
    GaussianNoise,
    MaskingNoise,
    TextConfig,
    TokenNoise,
    VectorConfig,
)

CONFIG = VectorConfig(6, 2)
N = 40_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gaussian_noise_has_its_standard_deviation_and_no_mean():
    x = torch.full((4, N // 4), 3.0)
    noise = GaussianNoise(0.5)(x, generator()) - x
    # six standard errors of a mean and of a standard deviation
    assert abs(float(noise.mean())) < 6 * 0.5 / N**0.5
    assert abs(float(noise.std()) - 0.5) < 6 * 0.5 / (2 * N) ** 0.5
    assert torch.equal(GaussianNoise(0.5)(x, generator()), x + noise) or torch.allclose(
        GaussianNoise(0.5)(x, generator()), x + noise
    )
    assert GaussianNoise(0.5)(x.double(), generator()).dtype == torch.float64
    assert bool((x == 3).all())


def test_masking_noise_sets_its_share_to_zero_and_leaves_the_rest():
    x = torch.full((4, N // 4), 3.0)
    y = MaskingNoise(0.3)(x, generator())
    assert set(y.unique().tolist()) == {0.0, 3.0}
    assert abs(float((y == 0).float().mean()) - 0.3) < 6 * (0.3 * 0.7 / N) ** 0.5
    assert torch.equal(y, MaskingNoise(0.3)(x, generator())) and bool((x == 3).all())
    assert not torch.equal(y, MaskingNoise(0.3)(x, generator(1)))


def test_token_noise_never_touches_special_tokens():
    ids = torch.tensor([0, 1, 2, 7]).repeat(N // 4, 1)
    y = TokenNoise(0.4, mask_id=9, special_ids=(0, 1))(ids, generator())
    assert torch.equal(y[:, :2], ids[:, :2])
    assert set(y[:, 3].unique().tolist()) == {7, 9}
    assert abs(float((y[:, 2:] == 9).float().mean()) - 0.4) < 6 * (0.24 / (N / 2)) ** 0.5


def test_without_a_generator_torchs_own_is_used():
    x = torch.ones(5, 6)
    for noise in (GaussianNoise(1.0), MaskingNoise(0.5)):
        torch.manual_seed(1)
        first = noise(x)
        torch.manual_seed(1)
        assert torch.equal(first, noise(x)) and not torch.equal(first, noise(x))


def test_inputs_are_damaged_in_training_only_and_codes_never_are():
    model = DenoisingAutoencoder.from_config(CONFIG)
    model.corruption = MaskingNoise(0.5)
    x = torch.randn(8, 6, generator=generator())
    damaged = MaskingNoise(0.5)(x, generator(3))
    codes = model.encode(x)
    assert torch.equal(model(x, generator=generator(3)), model.decode(model.encode(damaged)))
    model.eval()
    assert torch.equal(model(x), model.decode(codes)) and torch.equal(model.encode(x), codes)
    assert DenoisingAutoencoder.from_config(CONFIG).corruption == GaussianNoise(0.3)


def test_sentences_are_damaged_and_their_padding_is_not_read():
    sizes = {"vocab_size": 20, "d_model": 8, "n_layers": 1, "n_heads": 2, "d_inner": 8, "n_positions": 6}
    model = DenoisingAutoencoder.from_config(
        TextConfig(**sizes, n_latent=4, dropout=0.0, attention_dropout=0.0)
    )
    model.corruption = TokenNoise(0.5, mask_id=1, special_ids=(0,))
    ids, mask = torch.tensor([[5, 6, 7, 0], [8, 9, 3, 4]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    damaged = model.corruption(ids, generator())
    assert torch.equal(model(ids, mask, generator=generator()), model.decode(model.encode(damaged, mask)))


def test_ids_take_no_gaussian_noise():
    with pytest.raises(
        ValueError, match=r"inputs are torch.int64, to which no noise is added; for ids take TokenN"
    ):
        GaussianNoise(0.3)(torch.ones(2, 3).long())


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (lambda: GaussianNoise(0.0), r"sd=0.0 must be a positive number"),
        (lambda: GaussianNoise(float("inf")), r"sd=inf must be"),
        (lambda: MaskingNoise(0.0), r"share=0.0 must lie between 0 and 1; 0 damages nothing"),
        (lambda: MaskingNoise(1.0), r"share=1.0 must lie"),
        (lambda: TokenNoise(1.0, 3), r"share=1.0 must lie"),
    ],
)
def test_noise_that_cannot_be_is_refused(noise, message):
    with pytest.raises(ValueError, match=message):
        noise()
