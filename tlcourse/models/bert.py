"""BERT, a transformer that reads in both directions at once (Devlin et al. 2019), and its heads.

Sentences come in as `[CLS] words [SEP]`, pairs as `[CLS] first [SEP] second [SEP]` with token types 0 and 1.
Shapes: B batch, T positions, D width, A heads, V vocabulary, L labels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.layers import (
    EncoderConfig,
    EncoderLayer,
    Pooler,
    TextEmbeddings,
    Trace,
    WordHead,
    as_generator,
    padding_mask,
    start_normal,
)
from tlcourse.weights import ENCODER_SETTINGS, Family, Pretrained, linears


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """Sizes of a BERT; without arguments those of bert-base-uncased. Fields: see `EncoderConfig`."""


BERT_BASE = BertConfig()  # 109 M parameters
BERT_LARGE = BertConfig(d_model=1024, n_layers=24, n_heads=16, d_inner=4096)  # 335 M
# The small ones of Turc et al. (2019), with the vocabulary of BERT-base.
BERT_MEDIUM = BertConfig(d_model=512, n_layers=8, n_heads=8, d_inner=2048)
BERT_SMALL = BertConfig(d_model=512, n_layers=4, n_heads=8, d_inner=2048)
BERT_MINI = BertConfig(d_model=256, n_layers=4, n_heads=4, d_inner=1024)
BERT_TINY = BertConfig(d_model=128, n_layers=2, n_heads=2, d_inner=512)
MINILM_L6 = BertConfig(
    d_model=384, n_layers=6, n_heads=12, d_inner=1536
)  # Wang et al. (2020), the asset "minilm"

BERT = Family(
    model_type="bert",
    defaults=BERT_BASE,
    settings=ENCODER_SETTINGS | {"classifier_dropout": "classifier_dropout"},
    fixed={"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"},
    prefix="bert.",
    encoder={
        "bert.embeddings.word_embeddings.weight": "bert.embeddings.words.weight",
        "bert.embeddings.position_embeddings.weight": "bert.embeddings.positions.weight",
        "bert.embeddings.token_type_embeddings.weight": "bert.embeddings.types.weight",
        **linears(
            {
                "bert.embeddings.LayerNorm": "bert.embeddings.norm",
                "bert.encoder.layer.{}.attention.self.query": "bert.layers.{}.attention.query",
                "bert.encoder.layer.{}.attention.self.key": "bert.layers.{}.attention.key",
                "bert.encoder.layer.{}.attention.self.value": "bert.layers.{}.attention.value",
                "bert.encoder.layer.{}.attention.output.dense": "bert.layers.{}.attention.output",
                "bert.encoder.layer.{}.attention.output.LayerNorm": "bert.layers.{}.attention_norm",
                "bert.encoder.layer.{}.intermediate.dense": "bert.layers.{}.feed_forward.up",
                "bert.encoder.layer.{}.output.dense": "bert.layers.{}.feed_forward.down",
                "bert.encoder.layer.{}.output.LayerNorm": "bert.layers.{}.feed_forward_norm",
            }
        ),
    },
    heads={
        "pooler": linears({"bert.pooler.dense": "pooler.dense"}),
        "words": linears(
            {
                "cls.predictions.transform.dense": "words.dense",
                "cls.predictions.transform.LayerNorm": "words.norm",
            }
        )
        | {"cls.predictions.bias": "words.bias"},
        "next_sentence": linears({"cls.seq_relationship": "next_sentence"}),
        "classifier": linears({"classifier": "classifier"}),
        "span": linears({"qa_outputs": "span"}),
    },
    copies={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    dropped=("bert.embeddings.position_ids",),  # 0, 1, 2, …
)


class Bert(Pretrained):
    """The encoder: ids (B, T) → last hidden states (B, T, D).

    seed: of the random start, every matrix and table normal with sd init_sd; a torch.Generator draws on.
    """

    FAMILY, OFFICIAL = BERT, "BertModel"

    def __init__(self, config: BertConfig = BERT_BASE, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config = config
        with torch.device("meta"):  # no memory and no numbers yet: start_normal gives both
            self.embeddings = TextEmbeddings(config, config.d_model)
            self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
        start_normal(self, config.init_sd, as_generator(seed))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """input_ids, attention_mask (1 word, 0 padding), token_type_ids: (B, T). Returns (B, T, D).

        Raises ValueError on ids outside their tables, too many positions, other shapes, a row of padding alone.
        """
        x = self.embeddings(input_ids, token_type_ids)
        mask = padding_mask(attention_mask, input_ids)
        for layer in self.layers:
            x, _ = layer(x, mask)
        return x

    def trace(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Trace:
        """All hidden states and all attention weights of one forward pass, which is slower and takes more memory."""
        states, weights = [self.embeddings(input_ids, token_type_ids)], []
        mask = padding_mask(attention_mask, input_ids)
        for layer in self.layers:
            x, w = layer(states[-1], mask, need_weights=True)
            states.append(x)
            weights.append(w)
        return Trace(tuple(states), tuple(weights))


class BertPreTrainingLogits(NamedTuple):
    """words: (B, T, V), or (N, V) at chosen positions; next_sentence: (B, 2), 0 follows, 1 is from elsewhere."""

    words: Tensor
    next_sentence: Tensor


class _BertWithHead(Pretrained):
    """An encoder under `bert`, and the parts that the class names in PARTS, all drawn from one seed."""

    FAMILY = BERT

    def __init__(self, config: BertConfig = BERT_BASE, *, seed: int | torch.Generator = 0):
        super().__init__()
        generator = as_generator(seed)
        self.config = config
        self.bert = Bert(config, seed=generator)
        with torch.device("meta"):
            parts = {
                "pooler": lambda: Pooler(config.d_model),
                "words": lambda: WordHead(config, config.d_model),
                "next_sentence": lambda: nn.Linear(config.d_model, 2),
                "classifier": lambda: nn.Linear(config.d_model, config.n_labels),
                "span": lambda: nn.Linear(config.d_model, 2),
            }
            for name in self.PARTS:
                self.add_module(name, parts[name]())
        for name in self.PARTS:
            start_normal(self.get_submodule(name), config.init_sd, generator)

    def _dropout(self, x: Tensor) -> Tensor:
        share = self.config.classifier_dropout
        return F.dropout(x, self.config.dropout if share is None else share, self.training)


class BertForPreTraining(_BertWithHead):
    """Masked words and next sentence, the two tasks that BERT learns from."""

    OFFICIAL, PARTS = "BertForPreTraining", ("pooler", "words", "next_sentence")

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> BertPreTrainingLogits:
        """positions: see BertForMaskedLM."""
        states = self.bert(input_ids, attention_mask, token_type_ids)
        words = self.words(states, self.bert.embeddings.words.weight, positions)
        return BertPreTrainingLogits(words, self.next_sentence(self.pooler(states)))


class BertForMaskedLM(_BertWithHead):
    """A score for each word of the vocabulary at each position: logits (B, T, V)."""

    OFFICIAL, PARTS = "BertForMaskedLM", ("words",)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """positions: (B, T) boolean with N True, where words are to be scored; the logits are then (N, V)."""
        states = self.bert(input_ids, attention_mask, token_type_ids)
        return self.words(states, self.bert.embeddings.words.weight, positions)


class BertForSequenceClassification(_BertWithHead):
    """One answer for a sentence or a pair, from the state of [CLS]: logits (B, L)."""

    OFFICIAL, PARTS = "BertForSequenceClassification", ("pooler", "classifier")

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        states = self.bert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self._dropout(self.pooler(states)))


class BertForTokenClassification(_BertWithHead):
    """One answer for each position, such as the kind of a name: logits (B, T, L)."""

    OFFICIAL, PARTS = "BertForTokenClassification", ("classifier",)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        return self.classifier(self._dropout(self.bert(input_ids, attention_mask, token_type_ids)))


class BertForQuestionAnswering(_BertWithHead):
    """Where the answer starts and ends in the text: logits (B, T, 2), `start, end = logits.unbind(-1)`."""

    OFFICIAL, PARTS = "BertForQuestionAnswering", ("span",)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        return self.span(self.bert(input_ids, attention_mask, token_type_ids))
