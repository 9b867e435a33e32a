"""ALBERT, a BERT with fewer parameters (Lan et al. 2020): factorised embeddings, and layers that share weights.

Two savings, each of which can be left out: words have vectors of width E < D, mapped to D by one matrix
(E = D: not factorised); and layers are repeated, `n_groups` different ones for `n_layers` in all
(n_groups = n_layers: not shared). Instead of the next sentence it learns the order of two.
Shapes: B batch, T positions, D width, E width of the embeddings, A heads, V vocabulary, L labels.
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
class AlbertConfig(EncoderConfig):
    """Sizes of an ALBERT; without arguments those of albert-base-v2. Other fields: see `EncoderConfig`.

    d_embedding: E; n_groups: layers that differ, a divisor of n_layers; each is used for a run of neighbours.
    """

    vocab_size: int = 30000
    activation: str = "gelu_new"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    classifier_dropout: float = 0.1
    d_embedding: int = 128
    n_groups: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.n_layers % self.n_groups:
            raise ValueError(
                f"n_groups={self.n_groups} does not divide n_layers={self.n_layers}; 1 shares all layers, "
                f"{self.n_layers} none"
            )

    def group(self, layer: int) -> int:
        """Which group's weights layer 0 … n_layers − 1 uses."""
        return layer * self.n_groups // self.n_layers


ALBERT_BASE = AlbertConfig()  # 11.7 M parameters
ALBERT_LARGE = AlbertConfig(d_model=1024, n_layers=24, n_heads=16, d_inner=4096)  # 17.7 M
ALBERT_XLARGE = AlbertConfig(d_model=2048, n_layers=24, n_heads=16, d_inner=8192)  # 58.7 M
ALBERT_XXLARGE = AlbertConfig(d_model=4096, n_heads=64, d_inner=16384)  # 222.6 M
ALBERT_MINI = AlbertConfig(d_model=256, n_layers=4, n_heads=4, d_inner=1024, d_embedding=64)

_GROUP = "albert.encoder.albert_layer_groups.{}.albert_layers.0"
ALBERT = Family(
    model_type="albert",
    defaults=ALBERT_XXLARGE,
    settings=ENCODER_SETTINGS
    | {
        "classifier_dropout": "classifier_dropout_prob",
        "d_embedding": "embedding_size",
        "n_groups": "num_hidden_groups",
    },
    fixed={"inner_group_num": 1, "position_embedding_type": "absolute"},
    prefix="albert.",
    encoder={
        "albert.embeddings.word_embeddings.weight": "albert.embeddings.words.weight",
        "albert.embeddings.position_embeddings.weight": "albert.embeddings.positions.weight",
        "albert.embeddings.token_type_embeddings.weight": "albert.embeddings.types.weight",
        **linears(
            {
                "albert.embeddings.LayerNorm": "albert.embeddings.norm",
                "albert.encoder.embedding_hidden_mapping_in": "albert.widen",
                f"{_GROUP}.attention.query": "albert.groups.{}.attention.query",
                f"{_GROUP}.attention.key": "albert.groups.{}.attention.key",
                f"{_GROUP}.attention.value": "albert.groups.{}.attention.value",
                f"{_GROUP}.attention.dense": "albert.groups.{}.attention.output",
                f"{_GROUP}.attention.LayerNorm": "albert.groups.{}.attention_norm",
                f"{_GROUP}.ffn": "albert.groups.{}.feed_forward.up",
                f"{_GROUP}.ffn_output": "albert.groups.{}.feed_forward.down",
                f"{_GROUP}.full_layer_layer_norm": "albert.groups.{}.feed_forward_norm",
            }
        ),
    },
    heads={
        "pooler": linears({"albert.pooler": "pooler.dense"}),
        "words": linears({"predictions.dense": "words.dense", "predictions.LayerNorm": "words.norm"})
        | {"predictions.bias": "words.bias"},
        "sentence_order": linears({"sop_classifier.classifier": "sentence_order"}),
        "classifier": linears({"classifier": "classifier"}),
        "span": linears({"qa_outputs": "span"}),
    },
    copies={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    dropped=("albert.embeddings.position_ids",),  # 0, 1, 2, …
)


class Albert(Pretrained):
    """The encoder: ids (B, T) → last hidden states (B, T, D).

    The map from E to D is there at E = D too, as in transformers. seed: of the random start, every matrix and table
    normal with sd init_sd; a torch.Generator draws on.
    """

    FAMILY, OFFICIAL = ALBERT, "AlbertModel"

    def __init__(self, config: AlbertConfig = ALBERT_BASE, *, seed: int | torch.Generator = 0):
        super().__init__()
        self.config = config
        with torch.device("meta"):  # no memory and no numbers yet: start_normal gives both
            self.embeddings = TextEmbeddings(config, config.d_embedding)
            self.widen = nn.Linear(config.d_embedding, config.d_model)
            self.groups = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_groups))
        start_normal(self, config.init_sd, as_generator(seed))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """input_ids, attention_mask (1 word, 0 padding), token_type_ids: (B, T). Returns (B, T, D).

        Raises ValueError on ids outside their tables, too many positions, other shapes, a row of padding alone.
        """
        x = self.widen(self.embeddings(input_ids, token_type_ids))  # (B, T, E) → (B, T, D)
        mask = padding_mask(attention_mask, input_ids)
        for i in range(self.config.n_layers):
            layer = self.groups[self.config.group(i)]
            x, _ = layer(x, mask)
        return x

    def trace(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Trace:
        """All hidden states and all attention weights of one forward pass, which is slower and takes more memory."""
        states, weights = [self.widen(self.embeddings(input_ids, token_type_ids))], []
        mask = padding_mask(attention_mask, input_ids)
        for i in range(self.config.n_layers):
            layer = self.groups[self.config.group(i)]
            x, w = layer(states[-1], mask, need_weights=True)
            states.append(x)
            weights.append(w)
        return Trace(tuple(states), tuple(weights))


class AlbertPreTrainingLogits(NamedTuple):
    """words: (B, T, V), or (N, V) at chosen positions; sentence_order: (B, 2), 0 as written, 1 swapped."""

    words: Tensor
    sentence_order: Tensor


class _AlbertWithHead(Pretrained):
    """An encoder under `albert`, and the parts that the class names in PARTS, all drawn from one seed."""

    FAMILY = ALBERT

    def __init__(self, config: AlbertConfig = ALBERT_BASE, *, seed: int | torch.Generator = 0):
        super().__init__()
        generator = as_generator(seed)
        self.config = config
        self.albert = Albert(config, seed=generator)
        with torch.device("meta"):
            parts = {
                "pooler": lambda: Pooler(config.d_model),
                "words": lambda: WordHead(config, config.d_embedding),
                "sentence_order": lambda: nn.Linear(config.d_model, 2),
                "classifier": lambda: nn.Linear(config.d_model, config.n_labels),
                "span": lambda: nn.Linear(config.d_model, 2),
            }
            for name in self.PARTS:
                self.add_module(name, parts[name]())
        for name in self.PARTS:
            start_normal(self.get_submodule(name), config.init_sd, generator)

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.classifier_dropout, self.training)


class AlbertForPreTraining(_AlbertWithHead):
    """Masked words and the order of two sentences, the tasks that ALBERT learns from."""

    OFFICIAL, PARTS = "AlbertForPreTraining", ("pooler", "words", "sentence_order")

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> AlbertPreTrainingLogits:
        """positions: see AlbertForMaskedLM."""
        states = self.albert(input_ids, attention_mask, token_type_ids)
        words = self.words(states, self.albert.embeddings.words.weight, positions)
        return AlbertPreTrainingLogits(words, self.sentence_order(self._dropout(self.pooler(states))))


class AlbertForMaskedLM(_AlbertWithHead):
    """A score for each word of the vocabulary at each position: logits (B, T, V)."""

    OFFICIAL, PARTS = "AlbertForMaskedLM", ("words",)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """positions: (B, T) boolean with N True, where words are to be scored; the logits are then (N, V)."""
        states = self.albert(input_ids, attention_mask, token_type_ids)
        return self.words(states, self.albert.embeddings.words.weight, positions)


class AlbertForSequenceClassification(_AlbertWithHead):
    """One answer for a sentence or a pair, from the state of [CLS]: logits (B, L)."""

    OFFICIAL, PARTS = "AlbertForSequenceClassification", ("pooler", "classifier")

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        states = self.albert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self._dropout(self.pooler(states)))


class AlbertForTokenClassification(_AlbertWithHead):
    """One answer for each position, such as the kind of a name: logits (B, T, L)."""

    OFFICIAL, PARTS = "AlbertForTokenClassification", ("classifier",)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        return self.classifier(self._dropout(self.albert(input_ids, attention_mask, token_type_ids)))


class AlbertForQuestionAnswering(_AlbertWithHead):
    """Where the answer starts and ends in the text: logits (B, T, 2), `start, end = logits.unbind(-1)`."""

    OFFICIAL, PARTS = "AlbertForQuestionAnswering", ("span",)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        return self.span(self.albert(input_ids, attention_mask, token_type_ids))
