"""What bfloat16 weights cost in quality: perplexity of the book's own GPT-2 on held-out text, against float32."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch

from tlcourse import datasets, weights
from tlcourse.models.gpt2 import GPT2
from tlcourse.pretraining import perplexity_per_byte, token_nats, windows
from tlcourse.tokenizers import ByteLevelBPE

CHECKPOINTS = {"gpt2-mini-bible": "bible", "gpt2-mini-wordnet": "wordnet"}  # and the corpus each has learned
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
N_DOCUMENTS = 60


def held_out(corpus: str, n_documents: int = N_DOCUMENTS) -> list[str]:
    """Test documents of a corpus, evenly spaced over all of them."""
    documents = datasets.corpus(corpus, "test")
    return [d.text for d in documents[:: max(1, len(documents) // n_documents)]]


def perplexities(source: str | Path, texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """{"float32": {"per token": …, "per byte": …}, "bfloat16": …} of a checkpoint on texts, each by itself.

    source: a checkpoint's name or a folder with the model and its tokenizer. Raises FileNotFoundError that names what
    is missing.
    """
    folder = find(source)
    vocab, model = ByteLevelBPE.load(folder), GPT2.from_pretrained(folder)
    documents = [vocab.encode(text) for text in texts]
    n_tokens = sum(map(len, documents))
    found = {}
    for name, dtype in DTYPES.items():
        nats = total_nats(copy.deepcopy(model).to(dtype), documents, vocab.eos_token_id) / n_tokens
        found[name] = {
            "per token": float(torch.tensor(nats, dtype=torch.float64).exp()),
            "per byte": perplexity_per_byte(nats, n_tokens, texts),
        }
    return found


@torch.inference_mode()
def total_nats(model: GPT2, documents: Sequence[Sequence[int]], eos_token_id: int, n_rows: int = 16) -> float:
    """Cross entropy of all tokens together, seen in overlapping windows; added up in float32 whatever the weights."""
    total = 0.0
    for document in documents:
        ids, labels = windows(document, model.config.n_positions, eos_token_id)
        for rows in zip(ids.split(n_rows), labels.split(n_rows), strict=True):
            total += token_nats(model(rows[0]).float(), rows[1]).sum().item()
    return total


def find(source: str | Path) -> Path:
    """The folder of a checkpoint."""
    try:
        return weights.locate(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{str(source)!r} is neither in data/checkpoints nor a folder; the book's own checkpoints are made with:"
            " make experiment NAME=pretrained/checkpoints"
        ) from error
