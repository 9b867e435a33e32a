"""What is timed: batches, and the operations and bytes it is charged with."""

import torch

from benchmarks import sides, work
from tests.benchmarks.conftest import TINY


def test_rows_have_their_lengths_and_labels_stand_at_tokens_alone():
    batch = work.random_batch(1000, (40, 40, 17, 1), masked=True)
    assert batch.attention_mask.sum(1).tolist() == [40, 40, 17, 1]
    assert (batch.attention_mask.diff(dim=1) <= 0).all()  # padding is on the right
    labelled = batch.labels != work.IGNORED
    assert torch.equal(batch.labels[labelled], batch.input_ids[labelled])
    assert not labelled[batch.attention_mask == 0].any()
    assert labelled[:, 0].all() and 0.05 < labelled[:, 1:].sum() / 94 < 0.3


def test_the_label_of_a_next_token_is_the_next_token():
    batch = work.random_batch(1000, (6, 6), masked=False)
    assert torch.equal(batch.labels[:, :-1], batch.input_ids[:, 1:])
    assert (batch.labels[:, -1] == work.IGNORED).all()


def test_a_batch_is_the_same_again():
    first, again = (work.random_batch(50, (6, 3), masked=True) for _ in range(2))
    assert torch.equal(first.input_ids, again.input_ids) and torch.equal(first.labels, again.labels)


def test_images_have_their_shape_and_labels_of_all_classes_are_possible():
    first, again = (work.random_images(200, 4, 3) for _ in range(2))
    assert first.images.shape == (200, 3, 4, 4) and first.labels.unique().tolist() == [0, 1, 2]
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)


def test_a_few_directions_hold_most_of_the_features_and_these_tell_the_labels_in_part():
    (features, labels), (again, _) = (work.random_features(900, 40, 3) for _ in range(2))
    assert features.shape == (900, 40) and features.dtype == torch.float64 and torch.equal(features, again)
    assert labels.bincount().tolist() == [300] * 3
    centres = torch.stack([features[labels == c].mean(0) for c in range(3)])
    inside = features - centres[labels]
    singular = torch.linalg.svdvals(inside)
    falls = torch.arange(1, 41, dtype=torch.float64) ** -0.5
    torch.testing.assert_close(singular / 900**0.5, falls, rtol=0.2, atol=0)
    between = 300 * (centres - centres.mean(0)).square().sum() / inside.square().sum()
    assert 0.01 < between < 0.5


def test_forward_leaves_no_graph_and_no_dropout_behind():
    model = sides.both(TINY["bert-base"]).ours.train()
    batch = work.random_batch(61, (5, 5), masked=True)
    found = work.forward(model, batch)()
    assert not found.requires_grad and not model.training


def test_operations_are_those_of_the_matrix_products():
    """Each weight is multiplied once a token, and attention makes two products of T × T × D a layer."""
    pair, batch = sides.both(TINY["gpt2-124m"]), work.random_batch(61, (10,) * 3, masked=False)
    weights = 2 * (4 * 12 * 12 + 2 * 12 * 20) + 61 * 12
    attention = (
        2 * 2 * 10 * 10 * 12
    )  # of a row and a layer: two products, a multiplication and an addition each
    assert work.forward_flops(pair.ours, batch) == 2 * 30 * weights + 3 * 2 * attention


def test_operations_of_a_convolution_are_counted():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(80, 7)
    )
    flops = 2 * 2 * (4 * 4 * 5 * 3 * 9 + 80 * 7)  # of two images: a multiplication and an addition each
    assert work.forward_flops(model, work.random_images(2, 4, 7)) == flops


def test_a_new_token_reads_all_weights_but_rows_of_tables():
    model = sides.both(TINY["gpt2-124m"]).ours
    layer = 12 * 36 + 36 + 12 * 12 + 12 + 2 * 12 * 20 + 20 + 12 + 4 * 12
    assert work.weight_bytes(model) == 4 * (2 * layer + 2 * 12 + 61 * 12)
    assert work.weight_bytes(model.to(torch.bfloat16)) == 2 * (2 * layer + 2 * 12 + 61 * 12)
