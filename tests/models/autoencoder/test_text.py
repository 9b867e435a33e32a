"""Text parts: the encoder against our BERT, whose layers are checked against transformers; what the decoder sees."""

import dataclasses

import pytest
import torch

from tlcourse.models.autoencoder import TextConfig, TextDecoder, TextEncoder
from tlcourse.models.bert import Bert, BertConfig

CONFIG = TextConfig(
    vocab_size=30, d_model=16, n_layers=2, n_heads=2, d_inner=24, n_positions=9, n_latent=5, init_sd=0.3
)
IDS = torch.randint(1, 30, (3, 7), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(7) < torch.tensor([[7], [3], [1]])).long()


@pytest.mark.parametrize("mask", [MASK, None])
def test_the_code_is_the_mean_of_berts_states_over_the_words_through_a_linear_layer(mask):
    encoder = TextEncoder(CONFIG).double().eval()
    sizes = {f.name: getattr(CONFIG, f.name) for f in dataclasses.fields(BertConfig)}
    bert = Bert(BertConfig(**sizes)).double().eval()
    bert.load_state_dict({n: t for n, t in encoder.state_dict().items() if not n.startswith("to_code")})
    states = bert(IDS, mask)
    lengths = MASK.sum(1).tolist() if mask is not None else [7] * 3
    means = torch.stack([row[:n].mean(0) for row, n in zip(states, lengths, strict=True)])
    assert torch.allclose(encoder(IDS, mask), encoder.to_code(means), atol=1e-12)


def test_padding_does_not_move_the_code():
    encoder = TextEncoder(CONFIG).double().eval()
    together = encoder(IDS, MASK)
    for row, n in enumerate(MASK.sum(1).tolist()):
        assert torch.allclose(together[row : row + 1], encoder(IDS[row : row + 1, :n]), atol=1e-12)


def test_the_decoder_scores_every_word_at_every_position_from_the_code_and_the_place():
    decoder = TextDecoder(CONFIG).double().eval()
    codes = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    logits = decoder(codes)
    assert logits.shape == (4, 9, 30)
    assert torch.allclose(logits[2:3], decoder(codes[2:3]), atol=1e-12)
    # Positions differ by their embeddings alone, and all of them see the code.
    with torch.no_grad():
        decoder.positions.weight.copy_(decoder.positions.weight[:1].expand(9, -1).clone())
    assert torch.allclose(decoder(codes), decoder(codes)[:, :1].expand(-1, 9, -1), atol=1e-12)
    assert not torch.allclose(decoder(codes)[0], decoder(codes)[1], atol=1e-3)


def test_random_starts_depend_on_the_seed_alone():
    state = torch.get_rng_state()
    for part in (TextEncoder, TextDecoder):
        first, same, other = (part(CONFIG, seed=seed) for seed in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
        assert abs(first.layers[0].feed_forward.up.weight.std().item() - 0.3) < 0.05
    assert torch.equal(state, torch.get_rng_state())


def test_ids_that_do_not_fit_are_refused():
    encoder = TextEncoder(CONFIG)
    with pytest.raises(ValueError, match=r"input_ids holds 30, outside 0…29 \(vocab_size=30\)"):
        encoder(torch.full((2, 3), 30))
    with pytest.raises(ValueError, match="10 positions, but the model has 9; cut the texts"):
        encoder(torch.ones(2, 10).long())
