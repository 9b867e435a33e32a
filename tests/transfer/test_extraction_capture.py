"""FeatureExtractor against hooks set by hand, and everything about the model that must not move."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from tlcourse.transfer.extraction import (
    FeatureExtractor,
    content,
    first_token,
    mean_pixels,
    mean_tokens,
    part,
    unchanged,
)
from tlcourse.transfer.extraction.guard import checksum


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny_bert():
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
    )


def tokens():
    ids = torch.randint(1, 30, (3, 7), generator=seeded(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def tiny_cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


def images(n=3):
    return torch.randn(n, 3, 6, 6, generator=seeded(2))


def by_hand(model, names, call):
    """Copies of what the named modules return, by hooks of our own."""
    found = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda m, i, output, name=name: found.__setitem__(name, output.clone())
        )
        for name in names
    ]
    with torch.no_grad():
        call(model)
    for handle in handles:
        handle.remove()
    return found


def test_layers_of_bert_match_its_own_hidden_states():
    model = tiny_bert().eval()
    expected = model(**tokens(), output_hidden_states=True).hidden_states
    features = FeatureExtractor(model, ["embeddings", "encoder.layer.0", "encoder.layer.1"])(tokens())
    assert list(features) == ["embeddings", "encoder.layer.0", "encoder.layer.1"]
    for ours, theirs in zip(features.values(), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_a_layer_before_one_that_works_in_place_is_kept_as_it_was():
    model = tiny_cnn().eval()
    features = FeatureExtractor(model, ["0", "1", "2"])(images())
    expected = by_hand(model, ["0", "1", "2"], lambda m: m(images()))
    assert all(torch.equal(features[name], expected[name]) for name in expected)
    assert features["1"].min() < 0 == features["2"].min()


def test_the_empty_name_is_the_models_own_output_and_a_string_is_one_layer():
    model = tiny_cnn().eval()
    assert torch.equal(FeatureExtractor(model, "")(images())[""], model(images()))
    assert list(FeatureExtractor(model, "5")(images())) == ["5"]


def test_parameters_buffers_modes_hooks_flags_gradients_and_outputs_stay():
    model = tiny_cnn().train()
    model[1].eval()
    model[0].requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    own = []
    model[2].register_forward_hook(lambda m, i, o: own.append(len(own)))
    before = content(model)
    modes = [m.training for m in model.modules()]
    hooks = [dict(m._forward_hooks) for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()
    FeatureExtractor(model, ["0", "2"])(images())
    assert content(model) == before
    assert [m.training for m in model.modules()] == modes
    assert [dict(m._forward_hooks) for m in model.modules()] == hooks
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(model[5].weight.grad, torch.ones_like(model[5].weight))
    assert torch.equal(torch.get_rng_state(), random)
    assert len(own) == 1  # the caller's hook ran, and ran once
    model.eval()
    output = model(images())
    FeatureExtractor(model, ["0", "2"])(images())
    assert torch.equal(model(images()), output)


def test_hooks_and_modes_are_restored_when_the_forward_pass_fails():
    model = tiny_cnn().train()
    with pytest.raises(RuntimeError, match="expected input"):
        FeatureExtractor(model, ["0", "2"])(torch.zeros(2, 7, 6, 6))
    assert not any(m._forward_hooks for m in model.modules())
    assert all(m.training for m in model.modules())


def test_features_can_be_trained_on_and_share_no_memory_with_the_model():
    model = tiny_cnn()
    features = FeatureExtractor(model, "0")(images())["0"]
    head = nn.Linear(4, 2)
    head(features.mean((2, 3))).sum().backward()
    assert head.weight.grad is not None
    assert not features.requires_grad
    kept = FeatureExtractor(model, {"0": lambda output, batch: model[0].weight})(images())["0"]
    kept.zero_()
    assert model[0].weight.abs().sum() > 0


def test_pooling_over_tokens_matches_a_loop_over_rows_without_their_padding():
    model = tiny_bert().eval()
    batch = tokens()
    states = model(**batch).last_hidden_state
    lengths = batch["attention_mask"].sum(1)
    expected = torch.stack([row[:n].mean(0) for row, n in zip(states, lengths, strict=True)])
    found = FeatureExtractor(model, {"encoder.layer.1": mean_tokens})(batch)["encoder.layer.1"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)  # sums in another order
    first = FeatureExtractor(model, {"": part("last_hidden_state", first_token)})(batch)[""]
    assert torch.equal(first, states[:, 0])
    assert torch.equal(
        FeatureExtractor(model, {"": part("pooler_output")})(batch)[""], model(**batch).pooler_output
    )


def test_nan_in_padding_does_not_reach_the_mean_and_without_a_mask_all_tokens_count():
    x = torch.randn(2, 4, 3, generator=seeded(3))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    clean = mean_tokens(x, {"attention_mask": mask})
    x[1, 2:] = torch.nan
    assert torch.equal(mean_tokens(x, {"attention_mask": mask}), clean)
    assert torch.equal(mean_tokens(x[:1], x[:1]), x[:1].mean(1))


def test_mean_over_pixels_matches_adaptive_pooling():
    model = tiny_cnn().eval()
    found = FeatureExtractor(model, {"2": mean_pixels})(images())["2"]
    expected = nn.functional.adaptive_avg_pool2d(model[:3](images()), 1).flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


class Twice(nn.Module):
    """One layer used two times, as ALBERT does; a list that is not run itself; a layer never run."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.blocks = nn.ModuleList([nn.Linear(3, 3)])
        self.idle = nn.Linear(3, 3)

    def forward(self, x):
        return self.blocks[0](self.layer(self.layer(x)))


def test_each_run_of_a_layer_can_be_named():
    model = Twice().eval()
    x = torch.randn(2, 3, generator=seeded())
    features = FeatureExtractor(model, ["layer#0", "layer#1"])(x)
    assert torch.equal(features["layer#0"], model.layer(x))
    assert torch.equal(features["layer#1"], model.layer(model.layer(x)))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("layer", r"'layer' ran 2 times in one forward pass; name one run, 'layer#0' to 'layer#1'"),
        ("layer#2", r"'layer#2' ran 2 times in one forward pass; its last run is #1"),
        (
            "blocks",
            r"'blocks' \(ModuleList\) did not run in the forward pass; name one inside it, as 'blocks\.0'",
        ),
        ("idle", r"'idle' \(Linear\) did not run in the forward pass; name one that forward calls"),
    ],
)
def test_a_layer_that_does_not_run_once_names_the_way_out(layer, text):
    model = Twice()
    with pytest.raises(ValueError, match=text):
        FeatureExtractor(model, layer)(torch.ones(2, 3))
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("layer", ["encoder.layers.1", "encoder.layer.1#a"])
def test_an_unknown_layer_lists_the_nearest(layer):
    with pytest.raises(ValueError, match=rf"no layer '{layer}' among \d+; nearest: 'encoder\.layer\.1', "):
        FeatureExtractor(tiny_bert(), ["embeddings", layer])


def test_settings_that_name_no_layer_are_refused():
    with pytest.raises(ValueError, match="no layers; name at least one"):
        FeatureExtractor(tiny_cnn(), [])
    with pytest.raises(TypeError, match="layer 3 is a int; give its dotted name"):
        FeatureExtractor(tiny_cnn(), [3])
    with pytest.raises(
        ValueError, match="no layer 'a' among 0; nearest: this model has no layers but itself, ''"
    ):
        FeatureExtractor(nn.Linear(2, 2), "a")


def test_a_layer_that_returns_a_tuple_or_an_output_says_how_to_choose():
    name = r"encoder\.layer\.0\.attention\.self"
    attention = "encoder.layer.0.attention.self"
    with pytest.raises(
        ValueError, match=rf"'{name}' gives a tuple, not a tensor; .* layers={{'{name}': part\(0\)}}"
    ):
        FeatureExtractor(tiny_bert(), attention)(tokens())
    assert FeatureExtractor(tiny_bert(), {attention: part(0)})(tokens())[attention].shape == (3, 7, 16)
    with pytest.raises(ValueError, match=r"gives a BaseModelOutput.*part\('last_hidden_state'\)"):
        FeatureExtractor(tiny_bert(), "encoder")(tokens())
    with pytest.raises(ValueError, match=r"layer '0' gives a int, not a tensor"):
        FeatureExtractor(tiny_cnn(), {"0": lambda output, batch: 3})(images())
    with pytest.raises(ValueError, match=rf"'{name}': part\(5\) is not in its output, a tuple of 2"):
        FeatureExtractor(tiny_bert(), {attention: part(5)})(tokens())
    with pytest.raises(
        ValueError, match=r"part\('logits'\) is not in its output, a .* with \['last_hidden_state'"
    ):
        FeatureExtractor(tiny_bert(), {"": part("logits")})(tokens())
    with pytest.raises(ValueError, match=r"part\('a'\) is not in its output, a int of 1"):
        part("a")(3, None)


@pytest.mark.parametrize(
    ("model", "batch", "layers", "text"),
    [
        (
            tiny_bert,
            tokens,
            {"encoder": mean_tokens},
            r"layer 'encoder': its output is a BaseModelOutput.*, not \(B, T",
        ),
        (tiny_cnn, images, {"0": mean_tokens}, r"layer '0': its output is \(3, 4, 4, 4\), not \(B, T, D\)"),
        (tiny_cnn, images, {"4": first_token}, r"layer '4': its output is \(3, 64\), not \(B, T, D\)"),
        (tiny_cnn, images, {"4": mean_pixels}, r"layer '4': its output is \(3, 64\), not \(B, C, H, W\)"),
        (tiny_cnn, images, {"4": lambda o, b: o.sum()}, r"layer '4' gives features of shape \(\)"),
        (tiny_cnn, images, {"4": lambda o, b: o[:, :0]}, r"layer '4' gives features of shape \(3, 0\)"),
    ],
)
def test_outputs_that_cannot_be_pooled_name_layer_and_shape(model, batch, layers, text):
    with pytest.raises(ValueError, match=text):
        FeatureExtractor(model(), layers)(batch())


def test_masks_that_do_not_fit_are_refused():
    x = torch.ones(2, 3, 4)
    with pytest.raises(ValueError, match=r"attention_mask \(2, 2\) for an output \(2, 3, 4\)"):
        mean_tokens(x, {"attention_mask": torch.ones(2, 2)})
    with pytest.raises(ValueError, match="row 1 of attention_mask is padding alone"):
        mean_tokens(x, {"attention_mask": torch.tensor([[1, 0, 0], [0, 0, 0]])})


def test_a_batch_of_several_parts_needs_a_forward():
    batch = [images(), torch.zeros(3)]
    with pytest.raises(ValueError, match=r"a batch is a list of 2; say what of it the model gets"):
        FeatureExtractor(tiny_cnn(), "0")(batch)
    model = tiny_cnn().eval()
    found = FeatureExtractor(model, "", forward=lambda m, b: m(b[0]))(batch)
    assert torch.equal(found[""], model(images()))


class Restless(nn.Module):
    """Counts its calls, in place and by assignment, in evaluation mode too; learns in secret where asked."""

    def __init__(self, *, learns=False):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.learns = learns
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.register_buffer("last", torch.zeros(3))
        self.register_buffer("nothing", None)

    def forward(self, x):
        self.calls += 1
        self.last = x[0].clone()
        if self.learns:
            self.layer.weight.data.add_(1)
        return self.layer(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.int8, torch.complex64])
def test_a_checksum_tells_of_every_value_that_moved(dtype):
    values = (torch.arange(50_000) % 100).to(dtype)
    before = checksum(values)
    assert checksum(values.clone()) == before
    assert checksum(values.reshape(500, 100)) != before  # another shape
    assert checksum(values.reshape(100, 500).t()) == checksum(values.reshape(100, 500).t().contiguous())
    for at in (0, 1023, 1024, 4096, 49_151, 49_152, 49_999):  # ends of rows, and what no row holds
        moved = values.clone()
        moved[at] += 1
        assert checksum(moved) != before
    exchanged = values.clone()
    exchanged[[7, 8]] = exchanged[[8, 7]]  # the sum of the row stays
    assert checksum(exchanged) != before
    if dtype.is_floating_point or dtype.is_complex:
        for flipped in ([0, 1], [*range(50_000)]):  # an even number of bits, each the highest of its value
            turned = values.clone()
            turned[flipped] = -turned[flipped]
            assert checksum(turned) != before
    assert checksum(values[1:44_000]) == checksum(
        values[1:44_000].clone()
    )  # begins between two words of 32 bits


def test_a_checksum_tells_types_apart_and_takes_what_is_empty():
    zeros = torch.zeros(4096)
    assert checksum(zeros) != checksum(zeros.int())
    assert checksum(zeros[:0]) == checksum(torch.zeros(0)) != checksum(torch.zeros(()))


def test_a_model_that_moves_its_buffers_is_named_and_put_back():
    model = Restless()
    last = model.last
    text = "of Restless changed calls, last in evaluation mode"
    with pytest.raises(RuntimeError, match=text), unchanged(model):
        model(torch.ones(2, 3))
    assert model.calls == 0
    assert model.last is last
    assert torch.equal(last, torch.zeros(3))
    assert model.training
    learner = Restless(learns=True)
    with pytest.raises(RuntimeError, match=r"changed layer\.weight, calls, last in"), unchanged(learner):
        learner(torch.ones(2, 3))


def test_a_model_that_turns_its_weights_round_is_named():
    """Signs alone, in a matrix so large that a sum over rows might not tell."""

    class Turning(nn.Linear):
        def forward(self, x):
            self.weight.neg_()
            return super().forward(x)

    model = Turning(64, 64)
    with pytest.raises(RuntimeError, match="of Turning changed weight in"), unchanged(model), torch.no_grad():
        model(torch.ones(2, 64))


def test_buffers_are_put_back_when_the_body_fails():
    model = Restless()
    with pytest.raises(KeyError, match="body"), unchanged(model):
        model(torch.ones(2, 3))
        raise KeyError("body")
    assert model.calls == 0
    assert model.training


def test_content_sees_values_types_shapes_and_unsaved_buffers_but_not_strides():
    conv = nn.Conv2d(3, 4, 3)
    before = content(conv)
    conv.to(memory_format=torch.channels_last)
    assert content(conv) == before
    assert list(content(Restless())) == ["layer.weight", "layer.bias", "calls", "last"]
    half = nn.Linear(3, 2)
    assert content(half)["bias"] != content(half.half())["bias"]
