"""Video parts against a loop over frames and the recurrence written out."""

import pytest
import torch

from tlcourse.models.autoencoder import VideoConfig, VideoDecoder, VideoEncoder, split_next

CONFIG = VideoConfig(3, 8, 4, 2, n_latent=5, d_frame=6, d_state=7, widths=(3, 4))


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gru(layer, inputs):
    """States of a GRU (Cho et al. 2014) after each input (B, D), in PyTorch's order of gates."""
    w, u, b, c = (getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state, states = inputs[0].new_zeros(len(inputs[0]), layer.hidden_size), []
    for x in inputs:
        (rx, zx, nx), (rh, zh, nh) = (x @ w.T + b).chunk(3, 1), (state @ u.T + c).chunk(3, 1)
        reset, update = (rx + rh).sigmoid(), (zx + zh).sigmoid()
        state = (1 - update) * (nx + reset * nh).tanh() + update * state
        states.append(state)
    return states


def test_the_code_is_read_from_the_state_after_the_last_frame():
    encoder, frames = VideoEncoder(CONFIG).double(), numbers(2, 3, 2, 8, 4)
    states = gru(encoder.time, [encoder.frame(frames[:, t]) for t in range(3)])
    assert torch.allclose(encoder(frames), encoder.to_code(states[-1]), atol=1e-12)


def test_the_decoder_makes_the_frames_read_and_the_next():
    decoder, codes = VideoDecoder(CONFIG).double(), numbers(2, 5)
    states = gru(decoder.time, [codes] * 4)
    expected = torch.stack([decoder.frame(decoder.to_frame(state)) for state in states], 1)
    assert decoder(codes).shape == (2, 4, 2, 8, 4)
    assert torch.allclose(decoder(codes), expected, atol=1e-12)


def test_recurrent_layers_start_uniformly_from_the_seed_alone():
    state = torch.get_rng_state()
    first, same, other = (VideoEncoder(CONFIG, seed=seed) for seed in (1, 1, 2))
    VideoDecoder(CONFIG)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.time.weight_hh_l0, other.time.weight_hh_l0)
    for parameter in first.time.parameters():
        assert 0.5 * 7**-0.5 < float(parameter.abs().max()) <= 7**-0.5


def test_the_encoder_is_not_shown_the_frame_to_predict():
    video = numbers(2, 4, 2, 8, 4)
    frames, target = split_next(video)
    assert torch.equal(frames, video[:, :3]) and torch.equal(target, video)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 2, 8, 4), r"a video of 1 frames has no next one; give two at least"),
        ((2, 3, 8, 4), r"video has shape \(2, 3, 8, 4\); give \(B, T, C, H, W\)"),
    ],
)
def test_videos_without_a_next_frame_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        split_next(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 4, 2, 8, 4), (2, 1, 2, 8, 4), (3, 2, 8, 4)])
def test_videos_of_another_length_are_refused(shape):
    with pytest.raises(ValueError, match=r"for an encoder of 3 frames; give .*without the frame to predict"):
        VideoEncoder(CONFIG)(torch.zeros(shape))
