"""The pretrained encoders against transformers and timm, and official layouts written locally."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tlcourse import assets, weights
from tlcourse.models import encoders

CONFIG = {
    "model_type": "bert", "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 16, "type_vocab_size": 2,
}  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "film", "was", "good", "bad", "very", "##ly", "!"]


def official(kind: str):
    """A tiny random model of transformers and its published state dict, in the layout `kind`."""
    from transformers import BertConfig, BertForPreTraining, BertModel

    torch.manual_seed(0)
    model = BertModel(BertConfig(**CONFIG)) if kind == "bare" else BertForPreTraining(BertConfig(**CONFIG))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if kind == "original":  # as bert-base-uncased was published: gamma, beta, and the positions stored
        state = {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
            for k, v in state.items()
        }
        state["bert.embeddings.position_ids"] = torch.arange(16)[None]
    return getattr(model, "bert", model).eval(), state


@pytest.fixture
def folder(tmp_path):
    """A local folder in the Hugging Face layout with a tiny tokenizer; the caller adds the weights."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    tokenizer = Tokenizer(WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    specials = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=specials)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def batch(folder):
    data = encoders.encode_texts(["the film was very good!", "bad"], [1, 0], source=folder)
    return encoders.collate_sentences([data[0], data[1]])


@pytest.mark.parametrize("kind", ["bare", "pretraining", "original"])
def test_encoder_equals_transformers_on_published_layouts(folder, kind):
    reference, state = official(kind)
    save_file(state, folder / "model.safetensors")
    encoder = encoders.sentence_encoder(folder).eval()
    inputs = batch(folder)
    ours = encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    theirs = reference(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    assert torch.equal(ours, theirs)


def without(state):
    return {k: v for k, v in state.items() if k != "encoder.layer.1.output.dense.weight"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without, "encoder.layer.1.output.dense.weight"),
        (lambda s: s | {"surprise": torch.zeros(1)}, "surprise"),
    ],
)
def test_missing_and_foreign_tensors_are_named(folder, change, named):
    _, state = official("bare")
    save_file(change(state), folder / "model.safetensors")
    with pytest.raises(weights.WeightsError, match=named):
        encoders.sentence_encoder(folder)


def test_another_architecture_is_refused_by_name(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="model_type 'gpt2'"):
        encoders.sentence_encoder(folder)


def test_random_start_depends_on_its_seed_alone(folder):
    def weight(seed):
        encoder = encoders.sentence_encoder(folder, pretrained=False, seed=seed)
        return encoder.encoder.layer[0].output.dense.weight

    torch.manual_seed(1)
    first = weight(0)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, weight(0)) and not torch.equal(first, weight(1))
    assert torch.equal(state, torch.get_rng_state())


def test_padding_does_not_change_the_classifier(folder):
    _, state = official("bare")
    save_file(state, folder / "model.safetensors")
    classifier = encoders.SentenceClassifier(encoders.sentence_encoder(folder), 3, seed=0).eval()
    both = batch(folder)
    alone = encoders.collate_sentences([encoders.encode_texts(["bad"], source=folder)[0]])
    together = classifier(both["input_ids"], both["attention_mask"])
    single = classifier(alone["input_ids"], alone["attention_mask"])
    assert together.shape == (2, 3) and torch.allclose(together[1], single[0], atol=1e-6)


def test_features_are_the_mean_over_unpadded_positions(folder):
    _, state = official("bare")
    save_file(state, folder / "model.safetensors")
    classifier = encoders.SentenceClassifier(encoders.sentence_encoder(folder)).eval()
    inputs = batch(folder)
    states = classifier.encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    expected = torch.stack(
        [s[: int(m.sum())].mean(0) for s, m in zip(states, inputs["attention_mask"], strict=True)]
    )
    found = classifier.features(inputs["input_ids"], inputs["attention_mask"])
    assert torch.allclose(found, expected, atol=1e-6)


def test_texts_are_cut_to_max_length_and_keep_their_labels(folder):
    data = encoders.encode_texts(["the film was very good !"] * 2, [1, 0], max_length=4, source=folder)
    assert data.lengths == [4, 4] and data[1][1] == 0 and len(data) == 2
    assert data.ids[0][0] == 2 and data.ids[0][-1] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: encoders.encode_texts(["a"], [1, 0], source=f), "1 texts but 2 labels"),
        (lambda f: encoders.encode_texts(["a"], max_length=2, source=f), "max_length=2"),
        (lambda f: encoders.SentenceClassifier(None, 1), "n_classes=1"),
        (lambda f: encoders.ImageData(np.zeros((2, 4, 4)), np.zeros(3)), "2 images but 3 labels"),
    ],
)
def test_bad_input_is_named(folder, call, message):
    with pytest.raises(ValueError, match=message):
        call(folder)


def test_images_become_three_equal_channels_in_minus_one_to_one():
    rows = encoders.ImageData(np.array([[[0, 255], [51, 102]]] * 2, dtype=np.uint8), np.array([1, 0]))
    inputs = encoders.collate_images([rows[0], rows[1]])
    assert len(rows) == 2 and inputs["images"].shape == (2, 3, 2, 2)
    assert torch.allclose(inputs["images"][0, 2], torch.tensor([[-1.0, 1.0], [-0.6, -0.2]]))
    assert inputs["labels"].tolist() == [1, 0]


def test_lite0_key_table_names_every_tensor_once_in_the_order_of_the_checkpoint():
    import timm

    wanted = list(timm.create_model("tf_efficientnet_lite0").state_dict())
    assert sorted(encoders._lite0_keys().values()) == sorted(wanted)


def test_lite0_with_another_head_keeps_the_seed(monkeypatch):
    one, other = (encoders.efficientnet_lite0(2, pretrained=False, seed=s) for s in (0, 1))
    again = encoders.efficientnet_lite0(2, pretrained=False, seed=0)
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert one.classifier.weight.shape == (2, 1280)


@pytest.mark.assets
def test_real_minilm_equals_transformers():
    from transformers import BertModel

    theirs = BertModel.from_pretrained(assets.path("minilm"), add_pooling_layer=False).eval()
    data = encoders.encode_texts(["A small test.", "And a longer one, with more words in it."])
    inputs = encoders.collate_sentences([data[0], data[1]])
    ours = encoders.minilm().eval()(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    expected = theirs(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    assert torch.equal(ours, expected)


@pytest.mark.assets
def test_real_lite0_equals_timm_with_the_tensors_in_order():
    import timm

    state = torch.load(assets.path("efficientnet-lite0", "efficientnet-lite0.pth"), weights_only=True)
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state.values(), strict=True)))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    # channels_last kernels add up in another order, hence a tolerance
    assert torch.allclose(encoders.efficientnet_lite0().eval()(x), theirs(x), atol=1e-4)
