"""LoRA against peft on the same factors, against dense matrices, and through merge and unmerge."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as PeftLinear
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from tlcourse.transfer.finetuning import (
    LoRA,
    add_lora,
    freeze,
    lora_state,
    merge_lora,
    replace_head,
    trainable_parameters,
    unmerge_lora,
)

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}  # the two sum the same products in another order


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny_bert(dtype=torch.float32):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    return BertModel(config).to(dtype).eval()


def tokens():
    ids = torch.randint(1, 30, (3, 7), generator=seeded(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def fill(model, seed=2, deviation=1.0):
    """Give every LoRA a B that is not zero."""
    for module in model.modules():
        if isinstance(module, LoRA):
            with torch.no_grad():
                module.lora_B.copy_(deviation * torch.randn(module.lora_B.shape, generator=seeded(seed)))
    return model


def peft_twin(model, ours, targets, rank, alpha):
    """peft's model around the same weights, with the factors of ours."""
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0)
    twin = inject_adapter_in_model(config, copy.deepcopy(model)).eval()
    for name, module in twin.named_modules():
        if isinstance(module, PeftLinear):
            adapter = ours.get_submodule(name)
            module.lora_A["default"].weight.data = adapter.lora_A.detach().clone()
            module.lora_B["default"].weight.data = adapter.lora_B.detach().clone()
    return twin


def error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_lora_in_bert_matches_peft_unmerged_and_merged(dtype):
    model = tiny_bert(dtype)
    ours = copy.deepcopy(model)
    add_lora(ours, ["query", "dense"], rank=3, alpha=7, generator=seeded())
    # In 60 draws the two differed by at most 3.5e-7; with a deviation of 1, in a quarter of them by more than 1e-6.
    fill(ours, deviation=0.3)
    twin = peft_twin(model, ours, ["query", "dense"], 3, 7)
    expected = twin(**tokens())
    assert error(ours(**tokens()).last_hidden_state, expected.last_hidden_state) <= TOLERANCE[dtype]
    assert error(expected.last_hidden_state, model(**tokens()).last_hidden_state) > 0.01
    for module in twin.modules():
        if isinstance(module, PeftLinear):
            module.merge()
    merge_lora(ours)
    merged = ours(**tokens())
    assert error(merged.last_hidden_state, twin(**tokens()).last_hidden_state) <= TOLERANCE[dtype]
    assert error(merged.pooler_output, expected.pooler_output) <= 10 * TOLERANCE[dtype]  # W + sBA is rounded


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (0, 6)])
def test_a_linear_with_lora_equals_the_dense_sum(dtype, bias, shape):
    linear = nn.Linear(6, 5, bias=bias, dtype=dtype)
    lora = LoRA(linear, rank=2, alpha=3, generator=seeded())
    fill(lora)
    x = torch.randn(shape, dtype=dtype, generator=seeded(3))
    expected = F.linear(x, linear.weight + 3 / 2 * lora.lora_B @ lora.lora_A, linear.bias)
    assert lora(x).shape == expected.shape
    torch.testing.assert_close(lora(x), expected, atol=TOLERANCE[dtype] * 10, rtol=0)


def test_gradients_of_the_factors_match_peft():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    ours = copy.deepcopy(model)
    add_lora(ours, ["0", "2"], rank=2, alpha=5, generator=seeded())
    fill(ours)
    twin = peft_twin(model, ours, ["0", "2"], 2, 5)
    x = torch.randn(3, 2, 6, dtype=torch.float64, generator=seeded(4))
    ours(x).square().sum().backward()
    twin(x).square().sum().backward()
    for i in ("0", "2"):
        a, b = ours.get_submodule(i), twin.get_submodule(i)
        torch.testing.assert_close(a.lora_A.grad, b.lora_A["default"].weight.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(a.lora_B.grad, b.lora_B["default"].weight.grad, rtol=1e-12, atol=1e-12)
        assert a.base.weight.grad is None


def test_the_start_leaves_outputs_unchanged_and_moves_b_first():
    model = tiny_bert()
    before = model(**tokens()).last_hidden_state
    add_lora(model, "query")
    output = model(**tokens()).last_hidden_state
    assert torch.equal(output, before)
    output.square().sum().backward()
    adapter = model.encoder.layer[0].attention.self.query
    assert adapter.lora_B.grad.abs().sum() > 0
    assert adapter.lora_A.grad.abs().sum() == 0


def test_a_generator_makes_the_start_repeatable_without_touching_the_global_one():
    linears = [nn.Linear(4, 4) for _ in range(3)]
    state = torch.get_rng_state()
    a, b, c = (LoRA(m, rank=2, generator=seeded(s)).lora_A for m, s in zip(linears, (5, 5, 6), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert 0 < a.abs().max() <= 1 / 2  # uniform within 1/√in, as nn.Linear's own start


def test_dropout_acts_on_the_update_alone_and_in_training_alone():
    linear = nn.Linear(40, 3)
    lora = fill(LoRA(linear, rank=2, dropout=0.5))
    x = torch.randn(2, 40, generator=seeded(7))
    expected = linear(x) + 8 * F.linear(F.linear(x, lora.lora_A), lora.lora_B)
    torch.testing.assert_close(lora.eval()(x), expected)
    torch.manual_seed(0)
    noisy = lora.train()(x)
    torch.manual_seed(0)
    dropped = F.linear(F.linear(F.dropout(x, 0.5), lora.lora_A), lora.lora_B)
    torch.testing.assert_close(noisy, linear(x) + 8 * dropped)
    assert not torch.allclose(noisy, expected)


def test_add_lora_hands_its_settings_to_every_layer():
    states = []
    for seed in (3, 3, 4):
        model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 6))
        add_lora(model, ["0", "1"], rank=2, alpha=5, dropout=0.25, generator=seeded(seed))
        assert [(lora.rank, lora.scale, lora.dropout) for lora in model] == [(2, 2.5, 0.25)] * 2
        states.append(lora_state(model))
    for name in ("0.lora_A", "1.lora_A"):
        assert torch.equal(states[0][name], states[1][name])
        assert not torch.equal(states[0][name], states[2][name])


def test_only_the_wrapped_layers_are_frozen():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    add_lora(model, "0", rank=1)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"0.lora_A", "0.lora_B", "1.weight", "1.bias"}


def test_the_recipe_trains_under_two_percent_of_bert():
    torch.manual_seed(0)
    model = BertModel(BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=3000))
    freeze(model)
    names = add_lora(model, ["query", "value"], rank=2)
    count = trainable_parameters(model)
    assert count.trainable == len(names) * 2 * (64 + 64)
    assert 0 < count.share < 0.02


def test_targets_are_ends_prefixes_and_globs_of_module_names():
    attention = "encoder.layer.0.attention.self"
    assert add_lora(tiny_bert(), "encoder.layer.0.attention.self") == [
        f"{attention}.query",
        f"{attention}.key",
        f"{attention}.value",
    ]
    assert add_lora(tiny_bert(), "self.key") == [f"encoder.layer.{i}.attention.self.key" for i in (0, 1)]
    assert add_lora(tiny_bert(), ["value", "*.0.attention.self.query"]) == [
        f"{attention}.query",
        f"{attention}.value",
        "encoder.layer.1.attention.self.value",
    ]


def test_merge_gives_back_plain_layers_names_flags_and_mode():
    model = tiny_bert()
    model.encoder.layer[1].requires_grad_(False)
    keys = list(model.state_dict())
    linear = model.encoder.layer[0].attention.self.query
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    weight = linear.weight.clone()
    add_lora(model, "query", generator=seeded())
    assert list(model.state_dict()) != keys
    fill(model)
    before = model(**tokens()).last_hidden_state
    update = model.encoder.layer[0].attention.self.query.update()
    names = merge_lora(model)
    assert names == [f"encoder.layer.{i}.attention.self.query" for i in (0, 1)]
    assert list(model.state_dict()) == keys
    assert model.encoder.layer[0].attention.self.query is linear
    assert type(linear) is nn.Linear
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    torch.testing.assert_close(linear.weight, weight + update)
    assert error(model(**tokens()).last_hidden_state, before) <= 1e-6
    assert not any(module.training for module in model.modules())


def test_unmerge_gives_back_the_same_bits_and_the_adapter_works_on():
    model = fill(nn.Sequential(nn.Linear(6, 6)))
    add_lora(model, "0", rank=3)
    fill(model)
    x = torch.randn(4, 6, generator=seeded())
    weight, output = model[0].weight.clone(), model(x)
    for _ in range(3):
        assert merge_lora(model, keep=True) == ["0"]
        assert not torch.equal(model[0].weight, weight)
        torch.testing.assert_close(model(x), output, rtol=0, atol=1e-5)
        assert unmerge_lora(model) == ["0"]
        assert torch.equal(model[0].weight, weight)
        assert torch.equal(model(x), output)


def test_a_kept_merge_adds_nothing_to_the_state_dict():
    model = nn.Sequential(nn.Linear(6, 6))
    add_lora(model, "0", rank=3)
    fill(model)
    names = list(model.state_dict())
    merge_lora(model, keep=True)
    assert list(model.state_dict()) == names


def test_merging_after_a_kept_merge_adds_the_update_once():
    model = nn.Sequential(nn.Linear(6, 6))
    add_lora(model, "0", rank=3)
    fill(model)
    expected = model[0].weight + model[0].update()
    merge_lora(model, keep=True)
    merge_lora(model)
    torch.testing.assert_close(model[0].weight, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_get_float32_factors_and_merge_in_float32(dtype):
    linear = nn.Linear(8, 8).to(dtype)
    start = linear.weight.clone()
    model = nn.Sequential(linear)
    add_lora(model, "0", rank=2, generator=seeded())
    fill(model)
    assert model[0].lora_A.dtype == torch.float32
    x = torch.randn(3, 8, generator=seeded(1)).to(dtype)
    expected = linear(x) + model[0].scale * F.linear(
        F.linear(x.float(), model[0].lora_A), model[0].lora_B
    ).to(dtype)
    assert model(x).dtype == dtype
    torch.testing.assert_close(model(x), expected)
    exact = (start.float() + model[0].update()).to(dtype)
    merge_lora(model)
    assert torch.equal(model[0].weight, exact)


def test_mixed_precision_matches_float32_to_its_precision():
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    add_lora(model, ["0", "2"], rank=2)
    fill(model)
    x = torch.randn(5, 16, generator=seeded())
    expected = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert error(output.float(), expected) < 0.05
    assert model[0].lora_A.grad.abs().sum() > 0


def test_a_merge_that_overflows_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).half()
    add_lora(model, ["0", "1"], rank=1, alpha=1)
    fill(model)
    with torch.no_grad():
        model[1].lora_A.fill_(1e4)
        model[1].lora_B.fill_(1e4)
    before = [m.weight.clone() for m in model]
    with pytest.raises(FloatingPointError, match=r"^1: merged weight is not finite in torch\.float16"):
        merge_lora(model)
    assert all(torch.equal(m.weight, w) and not m.merged for m, w in zip(model, before, strict=True))


def test_lora_state_holds_the_factors_alone_and_loads_again():
    model = tiny_bert()
    twin = copy.deepcopy(model)
    add_lora(model, "value", rank=2)
    fill(model)
    state = lora_state(model)
    assert len(state) == 4
    assert sum(t.numel() for t in state.values()) == 4 * 2 * 16
    add_lora(twin, "value", rank=2)
    loaded = twin.load_state_dict(state, strict=False)
    assert not loaded.unexpected_keys
    assert torch.equal(twin(**tokens()).last_hidden_state, model(**tokens()).last_hidden_state)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    fill(model, seed=8)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_a_module_used_in_two_places_gets_one_adapter_in_both():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    assert add_lora(model, "2", rank=1) == ["0"]
    assert isinstance(model[0], LoRA)
    assert model[0] is model[2]
    merge_lora(model)
    assert model[0] is shared
    assert model[2] is shared


def test_copies_and_pickles_work_while_merged():
    model = nn.Sequential(nn.Linear(4, 4))
    add_lora(model, "0", rank=1)
    fill(model)
    weight = model[0].weight.clone()
    merge_lora(model, keep=True)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        unmerge_lora(twin)
        assert torch.equal(twin[0].weight, weight)
    assert "rank=1, scale=16, dropout=0" in repr(model)


@pytest.mark.parametrize("rank", [0, -1, 5, 2.5, 2.0, "2"])
def test_a_rank_outside_the_matrix_names_the_layer_and_the_range_and_changes_nothing(rank):
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 4))
    if rank != 5:
        model = nn.Sequential(nn.Linear(9, 4))
    last = len(model) - 1
    with pytest.raises(
        ValueError, match=rf"^{last}: rank={rank} for a 9 → 4 nn\.Linear; choose a rank from 1 to 4"
    ):
        add_lora(model, ["0", str(last)], rank=rank)
    assert all(type(module) is nn.Linear for module in model)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"alpha": 0}, "alpha=0 must be positive"),
        ({"alpha": float("nan")}, "alpha=nan must be positive"),
        ({"dropout": 1.0}, r"dropout=1\.0 must be at least 0 and below 1"),
        ({"dropout": -0.1}, r"dropout=-0\.1 must be"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, text):
    with pytest.raises(ValueError, match=text):
        LoRA(nn.Linear(4, 4), rank=2, **settings)


def test_a_target_without_a_linear_names_the_nearest():
    with pytest.raises(ValueError, match=r"'querry' matches none of the 13 nn\.Linear; nearest: 'query'"):
        add_lora(tiny_bert(), ["value", "querry"])


def test_a_target_of_another_kind_names_the_kind():
    with pytest.raises(ValueError, match=r"'word_embeddings' matches Embedding, but LoRA wraps nn\.Linear"):
        add_lora(tiny_bert(), "word_embeddings")


def test_gpt2s_conv1d_is_refused_by_name():
    model = GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=10))
    with pytest.raises(ValueError, match=r"'c_attn' matches Conv1D, but LoRA wraps nn\.Linear"):
        add_lora(model, "c_attn")


def test_no_targets_are_refused():
    with pytest.raises(ValueError, match="no targets; name at least one"):
        add_lora(tiny_bert(), [])


def test_a_second_lora_on_a_layer_is_refused_and_on_another_layer_is_not():
    model = tiny_bert()
    add_lora(model, "query")
    with pytest.raises(ValueError, match=r"layer\.0\.attention\.self\.query has a LoRA already; merge_lora"):
        add_lora(model, "query")
    with pytest.raises(ValueError, match="has a LoRA already"):
        add_lora(model, "encoder.layer.0")
    with pytest.raises(ValueError, match="has a LoRA already"):
        add_lora(model, "query.base")
    assert len(add_lora(model, "value")) == 2
    assert len(merge_lora(model)) == 4


def test_merge_and_state_without_lora_name_the_way_in():
    for function in (merge_lora, unmerge_lora, lora_state):
        with pytest.raises(ValueError, match=r"Linear has no LoRA; add_lora\(model, targets\)"):
            function(nn.Linear(2, 2))


def test_unmerge_comes_only_after_a_kept_merge():
    model = nn.Sequential(nn.Linear(4, 4))
    add_lora(model, "0", rank=1)
    with pytest.raises(ValueError, match=r"no LoRA of this model is merged; merge_lora\(model, keep=True\)"):
        unmerge_lora(model)
    with pytest.raises(RuntimeError, match=r"not merged; merge\(\) it first"):
        model[0].unmerge()
    model[0].merge()
    with pytest.raises(RuntimeError, match=r"merged already; unmerge\(\)"):
        model[0].merge()


def test_a_bare_linear_and_a_tied_weight_and_torchs_attention_are_refused():
    with pytest.raises(ValueError, match=r"itself an nn\.Linear .*use LoRA\(model\)"):
        add_lora(nn.Linear(3, 3), "*")
    tied = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="1 shares its weight with 0; choose other targets, or untie"):
        add_lora(tied, "1", rank=1)
    with pytest.raises(ValueError, match=r"0\.out_proj belongs to an nn\.MultiheadAttention"):
        add_lora(nn.Sequential(nn.MultiheadAttention(4, 2)), "out_proj", rank=1)


def test_code_that_reads_weight_and_bias_finds_them():
    lora = LoRA(nn.Linear(3, 4), rank=1)
    assert lora.weight is lora.base.weight
    assert lora.bias is lora.base.bias
    assert lora.rank == 1


def test_a_head_with_a_lora_must_be_merged_before_it_is_replaced():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    add_lora(model, "1", rank=1)
    with pytest.raises(ValueError, match=r"the head 1 has a LoRA; merge_lora\(model\) before replace_head"):
        replace_head(model, 3)
