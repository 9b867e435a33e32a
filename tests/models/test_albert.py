"""ALBERT against transformers, with every combination of sharing and factorisation."""

import dataclasses

import pytest
import torch
import transformers
from torch import nn

from tests.reference.encoder_pairs import HEADS, T, arguments, batch, error, listed, logits, pair
from tlcourse.models import albert
from tlcourse.models.albert import (
    ALBERT_BASE,
    Albert,
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForPreTraining,
    AlbertForSequenceClassification,
)

# Rounding in float32 reached 3e-6 here, on logits that nearly cancel; 1e-5 is what the course promises.
TOLERANCE = 1e-5
# Shared or not, factorised or not, and two groups in between.
ODD = {
    "shared-factorised": {
        "vocab_size": 61,
        "hidden_size": 24,
        "embedding_size": 5,
        "num_hidden_layers": 3,
        "num_hidden_groups": 1,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 19,
        "type_vocab_size": 3,
    },
    "shared": {
        "vocab_size": 7,
        "hidden_size": 10,
        "embedding_size": 10,
        "num_hidden_layers": 2,
        "num_hidden_groups": 1,
        "num_attention_heads": 1,
        "intermediate_size": 3,
        "max_position_embeddings": T,
        "type_vocab_size": 1,
        "hidden_act": "relu",
        "pad_token_id": None,
    },
    "factorised": {
        "vocab_size": 101,
        "hidden_size": 6,
        "embedding_size": 9,
        "num_hidden_layers": 4,
        "num_hidden_groups": 4,
        "num_attention_heads": 6,
        "intermediate_size": 64,
        "max_position_embeddings": 33,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
    },
    "groups": {
        "vocab_size": 31,
        "hidden_size": 12,
        "embedding_size": 4,
        "num_hidden_layers": 6,
        "num_hidden_groups": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 18,
        "type_vocab_size": 2,
        "pad_token_id": 4,
    },
}
SMALL = AlbertConfig(
    vocab_size=50, d_model=16, d_embedding=6, n_layers=4, n_groups=2, n_heads=2, d_inner=32, n_positions=20
)


def ours(head):
    return getattr(albert, f"Albert{head}")


def inputs(sizes):
    return batch(sizes["vocab_size"], sizes["type_vocab_size"])


@pytest.mark.parametrize("sizes", ODD.values(), ids=ODD)
@pytest.mark.parametrize("head", HEADS)
def test_logits_match_transformers_on_random_weights_and_padded_batches(tmp_path, head, sizes):
    theirs = pair("Albert", head, tmp_path, **sizes)
    model, args = ours(head).from_pretrained(tmp_path), inputs(sizes)
    assert not model.training
    with torch.no_grad():
        for given in (args, (args[0], None, None)):
            for a, b in zip(listed(model(*given)), logits(theirs, *given), strict=True):
                assert error(a, b) < TOLERANCE


@pytest.mark.parametrize("sizes", [ODD["shared-factorised"], ODD["groups"]], ids=["shared", "groups"])
@pytest.mark.parametrize("head", HEADS)
def test_gradients_match_transformers(tmp_path, head, sizes):
    """Their gradients, saved as if they were weights, are the oracle for ours; shared layers add theirs up."""
    sizes = sizes | {"classifier_dropout_prob": 0.0}
    theirs = pair("Albert", head, tmp_path, **sizes).train()
    model, args = ours(head).from_pretrained(tmp_path).train(), inputs(sizes)
    answers, expected = listed(model(*args)), logits(theirs, *args)
    generator = torch.Generator().manual_seed(2)
    slopes = [torch.randn(b.shape, generator=generator) for b in expected]
    for outputs in (answers, expected):
        sum((x * s).sum() for x, s in zip(outputs, slopes, strict=True)).backward()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros(()) if parameter.grad is None else parameter.grad)
    theirs.save_pretrained(tmp_path)
    oracle = ours(head).from_pretrained(tmp_path).state_dict()
    for name, parameter in model.named_parameters():
        # Gradients that are zero by symmetry (a key's bias moves no softmax) are noise of the size of the others.
        scale = max(float(oracle[name].abs().max()), 1e-2)
        assert float((parameter.grad - oracle[name]).abs().max()) / scale < 1e-4, name


@pytest.mark.parametrize("head", HEADS)
def test_transformers_loads_what_we_save_and_agrees(tmp_path, head):
    config = dataclasses.replace(SMALL, n_labels=3 if "Classification" in head else 2, pad_token_id=3)
    model = ours(head)(config, seed=1).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    model.save_pretrained(tmp_path / "new")
    cls = getattr(transformers, f"Albert{head or 'Model'}")
    kept = {} if head else {"add_pooling_layer": False}
    theirs, info = cls.from_pretrained(tmp_path / "new", output_loading_info=True, **kept)
    assert not any(info.values()), info
    args = batch(50)
    with torch.no_grad():
        for a, b in zip(listed(model(*args)), logits(theirs.eval(), *args), strict=True):
            assert error(a, b) < TOLERANCE
    again = ours(head).from_pretrained(tmp_path / "new")
    assert again.config == config
    assert all(torch.equal(again.state_dict()[n], t) for n, t in model.state_dict().items())


@pytest.mark.parametrize("sizes", [ODD["factorised"], ODD["groups"]], ids=["factorised", "groups"])
def test_trace_gives_all_states_and_weights_as_transformers_does(tmp_path, sizes):
    theirs = pair("Albert", "", tmp_path, attention="eager", **sizes)
    ids, mask, types = inputs(sizes)
    with torch.no_grad():
        model = Albert.from_pretrained(tmp_path)
        states, weights = model.trace(ids, mask, types)
        out = theirs(
            ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True, output_attentions=True
        )
        assert error(model(ids, mask, types), states[-1]) < TOLERANCE
    for a, b in zip((*states, *weights), (*out.hidden_states, *out.attentions), strict=True):
        assert error(a, b) < TOLERANCE


def test_signatures_are_those_that_every_model_has():
    for head in HEADS:
        assert arguments(ours(head)) == ["input_ids", "attention_mask", "token_type_ids"]


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


# In millions, without the pooler; with it 11.7, 17.7, 58.7, 222.6 (Lan et al. 2020, table 1: 12, 18, 60, 235).
@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (ALBERT_BASE, 11.1),
        (albert.ALBERT_LARGE, 16.6),
        (albert.ALBERT_XLARGE, 54.5),
        (albert.ALBERT_XXLARGE, 205.8),
    ],
)
def test_presets_have_the_parameters_of_transformers_presets(monkeypatch, config, millions):
    monkeypatch.setattr(albert, "start_normal", lambda *_: None)  # stays without memory, on the meta device
    n = n_parameters(Albert(config))
    theirs = transformers.AlbertConfig(
        hidden_size=config.d_model, num_attention_heads=config.n_heads, intermediate_size=config.d_inner,
        num_hidden_layers=config.n_layers,
    )  # fmt: skip
    with torch.device("meta"):
        assert n == n_parameters(transformers.AlbertModel(theirs, add_pooling_layer=False))
    assert round(n / 1e6, 1) == millions


def test_sharing_and_factorisation_save_what_arithmetic_says_each_by_itself():
    def count(**change):
        return n_parameters(Albert(dataclasses.replace(SMALL, n_groups=4, d_embedding=16, **change)))

    plain = count()
    d, inner, layers, rows = 16, 32, 4, 50 + 20 + 2
    layer = 4 * (d * d + d) + 2 * d * inner + inner + d + 4 * d
    shared = n_parameters(Albert(dataclasses.replace(SMALL, n_groups=1, d_embedding=16)))
    factorised = n_parameters(Albert(dataclasses.replace(SMALL, n_groups=4, d_embedding=6)))
    both = n_parameters(Albert(dataclasses.replace(SMALL, n_groups=1, d_embedding=6)))
    assert plain - shared == factorised - both == (layers - 1) * layer
    assert plain - factorised == shared - both == (16 - 6) * (rows + 2 + d)  # tables, norm, map


def test_layers_of_a_group_are_neighbours_as_transformers_counts_them():
    for n_layers in range(1, 49):
        for n_groups in (g for g in range(1, n_layers + 1) if n_layers % g == 0):
            config = dataclasses.replace(SMALL, n_layers=n_layers, n_groups=n_groups)
            theirs = [int(i / (n_layers / n_groups)) for i in range(n_layers)]
            assert [config.group(i) for i in range(n_layers)] == theirs


def test_random_start_is_normal_with_sd_002_and_depends_on_its_seed_alone():
    config = dataclasses.replace(SMALL, d_model=64, d_inner=128, d_embedding=32)
    model = AlbertForPreTraining(config, seed=3)
    for name, p in model.state_dict().items():
        if "norm" in name:
            assert torch.equal(p, torch.full_like(p, float(name.endswith("weight")))), name
        elif p.dim() == 1:
            assert not p.any(), name
        else:
            assert abs(float(p.std()) / 0.02 - 1) < 6 / (2 * p.numel()) ** 0.5 + 0.05, name
    same, other = AlbertForPreTraining(config, seed=3), AlbertForPreTraining(config, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert not torch.equal(model.sentence_order.weight, other.sentence_order.weight)


@pytest.mark.parametrize("cls", [AlbertForMaskedLM, AlbertForPreTraining])
def test_chosen_positions_have_the_logits_of_all_positions(cls):
    model, (ids, mask, types) = cls(SMALL).eval(), batch(50)
    chosen = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    every, some = listed(model(ids, mask, types)), listed(model(ids, mask, types, positions=chosen))
    assert error(some[0], every[0][chosen]) < TOLERANCE
    assert all(torch.equal(a, b) for a, b in zip(every[1:], some[1:], strict=True))


def test_dropout_is_where_the_configuration_says_and_in_training_only():
    args = batch(50)

    def differ(head="", **shares):
        none = {"dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0}
        model = ours(head)(dataclasses.replace(SMALL, **none | shares)).train()
        torch.manual_seed(0)
        moved = not torch.equal(listed(model(*args))[-1], listed(model(*args))[-1])
        model.eval()
        assert torch.equal(listed(model(*args))[-1], listed(model(*args))[-1])
        return moved

    assert not differ() and differ(dropout=0.1) and differ(attention_dropout=0.1)
    for head in ("ForPreTraining", "ForSequenceClassification", "ForTokenClassification"):
        assert not differ(head) and differ(head, classifier_dropout=0.3)
    assert not differ("ForQuestionAnswering", classifier_dropout=0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": torch.full((2, 3), 50)}, r"input_ids holds 50, outside 0…49 \(vocab_size=50\)"),
        ({"input_ids": torch.ones(2, 21).long()}, "21 positions, but the model has 20; cut the texts"),
        ({"attention_mask": torch.ones(2, 4)}, r"attention_mask \(2, 4\) for input_ids \(2, 3\)"),
        ({"attention_mask": torch.zeros(2, 3)}, "row 0 of attention_mask is padding alone"),
        (
            {"token_type_ids": torch.full((2, 3), 2)},
            r"token_type_ids holds 2, outside 0…1 \(n_token_types=2\)",
        ),
        ({"positions": torch.ones(2, 4).bool()}, r"positions are torch.bool \(2, 4\); give booleans"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AlbertForMaskedLM(SMALL)(**{"input_ids": torch.ones(2, 3).long(), **change})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_groups": 5}, "n_groups=5 does not divide n_layers=12; 1 shares all layers, 12 none"),
        ({"n_groups": 24}, "n_groups=24 does not divide n_layers=12"),
        ({"n_groups": 0}, "n_groups=0 must be a whole number of at least 1"),
        ({"d_embedding": 0}, "d_embedding=0 must be a whole number of at least 1"),
        ({"n_heads": 7}, "n_heads=7 does not divide d_model=768"),
        ({"classifier_dropout": None}, "classifier_dropout=None must be a number"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        AlbertConfig(**sizes)


def test_settings_left_out_of_config_json_have_transformers_defaults():
    """Its defaults are xxlarge's, not ours."""
    config = albert.ALBERT.read_config({"vocab_size": 30000})
    theirs = albert.ALBERT.read_config(transformers.AlbertConfig().to_dict())
    assert config == theirs == albert.ALBERT_XXLARGE


def test_an_exported_graph_answers_as_the_model_does():
    model, args = AlbertForSequenceClassification(SMALL).eval(), batch(50)
    assert error(torch.export.export(model, args).module()(*args), model(*args)) < TOLERANCE
