import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.datasets import Document, Parts
from tlcourse.datasets.documents import PARTS, fold, split_groups, without_repeats

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


def documents(sizes):
    return [
        Document(f"{group}/{i}", f"g{group}", (f"text {i} of {group}",))
        for group, n in enumerate(sizes)
        for i in range(n)
    ]


def test_text_joins_the_sentences_with_the_separator():
    assert Document("a", "a", ("One.", "Two.")).text == "One. Two."
    assert Document("a", "a", ("One.", "Two."), "\n\n").text == "One.\n\nTwo."


@given(st.lists(st.integers(1, 6), min_size=40, max_size=60), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_split_keeps_groups_whole_every_record_once_and_their_order(sizes, seed):
    records = documents(sizes)
    parts = split_groups(records, seed, "x", test=0.2, validation=0.2)
    groups = [{r.group for r in parts.part(part)} for part in PARTS]
    assert not any(a & b for a, b in itertools.combinations(groups, 2))
    place = {r.id: i for i, r in enumerate(records)}
    found = [[place[r.id] for r in parts.part(part)] for part in PARTS]
    assert all(part == sorted(part) for part in found)
    assert sorted(itertools.chain(*found)) == list(range(len(records)))
    assert abs(len(parts.test) - 0.2 * len(records)) <= 3


def test_split_depends_on_seed_and_purpose_and_not_on_the_order_of_records():
    records = documents([2] * 30)
    first = split_groups(records, 0, "x")

    def members(parts):
        return {part: {r.id for r in parts.part(part)} for part in PARTS}

    assert members(split_groups(records[::-1], 0, "x")) == members(first)
    assert split_groups(records, 1, "x") != first and split_groups(records, 0, "y") != first


def test_shares_are_of_the_sizes_given():
    records = documents([1] * 40)
    sizes = [100 if i < 20 else 1 for i in range(40)]
    parts = split_groups(records, 0, "x", sizes=sizes, test=0.3, validation=0.2)
    place = {r.id: i for i, r in enumerate(records)}
    share = sum(sizes[place[r.id]] for r in parts.test) / sum(sizes)
    assert abs(share - 0.3) <= 50 / sum(sizes)


def test_empty_part_is_an_error_and_so_is_an_empty_corpus():
    with pytest.raises(ValueError, match="the validation part is empty; try another seed, a larger share"):
        split_groups(documents([5, 5]), 0, "x", test=0.4, validation=0.05)
    with pytest.raises(ValueError, match="the train part is empty"):
        split_groups([], 0, "x")
    with pytest.raises(ValueError, match=r"test=1\.5, validation=0.05 must each lie between 0 and 1"):
        split_groups(documents([1] * 9), 0, "x", test=1.5)


def test_group_in_two_parts_is_named():
    a, b, c = documents([1, 1, 1])
    with pytest.raises(ValueError, match="group 'g0' is in train and in test; split by group"):
        Parts((a,), (b,), (c, a))


@pytest.mark.parametrize("name", ["dev", "group", "__class__"])
def test_unknown_part_is_named_with_the_choices(name):
    parts = Parts(*((d,) for d in documents([1, 1, 1])))
    with pytest.raises(ValueError, match=f"unknown part '{name}'; choose one of train, validation, test"):
        parts.part(name)


def test_held_out_sentences_that_training_repeats_are_dropped():
    train = Document("t", "t", (f"{LONG} fourteen fifteen.", "Short one."))
    held = ("Zero " + LONG.upper() + "!", "short ONE", "Quite new.", LONG.replace("seven", "7"))
    validation = Document("v", "v", (*held, "Known to validation."))
    test = Document("x", "x", ("known to validation", "But this is not.", "Short one. Or not"))
    found = without_repeats(Parts((train,), (validation,), (test,)))
    assert found.train == (train,)
    assert found.validation[0].sentences == ("Quite new.", held[3], "Known to validation.")
    assert found.test[0].sentences == ("But this is not.", "Short one. Or not")


def test_documents_with_nothing_left_go_and_a_part_with_none_is_an_error():
    train, same = Document("t", "t", ("Hello there.",)), Document("v", "v", ("Hello there!",))
    other, test = Document("o", "o", ("New.",)), Document("x", "x", ("Newer.",))
    assert without_repeats(Parts((train,), (same, other), (test,))).validation == (other,)
    with pytest.raises(ValueError, match="the validation part is empty"):
        without_repeats(Parts((train,), (same,), (test,)))


words = st.lists(st.sampled_from("ab"), min_size=1, max_size=18).map(" ".join)


@given(*[st.lists(words, min_size=1, max_size=4)] * 2)
@settings(max_examples=200)
def test_repeats_are_those_a_slow_search_finds(known, held):
    """All words, or thirteen in a row, stand so in training text."""
    train = Document("t", "t", tuple(known))
    parts = Parts((train,), (Document("v", "v", (*held, "c")),), (Document("x", "x", ("d",)),))

    def repeated(sentence):
        own = sentence.split()
        if len(own) < 13:
            return own in [k.split() for k in known]
        runs = [own[i : i + 13] for i in range(len(own) - 12)]
        return any(k.split()[j : j + 13] in runs for k in known for j in range(len(k.split())))

    assert list(without_repeats(parts).validation[0].sentences) == [s for s in held if not repeated(s)] + [
        "c"
    ]


@pytest.mark.parametrize(
    ("text", "folded"), [("  It’s  A\nTest—yes. ", "it s a test yes"), ("ÉTÉ", "été"), ("...", "")]
)
def test_fold_keeps_letters_and_digits_in_lower_case(text, folded):
    assert fold(text) == folded
