"""The order of the data, and predictions in the order of the data set."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tlcourse.training import predict
from tlcourse.training.batches import epoch_batches, reader

SIZES = {"n_items": st.integers(1, 300), "batch_size": st.integers(1, 40), "seed": st.integers(0, 2**32 - 1)}


@given(**SIZES, epoch=st.integers(0, 50), with_lengths=st.booleans())
def test_an_epoch_has_every_item_once_in_full_batches_but_one(n_items, batch_size, seed, epoch, with_lengths):
    lengths = [(7 * i) % 13 for i in range(n_items)] if with_lengths else None
    batches = epoch_batches(n_items, batch_size, seed, epoch, lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(n_items))
    full, rest = divmod(n_items, batch_size)
    assert sorted(map(len, batches)) == sorted([batch_size] * full + [rest] * (rest > 0))
    assert batches == epoch_batches(n_items, batch_size, seed, epoch, lengths)
    assert all(type(i) is int for batch in batches for i in batch)


def test_epochs_and_seeds_differ_in_order():
    orders = [np.concatenate(epoch_batches(50, 8, seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 6


def test_without_lengths_every_item_comes_first_equally_often():
    """2,000 orders of 4 items: each first 500 ± 19.4 times; 5 standard deviations are allowed."""
    firsts = np.bincount([epoch_batches(4, 2, 3, epoch)[0][0] for epoch in range(2000)])
    assert np.abs(firsts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_lengths_leave_little_padding_and_batches_in_no_order_of_length():
    lengths = np.random.default_rng(0).integers(5, 60, size=3000)

    def padded(batches):
        return sum(lengths[batch].max() * len(batch) for batch in batches) / lengths.sum()

    sorted_ones = epoch_batches(3000, 16, 0, 0, lengths)
    assert padded(sorted_ones) < 1.05 < 1.5 < padded(epoch_batches(3000, 16, 0, 0))
    means = [lengths[batch].mean() for batch in sorted_ones]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


def test_a_reader_uses_the_data_sets_own_way_to_read_many():
    class Many(list):
        def __getitems__(self, numbers):
            return [torch.tensor(-i) for i in numbers]

    assert reader(Many([0, 1, 2]), None, torch.device("cpu"))([2, 1]).tolist() == [-2, -1]


def test_a_reader_puts_batches_on_the_device():
    read = reader([{"x": torch.ones(2)}], None, torch.device("meta"))
    assert read([0])["x"].device.type == "meta"


class Echo(nn.Module):
    """Returns what it gets, times a parameter; counts calls and their widths."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.sizes = []

    def forward(self, x):
        self.sizes.append(tuple(x.shape))
        return x * self.scale


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_predictions_come_in_the_order_of_the_data(batch_size):
    data = [torch.tensor([float(i), -float(i)]) for i in range(10)]
    lengths = [5, 1, 9, 2, 2, 7, 0, 3, 8, 4]
    expected = torch.stack(data) * 2
    assert torch.equal(predict(Echo(), data, batch_size=batch_size), expected)
    assert torch.equal(predict(Echo(), data, batch_size=batch_size, lengths=lengths), expected)


def test_lengths_put_similar_items_together_the_longest_first():
    model, data = Echo(), [torch.tensor([float(n)]) for n in (5, 1, 9, 2)]
    seen = []

    def forward(model, batch):
        seen.append(batch.flatten().tolist())
        return model(batch)

    predict(model, data, batch_size=2, lengths=[5, 1, 9, 2], forward=forward)
    assert seen == [[9, 5], [2, 1]]


def test_predict_equals_a_loop_over_single_texts_with_padding():
    """A transformers encoder on mappings, padded in collate: each row as the text alone gives it."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertForSequenceClassification(config)
    texts = [torch.randint(1, 30, (n,)) for n in (3, 9, 1, 5, 7)]

    def collate(items):
        ids = nn.utils.rnn.pad_sequence(items, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    lengths = [len(text) for text in texts]
    model.train()
    together = predict(model, texts, collate=collate, batch_size=2, lengths=lengths)
    assert model.training and model.bert.training
    model.eval()
    with torch.no_grad():
        alone = torch.cat([model(text[None], torch.ones(1, len(text))).logits for text in texts])
    # Other matrix shapes round otherwise: float32, two layers.
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_predict_restores_each_modules_mode_also_after_an_error():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5), nn.BatchNorm1d(1))
    model[1].eval()
    predict(model, [torch.ones(1)] * 3)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    with pytest.raises(RuntimeError):
        predict(model, [torch.ones(2)])
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert torch.equal(model[2].running_mean, torch.zeros(1))


def test_predictions_can_be_trained_on():
    features = predict(Echo(), [torch.ones(3)] * 4)
    assert not features.requires_grad and not features.is_inference()
    probe = nn.Linear(3, 1)
    probe(features).sum().backward()
    assert torch.equal(probe.weight.grad, torch.full((1, 3), 8.0))


def test_a_model_without_parameters_predicts_on_the_cpu():
    assert torch.equal(predict(nn.Tanh(), [torch.zeros(2)]), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "the data set is empty"),
        ([torch.ones(1)], {"batch_size": 0}, "batch_size=0 must be at least 1"),
        ([torch.ones(1)], {"lengths": [1, 1]}, "2 lengths for 1 items; give one per item"),
        (
            [(torch.ones(1), 0)],
            {},
            r"a batch is a list of 2; say what .* forward=lambda model, batch: model\(batch\[0\]\)",
        ),
        (
            [torch.ones(1)],
            {"forward": lambda m, b: {"x": b}},
            "the model returns a dict; choose a tensor of it",
        ),
        ([torch.ones(1)] * 2, {"forward": lambda m, b: m(b).sum()}, r"an output of shape \(\) for 2 items"),
        ([torch.ones(1)] * 2, {"forward": lambda m, b: m(b)[:1]}, r"an output of shape \(1, 1\) for 2 items"),
        (
            [torch.ones(2), torch.ones(3)],
            {"batch_size": 1},
            r"outputs of shapes \(1, 2\) and \(1, 3\) make no one tensor; pad to one length",
        ),
    ],
)
def test_predict_refuses_what_does_not_fit_and_says_what(data, options, message):
    with pytest.raises(ValueError, match=message):
        predict(Echo(), data, **options)
