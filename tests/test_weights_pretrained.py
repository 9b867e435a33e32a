"""Loading published layouts of BERT and ALBERT: all that is wanted, or one error and nothing."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.reference.encoder_pairs import batch, error, listed, logits, pair
from tlcourse import assets
from tlcourse.models.albert import Albert, AlbertForMaskedLM, AlbertForPreTraining
from tlcourse.models.bert import (
    Bert,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from tlcourse.weights import WeightsError

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}
WEIGHTS = "model.safetensors"


def change(folder, edit):
    """Rewrite the folder's tensors as edit(state) has them."""
    save_file(edit(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})


def change_settings(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def renamed(*pairs):
    def edit(state):
        for old, new in pairs:
            state = {name.replace(old, new): tensor for name, tensor in state.items()}
        return state

    return edit


def tensorflow_names(state):
    """As bert-base-uncased was first published: gamma and beta, the positions stored, the decoder's bias as a copy."""
    state = renamed(("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))(state)
    return state | {
        "bert.embeddings.position_ids": torch.arange(20)[None],
        "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": state["cls.predictions.bias"].clone(),
    }


@pytest.mark.parametrize("edit", [dict, tensorflow_names, renamed(("bert.", ""))], ids=["new", "old", "bare"])
@pytest.mark.parametrize("cls", [Bert, BertForMaskedLM, BertForPreTraining])
def test_every_published_layout_gives_the_same_model(tmp_path, cls, edit):
    theirs = pair("Bert", "ForPreTraining", tmp_path, **SIZES)
    change(tmp_path, edit)
    model, args = cls.from_pretrained(tmp_path), batch(50)
    with torch.no_grad():
        encoded = theirs.bert(args[0], attention_mask=args[1], token_type_ids=args[2])[0]
        expected = [encoded] if cls is Bert else logits(theirs, *args)
        for a, b in zip(listed(model(*args)), expected, strict=cls is not BertForMaskedLM):
            assert error(a, b) < 1e-5


def test_a_head_that_is_not_there_must_be_asked_for(tmp_path):
    pair("Bert", "", tmp_path, **SIZES)
    message = (
        "no words and no next_sentence of a BertForPreTraining; for a random one, say so: "
        r"BertForPreTraining.from_pretrained\(…, new_head=True, seed=0\)"
    )
    with pytest.raises(WeightsError, match=message):
        BertForPreTraining.from_pretrained(tmp_path)
    model = BertForPreTraining.from_pretrained(tmp_path, new_head=True, seed=3)
    fresh = BertForPreTraining(model.config, seed=3)
    assert torch.equal(model.words.dense.weight, fresh.words.dense.weight)
    assert torch.equal(model.next_sentence.weight, fresh.next_sentence.weight)
    state = load_file(tmp_path / WEIGHTS)
    assert torch.equal(model.pooler.dense.weight, state["pooler.dense.weight"])
    assert torch.equal(model.bert.embeddings.words.weight, state["embeddings.word_embeddings.weight"])
    other = BertForPreTraining.from_pretrained(tmp_path, new_head=True, seed=4)
    assert not torch.equal(model.next_sentence.weight, other.next_sentence.weight)


def test_a_new_head_has_the_number_of_labels_asked_for_and_keeps_what_is_there(tmp_path):
    pair("Bert", "ForMaskedLM", tmp_path, **SIZES)
    model = BertForSequenceClassification.from_pretrained(tmp_path, new_head=True, n_labels=7)
    assert model.classifier.weight.shape == (7, 16) and model.config.n_labels == 7
    kept = BertForMaskedLM.from_pretrained(tmp_path, new_head=True)
    assert torch.equal(kept.words.bias, load_file(tmp_path / WEIGHTS)["cls.predictions.bias"])


def test_labels_are_counted_from_id2label_or_num_labels(tmp_path):
    pair("Bert", "ForTokenClassification", tmp_path, **SIZES)
    assert BertForTokenClassification.from_pretrained(tmp_path).config.n_labels == 5
    change_settings(tmp_path, id2label=None, num_labels=5)
    assert BertForTokenClassification.from_pretrained(tmp_path).config.n_labels == 5
    with pytest.raises(
        WeightsError, match=r"misshapen \(2\): classifier.bias: \(5,\).*, classifier.weight: \(5, 16\)"
    ):
        BertForTokenClassification.from_pretrained(tmp_path, n_labels=3)


def test_a_classifier_of_sentences_is_none_of_words_though_its_tensors_fit(tmp_path):
    pair("Bert", "ForSequenceClassification", tmp_path, **SIZES)
    with pytest.raises(WeightsError, match="no classifier of a BertForTokenClassification"):
        BertForTokenClassification.from_pretrained(tmp_path)
    model = BertForTokenClassification.from_pretrained(tmp_path, new_head=True)
    assert not torch.equal(model.classifier.weight, load_file(tmp_path / WEIGHTS)["classifier.weight"])
    change_settings(tmp_path, architectures=None)  # nothing says what it is: the tensors fit
    loaded = BertForTokenClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.classifier.weight, load_file(tmp_path / WEIGHTS)["classifier.weight"])


@pytest.mark.parametrize(
    ("family", "cls", "copy", "original"),
    [
        ("Bert", BertForMaskedLM, "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("Bert", BertForPreTraining, "cls.predictions.decoder.bias", "cls.predictions.bias"),
        (
            "Albert",
            AlbertForMaskedLM,
            "predictions.decoder.weight",
            "albert.embeddings.word_embeddings.weight",
        ),
        ("Albert", AlbertForPreTraining, "predictions.decoder.bias", "predictions.bias"),
    ],
)
def test_copies_may_be_there_but_must_be_equal(tmp_path, family, cls, copy, original):
    pair(family, "ForPreTraining", tmp_path, **SIZES)
    change(tmp_path, lambda state: state | {copy: state[original].clone()})
    cls.from_pretrained(tmp_path)
    change(tmp_path, lambda state: state | {copy: state[original] + 1})
    with pytest.raises(WeightsError, match=rf"{copy} differs from {original}; here they are one tensor"):
        cls.from_pretrained(tmp_path)
    (Bert if family == "Bert" else Albert).from_pretrained(tmp_path)  # which has no word head


LAYER = "bert.encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if n != LAYER}, r"missing \(1\): bert.layers.1.feed_forward.down"),
        (lambda s: {n: t for n, t in s.items() if n != "cls.predictions.transform.dense.bias"},
         r"missing \(1\): cls.predictions.transform.dense.bias"),
        (lambda s: {n: t for n, t in s.items() if "layer.1" not in n}, r"missing \(16\): bert.layers.1.attention"),
        (lambda s: s | {"surprise": torch.zeros(1)}, r"unknown \(1\): surprise"),
        (lambda s: s | {LAYER.replace("1", "2"): torch.zeros(16, 32)}, r"unexpected \(1\): bert.layers.2.feed_forward"),
        (lambda s: s | {LAYER: s[LAYER].T.contiguous()},
         r"misshapen \(1\): bert.layers.1.feed_forward.down.weight: \(32, 16\) .* in the checkpoint, \(16, 32\)"),
        (lambda s: s | {LAYER: s[LAYER].long()}, r"misshapen \(1\): bert.layers.1.*int64"),
        (lambda s: {f"transformer.{n}": t for n, t in s.items()}, r"unknown \(\d+\): transformer.bert"),
    ],
    ids=["missing", "missing-in-head", "layer-missing", "extra", "layer-extra", "misshapen", "integers", "foreign"],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_listed(tmp_path, edit, message):
    pair("Bert", "ForMaskedLM", tmp_path, **SIZES)
    change(tmp_path, edit)
    with pytest.raises(WeightsError, match=message) as raised:
        BertForMaskedLM.from_pretrained(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}: ")


def test_a_file_that_is_cut_off_or_of_another_architecture_is_refused(tmp_path):
    pair("Albert", "", tmp_path, **SIZES)
    with pytest.raises(WeightsError, match="model_type 'albert'; 'bert' is wanted here"):
        Bert.from_pretrained(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[:-10])
    with pytest.raises(WeightsError, match="damaged or cut off"):
        Albert.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("Bert", {"is_decoder": True}, "config.json has is_decoder=True; only False is known here"),
        (
            "Bert",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type='relative_key'; only 'absolute'",
        ),
        ("Bert", {"num_attention_heads": 3}, "n_heads=3 does not divide d_model=16; try n_heads=2 or 4"),
        ("Bert", {"hidden_act": "mish"}, "unknown activation 'mish'"),
        ("Bert", {"hidden_size": "many"}, "d_model='many' must be a whole number"),
        ("Albert", {"inner_group_num": 2}, "inner_group_num=2; only 1 is known here"),
    ],
)
def test_settings_that_the_code_does_not_follow_are_refused(tmp_path, family, settings, message):
    pair(family, "", tmp_path, **SIZES)
    change_settings(tmp_path, **settings)
    with pytest.raises(WeightsError, match=message):
        (Bert if family == "Bert" else Albert).from_pretrained(tmp_path)


def test_settings_left_out_have_the_published_defaults(tmp_path):
    pair("Bert", "", tmp_path, **SIZES)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **SIZES}))
    config = Bert.from_pretrained(tmp_path).config
    assert config.activation == "gelu" and config.dropout == 0.1 and config.n_labels == 2


@pytest.mark.assets
@pytest.mark.parametrize("cls", [BertForMaskedLM, BertForSequenceClassification, BertForQuestionAnswering])
def test_heads_go_on_the_real_minilm_when_asked_for(cls):
    with pytest.raises(WeightsError, match=f"minilm: the checkpoint has no .* of a {cls.__name__}"):
        cls.from_pretrained("minilm")
    model = cls.from_pretrained("minilm", new_head=True)
    state = load_file(assets.path("minilm") / WEIGHTS)
    assert torch.equal(model.bert.embeddings.words.weight, state["embeddings.word_embeddings.weight"])
