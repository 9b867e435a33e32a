"""Perplexity in both precisions, against reading one token at a time."""

import math

import pytest
import torch

from benchmarks import half
from tlcourse.models.gpt2 import GPT2, GPT2Config
from tlcourse.tokenizers import ByteLevelBPE

TEXTS = ["in the beginning was the word", "the word was good", "a"]


@pytest.fixture
def folder(tmp_path):
    vocab = ByteLevelBPE.train(TEXTS, 270)
    vocab.save(tmp_path)
    sizes = {"vocab_size": len(vocab), "n_positions": 64, "d_model": 12, "n_layers": 2, "n_heads": 2}
    GPT2(GPT2Config(**sizes, init_sd=0.3)).save_pretrained(tmp_path)
    return tmp_path


def test_perplexity_is_that_of_reading_token_by_token(folder):
    vocab, model = ByteLevelBPE.load(folder), GPT2.from_pretrained(folder)
    nats, n_tokens = 0.0, 0
    with torch.no_grad():
        for text in TEXTS:
            seen = [vocab.eos_token_id]
            for token in vocab.encode(text):
                nats -= model(torch.tensor([seen]))[0, -1].double().log_softmax(-1)[token].item()
                seen.append(token)
            n_tokens += len(seen) - 1
    found = half.perplexities(folder, TEXTS)
    n_bytes = sum(map(len, TEXTS))
    assert found["float32"] == pytest.approx(  # single precision, added up over some thirty tokens
        {"per token": math.exp(nats / n_tokens), "per byte": math.exp(nats / n_bytes)}, rel=1e-5
    )


def test_bfloat16_is_near_but_not_equal(folder):
    found = half.perplexities(folder, TEXTS)
    for per, single in found["float32"].items():
        assert found["bfloat16"][per] == pytest.approx(single, rel=0.05)  # 8 bits of mantissa
        assert found["bfloat16"][per] != single


def test_many_windows_are_read_a_few_at_a_time_with_the_same_sum(folder):
    model = GPT2.from_pretrained(folder)
    document = torch.randint(1, 200, (700,), generator=torch.Generator().manual_seed(0)).tolist()
    sums = [half.total_nats(model, [document], 0, n_rows=n) for n in (1, 100)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-6) and sums[0] > 700


def test_a_checkpoint_that_is_not_there_is_named_with_its_command():
    with pytest.raises(
        FileNotFoundError, match=r"'gpt2-none' is neither in data/checkpoints nor a folder; .*make"
    ):
        half.perplexities("gpt2-none", TEXTS)


def test_held_out_documents_are_spaced_over_the_test_part(monkeypatch):
    class Document:
        def __init__(self, number):
            self.text = str(number)

    def corpus(name, part):
        assert (name, part) == ("bible", "test")
        return [Document(i) for i in range(100)]

    monkeypatch.setattr(half.datasets, "corpus", corpus)
    assert half.held_out("bible", 4) == ["0", "25", "50", "75"]
    assert len(half.held_out("bible", 1000)) == 100
