import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.reference import pretraining as slow
from tlcourse.pretraining import IGNORED, pack, windows

EOS = 99
documents = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=12), min_size=1, max_size=6)


@given(documents, st.integers(1, 9))
def test_packed_blocks_are_those_of_a_slow_loop(docs, block_size):
    inputs, labels = slow.pack(docs, block_size, EOS)
    found = pack(docs, block_size, EOS)
    assert found.input_ids.tolist() == inputs and found.labels.tolist() == labels
    assert found.input_ids.dtype == found.labels.dtype == torch.int64


@given(documents, st.integers(1, 9))
def test_every_token_and_end_is_a_label_once_and_follows_its_input(docs, block_size):
    inputs, labels = (x.flatten() for x in pack(docs, block_size, EOS))
    kept = labels != IGNORED
    assert labels[kept].tolist() == [id for d in docs for id in (*d, EOS)]
    assert inputs[kept].tolist() == [EOS, *labels[kept].tolist()[:-1]]
    assert (~kept).sum() < block_size and inputs[~kept].tolist() == [EOS] * int((~kept).sum())


def test_first_token_of_a_document_is_predicted_from_the_end_sign():
    inputs, labels = pack([[1, 2], [3]], 3, EOS)
    assert inputs.tolist() == [[EOS, 1, 2], [EOS, 3, EOS]]
    assert labels.tolist() == [[1, 2, EOS], [3, EOS, IGNORED]]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 9), st.data())
def test_windows_score_each_token_once_with_what_comes_before_it(document, block_size, data):
    stride = data.draw(st.integers(1, block_size))
    inputs, labels = windows(document, block_size, EOS, stride=stride)
    stream, place = [EOS, *document], 0
    for row, (ids, wanted) in enumerate(zip(inputs.tolist(), labels.tolist(), strict=True)):
        start = row * stride
        stop = min(start + block_size, len(document))
        assert ids == stream[start:stop] + [EOS] * (block_size - stop + start)
        for t, label in enumerate(wanted):
            if label != IGNORED:
                assert label == document[place] and ids[: t + 1] == stream[start : start + t + 1]
                assert place + 1 == start + t + 1  # the label comes right after its input
                assert row == 0 or t + 1 > block_size - stride
                place += 1
    assert place == len(document)


def test_default_stride_is_half_a_block():
    document = list(range(20))
    expected, found = windows(document, 8, EOS, stride=4), windows(document, 8, EOS)
    assert torch.equal(found.input_ids, expected.input_ids) and torch.equal(found.labels, expected.labels)
    assert windows([7], 1, EOS).labels.tolist() == [[7]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack([], 4, EOS), "the corpus is empty; give at least one document"),
        (lambda: pack([[1], []], 4, EOS), "document 1 has no tokens; leave it out"),
        (lambda: pack([[1, -2]], 4, EOS), "document 0 has the id -2; ids begin at 0"),
        (lambda: pack([[1]], 0, EOS), "block_size=0 must be at least 1"),
        (lambda: windows([], 4, EOS), "document 0 has no tokens"),
        (lambda: windows([1], 0, EOS), "block_size=0 must be at least 1"),
        (lambda: windows([1], 4, EOS, stride=5), "stride=5 is outside 1…block_size=4; try 2"),
        (lambda: windows([1], 4, EOS, stride=0), "stride=0 is outside 1…block_size=4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
