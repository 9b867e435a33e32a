"""The shared layers against slow loops, PyTorch's own modules and timm."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.activations import ACT2FN

from tlcourse import layers
from tlcourse.layers import (
    ACTIVATIONS,
    FeedForward,
    MultiHeadAttention,
    PatchEmbedding,
    activation,
    as_generator,
    attention,
    causal_mask,
    fused_attention,
    layer_norm,
    merge_heads,
    padding_mask,
    patches,
    split_heads,
    start_normal,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_attention(q, k, v, mask):
    """One query at a time, in plain numbers: the oracle."""
    out, weights = torch.zeros(len(q), v.shape[1]).double(), torch.zeros(len(q), len(k)).double()
    for t in range(len(q)):
        seen = [s for s in range(len(k)) if mask is None or mask[t, s]]
        e = {s: math.exp(float(q[t] @ k[s]) / math.sqrt(q.shape[1])) for s in seen}
        for s in seen:
            weights[t, s] = e[s] / sum(e.values())
            out[t] += weights[t, s] * v[s]
    return out, weights


sizes = st.integers(1, 5)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, sizes, sizes, st.one_of(st.none(), st.integers(0, 2**25 - 1)))
def test_attention_equals_a_loop_over_queries_and_its_fused_form(n_queries, n_keys, width, v_width, bits):
    """Any mask at all, rows that may look nowhere included: both forms answer zero there."""
    q, k, v = normal(n_queries, width), normal(n_keys, width, seed=1), normal(n_keys, v_width, seed=2)
    mask = None
    if bits is not None:
        flat = [bool(bits >> i & 1) for i in range(n_queries * n_keys)]
        mask = torch.tensor(flat).view(n_queries, n_keys)
    out, weights = attention(q, k, v, mask)
    expected, expected_weights = slow_attention(q, k, v, mask)
    # Float64: only the order of adding up differs.
    assert torch.allclose(out, expected, atol=1e-12) and torch.allclose(weights, expected_weights, atol=1e-12)
    assert torch.allclose(fused_attention(q, k, v, mask), out, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 1, 1, 7), (2, 3, 1, 7), (1, 1, 7, 7), (7, 7), (7,)])
def test_gradients_of_both_forms_are_equal_for_every_shape_of_mask(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[..., :1] &= torch.zeros_like(mask[..., :1])  # and a key that nobody sees
    grads = []
    for form in (lambda *a: attention(*a)[0], fused_attention):
        q, k, v = (normal(2, 3, 7, 4, seed=i).requires_grad_() for i in range(3))
        (form(q, k, v, mask) * normal(2, 3, 7, 4, seed=9)).sum().backward()
        grads.append((q.grad, k.grad, v.grad))
    for a, b in zip(*grads, strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a, b, atol=1e-12)


def test_both_forms_agree_in_float32_at_the_size_models_have():
    q, k, v = (normal(2, 12, 64, 64, seed=i).float() for i in range(3))
    mask = padding_mask(torch.arange(64).lt(torch.tensor([[64], [40]])).long(), torch.zeros(2, 64))
    out = attention(q, k, v, mask)[0]
    assert float((fused_attention(q, k, v, mask) - out).abs().max() / out.abs().max()) < 2e-6


def test_causal_attention_never_looks_ahead():
    q, k, v = (normal(1, 2, 6, 4, seed=i) for i in range(3))
    out, weights = attention(q, k, v, causal_mask(6))
    assert torch.allclose(fused_attention(q, k, v, causal=True), out, atol=1e-12)
    assert not weights.triu(1).any() and torch.allclose(weights.sum(-1), torch.ones(1, 2, 6).double())
    later = v.clone()
    later[..., 4:, :] = 9.0
    assert torch.equal(attention(q, k, later, causal_mask(6))[0][..., :4, :], out[..., :4, :])


def test_causal_mask_places_queries_last():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True] * 4]
    assert torch.equal(causal_mask(5), torch.ones(5, 5).tril().bool())


def test_fused_attention_drops_weights_and_keeps_their_mean():
    q, k, v = torch.zeros(1, 1, 2000, 4), torch.zeros(1, 1, 50, 4), torch.ones(1, 1, 50, 1)
    torch.manual_seed(0)
    out = fused_attention(q, k, v, dropout=0.25)
    # 50 of weight 1/50, each kept with chance 3/4 and then divided by it: sd √(1/3 / 50) = .082; mean of 2000: .0018
    assert abs(float(out.mean()) - 1) < 0.01 and 0.07 < float(out.std()) < 0.095


def test_multi_head_attention_equals_pytorchs_with_the_same_weights():
    ours = MultiHeadAttention(12, 3).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([m.weight for m in (ours.query, ours.key, ours.value)]))
        theirs.in_proj_bias.copy_(torch.cat([m.bias for m in (ours.query, ours.key, ours.value)]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    x, hidden = normal(2, 5, 12), torch.tensor([[False] * 5, [False, False, True, True, True]])
    expected, weights = theirs(x, x, x, key_padding_mask=hidden, average_attn_weights=False)
    mask = padding_mask(~hidden, torch.zeros(2, 5))
    for need in (True, False):
        out, found = ours(x, mask, need_weights=need)
        assert torch.allclose(out, expected, atol=1e-12)
        assert torch.allclose(found, weights, atol=1e-12) if need else found is None


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_of_attention_is_for_training_only(need_weights):
    module, x = MultiHeadAttention(8, 2, dropout=0.5), normal(2, 5, 8).float()
    torch.manual_seed(0)
    first, second = (module(x, need_weights=need_weights)[0] for _ in range(2))
    assert not torch.equal(first, second)
    module.eval()
    assert torch.equal(module(x, need_weights=need_weights)[0], module(x, need_weights=need_weights)[0])


def test_attention_without_positions_does_not_see_order():
    module, x = MultiHeadAttention(8, 2).double(), normal(2, 5, 8)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(module(x[:, order])[0], module(x)[0][:, order], atol=1e-12)


def test_attention_may_go_without_biases():
    names = [n for n, _ in MultiHeadAttention(4, 2, bias=False).named_parameters()]
    assert names == ["query.weight", "key.weight", "value.weight", "output.weight"]


def test_heads_are_split_in_order_and_merged_again():
    x = torch.arange(24.0).view(1, 2, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (1, 3, 2, 4) and heads[0, 1, 0].tolist() == [4, 5, 6, 7]
    assert heads.data_ptr() == x.data_ptr() and torch.equal(merge_heads(heads), x)


def test_padding_mask_is_none_where_nothing_is_padded():
    ids = torch.zeros(2, 3)
    assert padding_mask(None, ids) is None
    assert padding_mask(torch.ones(2, 3), ids) is None
    found = padding_mask(torch.tensor([[1, 1, 1], [1, 0, 0]]), ids)
    assert found.shape == (2, 1, 1, 3) and found[:, 0, 0].tolist() == [[True] * 3, [True, False, False]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention(normal(2, 3), normal(2, 4), normal(2, 3)), r"q \(2, 3\), k \(2, 4\), v \(2, 3\): q and k"),
        (lambda: fused_attention(normal(2, 3), normal(4, 3), normal(5, 3)), "k and v one number of positions"),
        (lambda: attention(*[normal(2, 3)] * 3, torch.ones(2, 2)), "mask is torch.float32; give a boolean one"),
        (lambda: attention(*[normal(2, 3)] * 3, torch.ones(2, 3).bool()),
         r"mask \(2, 3\) does not broadcast to \(2, 2\), \(..., queries, keys\)"),
        (lambda: attention(*[normal(2, 3)] * 3, torch.ones(1, 2, 2).bool()), r"mask \(1, 2, 2\) does not broadcast"),
        (lambda: fused_attention(*[normal(2, 3)] * 3, torch.ones(2, 2).bool(), causal=True),
         r"causal=True goes without a mask.* not 2 and 2; combine the mask with causal_mask\(T, S\) by &"),
        (lambda: fused_attention(normal(1, 3), normal(2, 3), normal(2, 3), causal=True), "not 1 and 2"),
        (lambda: causal_mask(3, 2), "3 queries for 2 keys; queries are the last positions"),
        (lambda: causal_mask(0), "0 queries for 0 keys"),
        (lambda: MultiHeadAttention(10, 3), "n_heads=3 does not divide d_model=10; try n_heads=1 or 2 or 5"),
        (lambda: FeedForward(2, 2, "swish2"), "unknown activation 'swish2'; known are gelu, gelu_new,"),
        (lambda: patches(torch.zeros(1, 1, 8, 9), 4), r"patches of 4 × 4 do not tile images \(1, 1, 8, 9\)"),
        (lambda: patches(torch.zeros(1, 8, 8), 4), r"do not tile images \(1, 8, 8\), \(B, C, H, W\)"),
        (lambda: patches(torch.zeros(1, 1, 8, 8), 0), "patches of 0 × 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_equal_transformers_of_the_same_name(name):
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert torch.allclose(activation(name)(x), ACT2FN[name](x), atol=1e-12)


def test_feed_forward_is_two_linear_layers_at_each_position_by_itself():
    block, x = FeedForward(4, 7, "relu").double(), normal(2, 3, 4)
    expected = (x @ block.up.weight.T + block.up.bias).clamp(min=0) @ block.down.weight.T + block.down.bias
    assert torch.allclose(block(x), expected, atol=1e-12)
    assert torch.allclose(block(x[:, 1:2]), block(x)[:, 1:2], atol=1e-12)


@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_layer_norm_spelt_out_equals_pytorchs(eps):
    x, w, b = 3 * normal(2, 5, 8) + 1, normal(8, seed=1), normal(8, seed=2)
    assert torch.allclose(layer_norm(x, w, b, eps), F.layer_norm(x, (8,), w, b, eps), atol=1e-12)


def test_patches_are_squares_row_by_row_with_channels_first():
    images = normal(2, 3, 4, 6)
    found = patches(images, 2)
    assert found.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            square = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.equal(found[:, 3 * row + column], square.flatten(1))


def test_patch_embedding_equals_timms_with_the_same_weights():
    from timm.layers import PatchEmbed

    theirs, ours = PatchEmbed(8, 4, 3, 5).double(), PatchEmbedding(4, 5).double()
    with torch.no_grad():
        ours.project.weight.copy_(theirs.proj.weight.flatten(1))
        ours.project.bias.copy_(theirs.proj.bias)
    images = normal(2, 3, 8, 8)
    assert torch.allclose(ours(images), theirs(images), atol=1e-12)


def test_start_normal_fills_a_module_without_memory_and_one_that_has_it_alike():
    def build():
        return nn.ModuleList([nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 3), nn.LayerNorm(3),
                              nn.Linear(3, 2, bias=False), nn.LayerNorm(3, bias=False)])  # fmt: skip

    with torch.device("meta"):
        empty = build()
    full = build()
    for module in (empty, full):
        start_normal(module, 0.5, as_generator(1))
    assert all(torch.equal(a, b) for a, b in zip(empty.parameters(), full.parameters(), strict=True))
    assert not empty[0].weight[2].any() and 0.3 < float(empty[0].weight[3:].std()) < 0.7
    assert not empty[1].bias.any() and torch.equal(empty[2].weight, torch.ones(3))


def test_a_generator_is_passed_on_and_a_seed_makes_one():
    generator = torch.Generator()
    assert as_generator(generator) is generator and as_generator(5).initial_seed() == 5


def test_everything_listed_is_there():
    assert sorted(layers.__all__, key=str.lower) == sorted(set(layers.__all__), key=str.lower)
    assert all(hasattr(layers, name) for name in layers.__all__)
