"""One interface for all kinds and modalities: built, trained, saved and opened; what does not fit is refused."""

import json
import math

import pytest
import torch
from torch import nn

from tlcourse.models.autoencoder import (
    AudioConfig,
    Autoencoder,
    DenoisingAutoencoder,
    ImageConfig,
    ImageDecoder,
    ImageEncoder,
    MaskedAutoencoder,
    TextConfig,
    TokenNoise,
    VariationalAutoencoder,
    VectorConfig,
    VectorDecoder,
    VectorEncoder,
    VideoConfig,
    mean_where,
    squared_errors,
    token_errors,
)
from tlcourse.weights import WeightsError

CONFIGS = {
    "vector": VectorConfig(6, 3, (5,)),
    "image": ImageConfig(8, 8, 2, 12, widths=(8,)),
    "text": TextConfig(vocab_size=12, d_model=16, n_layers=1, n_heads=2, d_inner=32, n_positions=6, n_latent=16,
                       init_sd=0.1, dropout=0.0, attention_dropout=0.0),
    "audio": AudioConfig(8, 8, 12, widths=(8,)),
    "video": VideoConfig(2, 4, 4, 1, 12, d_frame=12, d_state=24, widths=(8,)),
}  # fmt: skip
KINDS = (Autoencoder, DenoisingAutoencoder, VariationalAutoencoder, MaskedAutoencoder)


def inputs(name):
    generator = torch.Generator().manual_seed(0)
    shapes = {"vector": (6, 6), "image": (6, 2, 8, 8), "audio": (6, 8, 8), "video": (6, 2, 1, 4, 4)}
    if name == "text":
        return torch.randint(0, 12, (6, 5), generator=generator)
    return torch.randn(shapes[name], generator=generator)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_opened_by_its_class_with_its_settings(tmp_path, kind, name):
    model = kind.from_config(CONFIGS[name], seed=1).eval()
    if kind is MaskedAutoencoder:
        model.fill = 3
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert type(again) is kind and not again.training and again.n_latent == CONFIGS[name].n_latent
    assert again.decoder.config == CONFIGS[name]
    assert all(torch.equal(again.state_dict()[n], t) for n, t in model.state_dict().items())
    assert getattr(again, "fill", 3) == 3
    assert torch.equal(again(inputs(name)), model(inputs(name)))
    model.save_pretrained(tmp_path, dtype=torch.float16)
    halved = kind.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(halved[n], t.half().float()) for n, t in model.state_dict().items())


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient_and_reconstructions_have_the_inputs_shape(kind, name):
    model, x = kind.from_config(CONFIGS[name]), inputs(name)
    if kind is DenoisingAutoencoder and name == "text":
        model.corruption = TokenNoise(0.3, mask_id=0)
    assert model.encode(x).shape == (6, CONFIGS[name].n_latent)
    out = model(x)
    shape = {"text": (6, 6, 12), "video": (6, 3, 1, 4, 4)}.get(
        name, x.shape
    )  # all positions; the next frame too
    assert out.shape == shape
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    # A key's bias moves no softmax, and ReLUs may be shut for all six rows: but no tensor is left out of the graph.
    assert all(p.grad is not None for p in model.parameters())
    assert sum(bool(p.grad.any()) for p in model.parameters()) > 0.8 * len(list(model.parameters()))


@pytest.mark.parametrize("name", CONFIGS)
def test_in_each_modality_a_few_inputs_are_learnt_by_heart(name):
    """What the mean of the inputs, or of words a guess, leaves unexplained, falls to a fifth."""
    model, x = Autoencoder.from_config(CONFIGS[name]), inputs(name)
    target = torch.cat([x, x[:, :1]], 1) if name == "video" else x  # the first frame comes again

    def loss():
        if name == "text":
            return token_errors(model(x), x).mean()
        return squared_errors(model(x), target).mean()

    before = math.log(12) if name == "text" else float((target - target.mean(0)).square().mean())
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
    # Three numbers stand for six in the vectors, five directions for six rows.
    assert float(value.detach()) < before * (0.5 if name == "vector" else 0.2)


def test_padded_sentences_are_scored_on_their_words():
    model = Autoencoder.from_config(CONFIGS["text"]).eval()
    ids, mask = inputs("text"), torch.tensor([[1, 1, 1, 0, 0]] * 6)
    score = mean_where(token_errors(model(ids, mask), ids), mask.bool())
    changed = ids.masked_fill(mask == 0, 7)
    assert torch.allclose(score, mean_where(token_errors(model(changed, mask), changed), mask.bool()))


def test_encoder_and_decoder_draw_different_numbers_from_one_seed():
    state = torch.get_rng_state()
    first, same, other = (Autoencoder.from_config(VectorConfig(3, 3), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.encoder.layers[0].weight, same.encoder.layers[0].weight)
    assert not torch.equal(first.encoder.layers[0].weight, other.encoder.layers[0].weight)
    assert not torch.equal(first.encoder.layers[0].weight, first.decoder.layers[0].weight)


@pytest.mark.parametrize(
    ("kind", "n", "message"),
    [
        (Autoencoder, 5, r"codes of 5 numbers, the decoder reads 4; build both from one configuration: "
                         r"Autoencoder.from_config\(config\)"),
        (VariationalAutoencoder, 4, r"codes of 4 numbers, the decoder reads 4; Variational\w+ wants 2 for each"),
    ],
)  # fmt: skip
def test_an_encoder_and_a_decoder_that_do_not_fit_are_refused(kind, n, message):
    encoder, decoder = (
        ImageEncoder(ImageConfig(4, 4, 1, n, (2,))),
        ImageDecoder(ImageConfig(4, 4, 1, 4, (2,))),
    )
    with pytest.raises(ValueError, match=message):
        kind(encoder, decoder)


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (VectorEncoder(VectorConfig(4, 3)), VectorDecoder(VectorConfig(7, 3)),
         r"reads vector of \(4,\), the decoder makes vector of \(7,\); build both"),
        (VectorEncoder(VectorConfig(4, 3)), ImageDecoder(ImageConfig(8, 8, 1, 3, (2,))),
         r"reads vector of \(4,\), the decoder makes image of \(1, 8, 8\)"),
        (ImageEncoder(ImageConfig(8, 4, 1, 3, (2,))), ImageDecoder(ImageConfig(4, 8, 1, 3, (2,))),
         r"reads image of \(1, 8, 4\), the decoder makes image of \(1, 4, 8\)"),
        (nn.Linear(4, 3), nn.Linear(3, 4), "the encoder, a Linear, has no n_latent; set it"),
    ],
)  # fmt: skip
def test_parts_that_read_one_thing_and_make_another_are_refused(encoder, decoder, message):
    with pytest.raises(ValueError, match=message):
        Autoencoder(encoder, decoder)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_item_has_the_shape_of_an_input(name):
    x, item = inputs(name), CONFIGS[name].item
    assert item == (6, 12) if name == "text" else item == tuple(x.shape[1:])
    assert Autoencoder.from_config(CONFIGS[name]).config is not None


def test_codes_of_another_width_are_refused():
    model = Autoencoder.from_config(VectorConfig(6, 3))
    for shape in ((2, 6), (3,)):
        with pytest.raises(ValueError, match=r"codes have shape .* give \(B, n_latent=3\)"):
            model.decode(torch.zeros(shape))


def test_a_configuration_of_no_modality_is_refused():
    with pytest.raises(
        ValueError, match=r"dict is the configuration of no modality; known are VectorConfig, Image"
    ):
        Autoencoder.from_config({"n_latent": 3})


def test_parts_of_ones_own_work_but_are_not_saved(tmp_path):
    encoder, decoder = nn.Linear(4, 2), nn.Linear(2, 4)
    encoder.n_latent = decoder.n_latent = 2
    model = Autoencoder(encoder, decoder)
    x = torch.randn(3, 4)
    assert torch.equal(model(x), decoder(encoder(x)))
    with pytest.raises(
        ValueError, match=r"Linear and Linear are not of one modality .* by tlcourse.weights.save"
    ):
        model.save_pretrained(tmp_path)
    sizes = ({"widths": (2,)}, {"widths": (4,)})
    mixed = Autoencoder(
        ImageEncoder(ImageConfig(4, 4, 1, 3, **sizes[0])), ImageDecoder(ImageConfig(4, 4, 1, 3, **sizes[1]))
    )
    with pytest.raises(
        ValueError, match="ImageEncoder and ImageDecoder are not of one modality and one config"
    ):
        mixed.save_pretrained(tmp_path)


def test_folders_that_do_not_hold_this_kind_are_refused(tmp_path):
    Autoencoder.from_config(VectorConfig(6, 3)).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"it holds a Autoencoder; open it by Autoencoder.from_pretrained"):
        VariationalAutoencoder.from_pretrained(tmp_path)
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text())
    for change, message in (
        ({"modality": "smell"}, "config.json does not describe an autoencoder: 'smell'"),
        ({"config": {"n_inputs": 6}}, "config.json does not describe an autoencoder: .*n_latent"),
        ({"config": {"n_inputs": 6, "n_latent": 0}}, r"n_latent=0 must be"),
        ({"config": {"n_inputs": 7, "n_latent": 3}}, r"misshapen \(3\): decoder.layers.0.bias"),
        ({"model_type": "bert"}, "holds a model of model_type 'bert'; 'autoencoder' is wanted here"),
    ):
        path.write_text(json.dumps(settings | change))
        with pytest.raises(WeightsError, match=message):
            Autoencoder.from_pretrained(tmp_path)
