"""GPT-2 against transformers on the same weights, and its files both ways."""

import copy
import dataclasses
import json
import math
import warnings

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers

from tests.reference.gpt2_pairs import ODD, error, model, padded, positions, twin
from tlcourse import weights
from tlcourse.models.gpt2 import GPT2, GPT2_124M, GPT2_355M, GPT2_774M, GPT2_1558M, GPT2_MINI, GPT2Config
from tlcourse.models.gpt2.checkpoints import official_state
from tlcourse.weights import WeightsError

TOLERANCE = 1e-5  # what the course promises; rounding in float32 was seen at 1e-6
TINY = ODD["three-heads"]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ODD)
def test_logits_match_transformers_on_random_weights(tmp_path, name, attention):
    ours = model(ODD[name])
    theirs = twin(tmp_path, ours, attention)
    ids, _ = padded(ODD[name], "left")
    with torch.no_grad():
        assert error(ours(ids), theirs(ids).logits) <= TOLERANCE
        assert error(ours(ids[:, :1]), theirs(ids[:, :1]).logits) <= TOLERANCE
        assert error(ours(ids.int(), torch.ones_like(ids)), theirs(ids).logits) <= TOLERANCE


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
@pytest.mark.parametrize("side", ["left", "right", "anywhere"])
@pytest.mark.parametrize("name", ODD)
def test_logits_of_padded_batches_match_transformers_and_each_row_alone(tmp_path, name, side, dtype):
    ours = model(ODD[name])
    theirs = twin(tmp_path, ours)
    ids, mask = padded(ODD[name], side)
    kept = mask.bool()
    with torch.no_grad():
        logits = ours(ids, mask.to(dtype))
        expected = theirs(ids, attention_mask=mask, position_ids=positions(mask)).logits
        assert logits.isfinite().all()
        assert error(logits[kept], expected[kept]) <= TOLERANCE
        for row in range(len(ids)):
            alone = ours(ids[row : row + 1, kept[row]])[0]
            assert error(logits[row, kept[row]], alone) <= TOLERANCE


def test_no_position_sees_a_later_one_or_padding():
    ours = model(TINY, torch.float64)
    ids, mask = padded(TINY, "left")
    with torch.no_grad():
        logits = ours(ids, mask)
        for column in range(ids.shape[1]):
            changed = ids.clone()
            changed[:, column] = (changed[:, column] + 1) % TINY["vocab_size"]
            moved = (ours(changed, mask) - logits).abs().amax(-1) > 1e-12
            expected = (torch.arange(ids.shape[1]) >= column) & mask[:, column, None].bool() & mask.bool()
            assert torch.equal(moved & mask.bool(), expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_gradients_match_transformers(tmp_path, side):
    ours = model(TINY, torch.float64)
    theirs = twin(tmp_path, ours)
    ids, mask = padded(TINY, side)
    labels = ids.masked_fill(mask == 0, -100)
    targets = labels[:, 1:].masked_fill(mask[:, :-1] == 0, -100)  # what padding foretells does not count
    for logits in (
        ours(ids, mask),
        theirs(ids, attention_mask=mask, position_ids=positions(mask)).logits,
    ):
        F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten()).backward()
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    assert all(g is not None and g.abs().max() > 0 for g in gradients.values())
    renamed = {n: p.grad for n, p in theirs.named_parameters()}
    official = official_state(gradients)
    assert official.keys() == renamed.keys()
    for name, gradient in renamed.items():
        assert error(official[name], gradient) <= 1e-11, name


def test_training_drops_out_at_the_configured_places_and_evaluation_nowhere():
    ids, _ = padded(TINY, "left")
    for place in ("embedding_dropout", "residual_dropout", "attention_dropout"):
        off = dict.fromkeys(("embedding_dropout", "residual_dropout", "attention_dropout"), 0.0)
        ours = model(TINY | off | {place: 0.5})
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            evaluated = ours(ids)
            assert torch.equal(ours(ids), evaluated)
            assert error(ours.train()(ids), evaluated) > 0.01, place
        ours = model(TINY | off)
        with torch.no_grad():
            assert torch.equal(ours.train()(ids), evaluated), place


def test_dropout_leaves_the_mean_of_the_sublayers_input():
    ours = model(TINY | {"embedding_dropout": 0.25}).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dropped = ours.dropout(torch.ones(100_000))
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)  # five standard deviations


def test_random_start_is_the_papers():
    ours = GPT2(GPT2Config(vocab_size=500, d_model=120, n_layers=8, n_heads=4))
    for name, parameter in ours.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == (1 if "norm.weight" in name else 0)).all(), name
            continue
        residual = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
        expected = 0.02 / math.sqrt(2 * 8) if residual else 0.02
        # The standard deviation of n normals is known to 1 / √(2n); n is 14,400 at least.
        assert parameter.std().item() == pytest.approx(expected, rel=0.03), name
        assert abs(parameter.mean().item()) < 5 * expected / math.sqrt(parameter.numel())


def test_a_seed_or_a_generator_decides_the_start_and_nothing_else_is_touched():
    config = GPT2Config(**TINY)
    before = torch.get_rng_state()
    first, again, other = GPT2(config), GPT2(config, seed=0), GPT2(config, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    state = first.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in again.state_dict().items())
    assert not torch.equal(other.token_embedding.weight, first.token_embedding.weight)
    drawn = GPT2(config, seed=torch.Generator().manual_seed(1))
    assert torch.equal(drawn.head.weight, other.head.weight)


def test_features_are_what_the_head_reads(tmp_path):
    ours = model(TINY)
    theirs = twin(tmp_path, ours)
    ids, mask = padded(TINY, "right")
    with torch.no_grad():
        states = ours.features(ids, mask)
        assert torch.equal(ours.head(states), ours(ids, mask))
        expected = theirs.transformer(ids, attention_mask=mask).last_hidden_state
    assert error(states[mask.bool()], expected[mask.bool()]) <= TOLERANCE


def test_compiled_forward_equals_the_eager_one_without_a_break():
    ours = model(TINY)
    compiled = torch.compile(ours, fullgraph=True, backend="eager")
    with torch.no_grad():
        for side in ("left", "right"):
            ids, mask = padded(TINY, side)
            kept = mask.bool()
            assert error(compiled(ids, mask)[kept], ours(ids, mask)[kept]) <= TOLERANCE
        assert error(compiled(ids), ours(ids)) <= TOLERANCE


def test_what_a_graph_cannot_ask_changes_no_logits(monkeypatch):
    ours = model(TINY)
    for side in ("left", "right"):
        ids, mask = padded(TINY, side)
        with torch.no_grad():
            expected = ours(ids, mask)
            monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
            logits = ours(ids, mask)
            monkeypatch.undo()
        assert error(logits[mask.bool()], expected[mask.bool()]) <= TOLERANCE


# Files


OFFICIAL = (GPT2_124M, GPT2_355M, GPT2_774M, GPT2_1558M)


def test_the_official_124m_has_the_official_sizes():
    with torch.device("meta"):
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    ours = GPT2Config.from_official(transformers.GPT2Config().to_dict())
    assert ours == GPT2_124M
    shapes = {n: tuple(p.shape) for n, p in theirs.named_parameters()}
    assert sum(math.prod(s) for s in shapes.values()) == 124_439_808
    small = GPT2(dataclasses.replace(GPT2_124M, vocab_size=50, d_model=12, n_positions=8, eos_token_id=None))
    assert official_state(small.state_dict()).keys() == shapes.keys()


@pytest.mark.parametrize(
    ("config", "n_parameters"),
    [(GPT2_355M, 354_823_168), (GPT2_774M, 774_030_080), (GPT2_1558M, 1_557_611_200)],
)
def test_the_larger_official_ones_have_the_official_sizes(config, n_parameters):
    with torch.device("meta"):
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config.to_official()))
    assert sum(p.numel() for p in theirs.parameters()) == n_parameters
    # Ours count alike: two tables, twelve squares and thirteen rows a layer, and the last norm.
    d, n = config.d_model, config.n_layers
    assert (config.vocab_size + config.n_positions) * d + n * (12 * d**2 + 13 * d) + 2 * d == n_parameters


def test_config_goes_to_the_official_settings_and_back():
    for config in (
        GPT2_124M,
        GPT2_355M,
        GPT2_774M,
        GPT2_1558M,
        GPT2_MINI,
        *(GPT2Config(**sizes) for sizes in ODD.values()),
    ):
        settings = json.loads(json.dumps(config.to_official()))
        assert GPT2Config.from_official(settings) == config
        theirs = transformers.GPT2Config(**settings)
        assert GPT2Config.from_official(theirs.to_dict()) == config
        assert theirs.n_inner in (None, config.inner_width) and theirs.n_head == config.n_heads


def test_settings_that_config_json_leaves_out_are_transformers_defaults():
    assert GPT2Config.from_official({"model_type": "gpt2", "n_ctx": 1024, "eos_token_id": 50256}) == GPT2_124M
    assert GPT2Config().inner_width == 3072 and GPT2Config(d_inner=5).inner_width == 5


def official_tensors(ours):
    """As the first published checkpoint has them: no prefix, the causal masks stored, no output layer."""
    state = {
        n.removeprefix("transformer."): t.contiguous() for n, t in official_state(ours.state_dict()).items()
    }
    n = ours.config.n_positions
    for block in range(ours.config.n_layers):
        state[f"h.{block}.attn.bias"] = torch.ones(n, n).tril().view(1, 1, n, n)
        state[f"h.{block}.attn.masked_bias"] = torch.tensor(-1e4)
    return state


def write(folder, state, settings=None, **changes):
    settings = (settings or GPT2Config(**TINY).to_official()) | changes
    (folder / "config.json").write_text(json.dumps(settings))
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("head", [False, True])
def test_every_official_layout_loads_and_the_tie_holds(tmp_path, prefix, head):
    ours = model(TINY)
    state = {prefix + name: tensor for name, tensor in official_tensors(ours).items()}
    if head:
        state["lm_head.weight"] = ours.head.weight.detach().clone()
    write(tmp_path, state)
    loaded = GPT2.from_pretrained(tmp_path)
    assert loaded.head.weight is loaded.token_embedding.weight and not loaded.training
    assert loaded.config == ours.config
    expected = ours.state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in loaded.state_dict().items())


def test_what_transformers_saves_loads_and_agrees(tmp_path):
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=60, n_positions=20, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4)
    )  # fmt: skip
    theirs.config.eos_token_id = theirs.config.bos_token_id = None
    theirs.eval().save_pretrained(tmp_path)
    ids, mask = padded({"vocab_size": 60}, "right")
    with torch.no_grad():
        logits = GPT2.from_pretrained(tmp_path)(ids, mask)
        expected = theirs(ids, attention_mask=mask).logits
    assert error(logits[mask.bool()], expected[mask.bool()]) <= TOLERANCE


def test_saved_in_half_precision_loads_in_single_with_the_rounded_values(tmp_path):
    ours = model(TINY)
    ours.save_pretrained(tmp_path, dtype=torch.float16)
    assert (
        weights.load_checkpoint(tmp_path / "model.safetensors")["transformer.wte.weight"].dtype
        == torch.float16
    )
    loaded = GPT2.from_pretrained(tmp_path)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, ours.state_dict()[name].half().float())


def test_a_copy_and_a_change_of_dtype_keep_the_tie():
    ours = model(TINY)
    for changed in (copy.deepcopy(ours), copy.deepcopy(ours).to(torch.bfloat16)):
        assert changed.head.weight is changed.token_embedding.weight is not ours.head.weight


# What does not fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("h.1.ln_1.bias"), r"missing \(1\): blocks.1.attention_norm.bias"),
        (lambda s: s.update({"extra": torch.ones(1)}), r"unknown \(1\): extra"),
        (lambda s: s.update({"h.3.ln_1.bias": torch.ones(24)}), r"unexpected \(1\): blocks.3.attention_norm.bias"),
        (
            lambda s: s.update({"h.0.mlp.c_fc.weight": torch.ones(50, 24)}),
            r"misshapen \(1\): blocks.0.feed_forward.up.weight: \(24, 50\) float32 in the checkpoint, \(50, 24\)",
        ),
        (
            lambda s: s.update({f"h.{n}.mlp.c_fc.weight": torch.ones(3, 3, 3) for n in (0, 1)}),
            r"misshapen \(2\): h.0.mlp.c_fc.weight: \(3, 3, 3\) float32 \(.*h.1.mlp.c_fc.weight: \(3, 3, 3\)",
        ),
        (lambda s: s.pop("wte.weight"), r"missing \(1\): wte.weight"),
        (
            lambda s: s.update({"lm_head.weight": torch.ones(101, 24)}),
            r"contradictory \(1\): token_embedding.weight and head.weight: one tensor in the model, two values",
        ),
        (
            lambda s: s.update({"transformer.ln_f.bias": s.pop("ln_f.bias")}),
            r"unknown \(45\): h.0.attn.bias",
        ),
    ],
    ids=["missing", "extra", "extra block", "misshapen", "not to be turned", "no embedding", "untied", "two prefixes"],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_lists_what_and_loads_nothing(tmp_path, change, message):
    state = official_tensors(model(TINY))
    change(state)
    write(tmp_path, state)
    with pytest.raises(WeightsError, match=rf"(?s){tmp_path}.*{message}"):
        GPT2.from_pretrained(tmp_path)


def test_files_cut_off_or_of_another_architecture_are_named(tmp_path):
    state = official_tensors(model(TINY))
    write(tmp_path, state, model_type="bert")
    with pytest.raises(WeightsError, match=r"model of model_type 'bert'; 'gpt2' is wanted here"):
        GPT2.from_pretrained(tmp_path)
    write(tmp_path, state)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"model.safetensors .* is damaged or cut off"):
        GPT2.from_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no model.safetensors"):
        GPT2.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'gpt2' is no asset .* fetch it with: hf download gpt2"):
        GPT2.from_pretrained("gpt2")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("scale_attn_weights", False, r"scale_attn_weights=False; this GPT2 has True only"),
        ("scale_attn_by_inverse_layer_idx", True, r"scale_attn_by_inverse_layer_idx=True; this GPT2 has False"),
        ("add_cross_attention", True, r"add_cross_attention=True; this GPT2 has False only"),
        ("tie_word_embeddings", False, r"tie_word_embeddings=False; this GPT2 has True only"),
        ("activation_function", "mish", r"unknown activation 'mish'; known are gelu, gelu_new"),
        ("n_head", 5, r"n_heads=5 does not divide d_model=24"),
    ],
)  # fmt: skip
def test_a_config_of_another_function_is_refused(tmp_path, setting, value, message):
    write(tmp_path, official_tensors(model(TINY)), **{setting: value})
    with pytest.raises(WeightsError, match=rf"{tmp_path}: .*{message}"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_heads", 5, r"n_heads=5 does not divide d_model=768; try n_heads="),
        ("activation", "mish", r"unknown activation 'mish'; known are"),
        ("n_layers", 0, r"n_layers=0; give a whole number of at least 1"),
        ("vocab_size", 10.5, r"vocab_size=10.5; give a whole number"),
        ("d_inner", True, r"d_inner=True; give a whole number"),
        ("residual_dropout", 1.0, r"residual_dropout=1.0 must be a number, at least 0 and below 1"),
        ("attention_dropout", -0.1, r"attention_dropout=-0.1 must be a number, at least 0"),
        ("residual_dropout", "x", r"residual_dropout='x' must be a number"),
        ("norm_eps", "x", r"norm_eps='x' must be a positive number"),
        ("init_sd", True, r"init_sd=True must be a positive number"),
        ("eos_token_id", 1.5, r"eos_token_id=1.5 is outside"),
        ("norm_eps", 0.0, r"norm_eps=0.0 must be a positive number"),
        ("init_sd", math.inf, r"init_sd=inf must be a positive number"),
        ("eos_token_id", 50257, r"eos_token_id=50257 is outside 0…50256 \(vocab_size=50257\); .* or None"),
        ("eos_token_id", -1, r"eos_token_id=-1 is outside"),
    ],
)
def test_sizes_and_rates_that_cannot_be_are_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        GPT2Config(**{field: value})


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([[1, 101]], None, r"input_ids holds 101, outside 0…100 \(vocab_size=101\)"),
        ([[-1, 5]], None, r"input_ids holds -1, outside 0…100"),
        ([[]], None, r"input_ids has shape \(1, 0\); give \(B, T\), at least one row and one position"),
        ([1, 2], None, r"input_ids has shape \(2,\); give \(B, T\)"),
        ([[1.0, 2.0]], None, r"input_ids is torch.float32; give integers"),
        ([[1] * 41], None, r"41 tokens are more than n_positions=40; cut the text"),
        ([[1] * 42], [[0] + [1] * 41], r"41 tokens are more than n_positions=40"),
        ([[1, 2]], [[1, 1, 1]], r"attention_mask \(1, 3\) for input_ids \(1, 2\)"),
        ([[1, 2], [1, 2]], [[1, 1], [0, 0]], r"row 1 of attention_mask is padding alone"),
        ([[1, 2]], [[1, 2]], r"attention_mask holds values other than 0 and 1"),
    ],
)
def test_input_that_does_not_fit_is_named(ids, mask, message):
    mask = None if mask is None else torch.tensor(mask)
    with pytest.raises(ValueError, match=message):
        model(TINY)(torch.tensor(ids), mask)


def test_padding_does_not_count_towards_the_positions():
    ours = model(TINY)
    ids = torch.randint(101, (2, 50))
    mask = torch.ones_like(ids)
    mask[:, :10] = 0
    with torch.no_grad():
        assert error(ours(ids, mask)[:, 10:], ours(ids[:, 10:])) <= TOLERANCE
        assert error(ours(ids, mask.flip(1))[:, :40], ours(ids[:, :40])) <= TOLERANCE


def test_a_model_whose_output_layer_was_replaced_is_not_saved(tmp_path):
    ours = model(TINY)
    for head in (torch.nn.Linear(24, 101, bias=False), torch.nn.Identity()):
        ours.head = head
        with pytest.raises(
            WeightsError, match=r"head.weight is not token_embedding.weight: .* Tie them again by"
        ):
            ours.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_nothing_warns(tmp_path):
    ours = model(TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.save_pretrained(tmp_path)
        GPT2.from_pretrained(tmp_path)(*padded(TINY, "left"))
