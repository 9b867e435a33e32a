import gzip
import html
import itertools
import json
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from tlcourse import assets, datasets
from tlcourse.datasets import IndexSplit, Sentence, SolarCells, Split, _shuffle, sentences, solar

STEMS = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
PARTS = ("train", "validation", "test")


def sentence(id, valence, *, text=None, domain="products", group=None, ratings=(), made_up=False):
    id = str(id)
    return Sentence(id, domain, group or id.split("_")[0], text or f"text {id}", valence, ratings, made_up)


def alternating(n, **options):
    return tuple(sentence(i, 1.0 if i % 2 else -1.0, **options) for i in range(n))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of files that a test writes itself: `cache / asset / file`."""
    folder = tmp_path / "cache"

    def path(name, file=None):
        return folder / name / file if file else folder / name

    monkeypatch.setattr(assets, "path", path)
    sentences.sentiment.cache_clear()
    yield folder
    sentences.sentiment.cache_clear()


@pytest.fixture
def write_domain(cache):
    """Writes a domain's two files out of rows (id, valence, text[, ratings]), as the archive does."""

    def write(domain, rows, *, ratings_order=None):
        folder = cache / "sentiment"
        folder.mkdir(parents=True, exist_ok=True)
        truth = "\r\n".join(f"{id}\t{valence}\t{text}" for id, valence, text, *_ in rows)
        given = [f"{row[0]}\t{row[1]}\t0.5\t{list(row[3]) if len(row) > 3 else [1, 2]}" for row in rows]
        lines = given if ratings_order is None else [given[i] for i in ratings_order]
        (folder / f"{STEMS[domain]}_GroundTruth.txt").write_bytes(truth.encode())
        (folder / f"{STEMS[domain]}_anonDataRatings.txt").write_bytes(
            ("\ufeff" + "\r\n".join(lines)).encode()
        )

    return write


@pytest.fixture
def products(write_domain):
    """40 groups of 1…12 sentences; valences −2…2 in steps of 0.1, of either sign in turn."""
    rng = np.random.default_rng(0)
    rows = [
        (f"{group}_{i}", round((-1) ** i * rng.integers(1, 21) / 10, 1), f"sentence {i} of group {group}")
        for group in range(1, 41)
        for i in range(rng.integers(1, 13))
    ]
    write_domain("products", rows)
    return rows


# Seeded orders


def test_order_of_a_seed_is_pinned():
    assert _shuffle.shuffled(8, 0, "draw").tolist() == PINNED_DRAW
    assert _shuffle.shuffled(8, 1, "split films").tolist() == PINNED_SPLIT


PINNED_DRAW = [3, 7, 2, 0, 1, 4, 6, 5]
PINNED_SPLIT = [7, 1, 0, 3, 4, 6, 2, 5]


@given(st.integers(0, 200), st.integers(0, 2**70))
def test_order_is_a_permutation(n, seed):
    assert sorted(_shuffle.shuffled(n, seed, "x")) == list(range(n))


def test_every_item_comes_first_equally_often():
    first = Counter(int(_shuffle.shuffled(5, seed, "x")[0]) for seed in range(2000))
    assert all(abs(first[i] - 400) < 80 for i in range(5))  # 4.5 standard deviations


def test_purposes_and_seeds_get_orders_of_their_own():
    orders = [tuple(_shuffle.shuffled(50, seed, what)) for seed in (0, 1) for what in ("draw", "split films")]
    assert len(set(orders)) == 4


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True])
def test_bad_seed_is_named(seed):
    with pytest.raises(ValueError, match=r"seed=.* is not a non-negative integer; try seed=0"):
        _shuffle.shuffled(3, seed, "x")


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.floats(0.01, 0.6),
    st.floats(0.01, 0.35),
)
def test_cuts_take_every_group_once_and_come_as_near_to_the_shares_as_groups_allow(sizes, test, validation):
    sizes = np.array(sizes)
    cuts = _shuffle.cut_sizes(sizes, {"test": test, "validation": validation})
    taken = np.concatenate([np.arange(len(sizes))[cuts[part]] for part in ("test", "validation", "train")])
    assert taken.tolist() == list(range(len(sizes)))
    nearest = min(abs(sizes[:i].sum() - test * sizes.sum()) for i in range(len(sizes) + 1))
    assert abs(sizes[cuts["test"]].sum() - test * sizes.sum()) == pytest.approx(nearest, abs=1e-6)
    assert abs(sizes[cuts["train"]].sum() - (1 - test - validation) * sizes.sum()) <= sizes.max() / 2 + 1e-6


@pytest.mark.parametrize(
    ("test", "validation"), [(0.0, 0.1), (0.25, 0.0), (0.7, 0.3), (1.2, 0.1), (float("nan"), 0.1)]
)
def test_impossible_shares_are_named(test, validation):
    with pytest.raises(
        ValueError, match=f"test={test}, validation={validation} must each lie between 0 and 1"
    ):
        _shuffle.cut_sizes(np.ones(10), {"test": test, "validation": validation})


# Sentences


def test_files_are_read_as_utf8_with_ids_ratings_and_groups(write_domain):
    write_domain(
        "editorials",
        [("12_3", 1.5, "It’s 9 ½ weeks at the Château.", [1, 2]), ("13_1", -0.25, "No.", [-4, 3, 0])],
    )
    first, second = datasets.sentiment("editorials")
    assert first == Sentence("12_3", "editorials", "12", "It’s 9 ½ weeks at the Château.", 1.5, (1, 2), False)
    assert (second.group, second.valence, second.ratings) == ("13", -0.25, (-4, 3, 0))


@pytest.mark.parametrize("domain", ["films", "tweets"])
def test_a_film_sentence_or_tweet_is_its_own_group(write_domain, domain):
    write_domain(domain, [("5000", 1, "one"), ("5001", -1, "two")])
    assert [s.group for s in datasets.sentiment(domain)] == ["5000", "5001"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("fish &amp; chips &lt;3", "fish & chips <3"),
        ("Skadden, Meagher &amp;amp; Flom", "Skadden, Meagher & Flom"),
        ("@anonymous: RT @Some_One2 hi", "@user: RT @user hi"),
        ("write to my_name@example.org (@ home).", "write to @user (@ home)."),
        ("so true... RT@anonymous ...@friend.", "so true... RT @user ...@user."),
        ("  a   film    full of  LIFE ", "a film full of LIFE"),
    ],
)
def test_text_is_cleaned_and_keeps_its_case(write_domain, raw, expected):
    write_domain("films", [("1", 1, raw)])
    assert datasets.sentiment("films")[0].text == expected


def test_ratings_are_joined_by_id_not_by_line(write_domain):
    rows = [("1_1", 1, "one", [1, 1]), ("1_2", 2, "two", [2, 2]), ("1_3", 3, "three", [3, 3])]
    write_domain("products", rows, ratings_order=[2, 0, 1])
    assert [s.ratings for s in datasets.sentiment("products")] == [(1, 1), (2, 2), (3, 3)]


def test_the_first_of_sentences_equal_up_to_case_blanks_and_entities_is_kept(write_domain):
    write_domain("products", [("1_1", 1, "A &amp; B"), ("1_2", 2, "other"), ("7_1", -3, "a  &amp;amp; b")])
    assert [(s.id, s.text) for s in datasets.sentiment("products")] == [("1_1", "A & B"), ("1_2", "other")]


def test_made_up_tweets_are_marked_and_films_of_the_same_ids_are_not(write_domain):
    rows = [(str(i), 1, f"t{i}") for i in (1, 2, 298, 299, 1423, 1424, 1486, 1487, 3866)]
    for domain in ("tweets", "films"):
        write_domain(domain, rows)
    assert [s.id for s in datasets.sentiment("tweets") if s.made_up] == ["2", "298", "1424", "1486", "3866"]
    assert not any(s.made_up for s in datasets.sentiment("films"))
    assert len(sentences.MADE_UP_TWEETS) == 200


@pytest.mark.parametrize(
    "call",
    [datasets.sentiment, lambda d: datasets.sentiment_split(d, 0), lambda d: datasets.share_kept(d, 1)],
)
def test_unknown_domain_is_named_with_the_choices(call):
    with pytest.raises(
        ValueError, match="unknown domain 'books'; choose one of films, products, editorials, tweets"
    ):
        call("books")


@pytest.mark.parametrize(
    "load",
    [lambda: datasets.sentiment("films"), datasets.solar_cells, datasets.digits, datasets.fashion_mnist],
)
def test_missing_asset_is_an_error_that_names_the_command(tmp_path, monkeypatch, load):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    sentences.sentiment.cache_clear()
    with pytest.raises(assets.MissingAssetError, match="run `tlcourse assets fetch "):
        load()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("truth", "ratings", "message"),
    [
        ("1\t0.5", "1\t0.5\t1\t[1]", r"movieReviewSnippets_GroundTruth.txt, line 1: 2 fields, expected 3"),
        ("1\t0.5\tx", "1\t0.5\t1\t[1]\n2\t[1]", r"anonDataRatings.txt, line 2: 2 fields, expected 4"),
        (
            "1\t0.5\tx",
            "2\t0.5\t1\t[1]",
            "sentence 1 of films has no ratings; run `tlcourse assets fetch sentiment`",
        ),
        (
            "1\t0.5\tx",
            "1\t0.5\t1\t[1, 5]",
            r"sentence 1 has ratings \[1, 5\]; they are integers from −4 to 4",
        ),
        ("1\t0.5\tx", "1\t0.5\t1\t[1, 0.5]", r"sentence 1 has ratings \[1, 0.5\]"),
    ],
)
def test_malformed_files_are_named(cache, truth, ratings, message):
    folder = cache / "sentiment"
    folder.mkdir(parents=True)
    (folder / "movieReviewSnippets_GroundTruth.txt").write_text(truth)
    (folder / "movieReviewSnippets_anonDataRatings.txt").write_text(ratings)
    with pytest.raises(ValueError, match=message):
        datasets.sentiment("films")


# Splits of sentences


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_split_keeps_groups_whole_and_every_strong_sentence_once(seed, min_valence):
    made = [
        sentence(f"{group}_{i}", (-1) ** i * ((group * i) % 20 + 1) / 10)
        for group in range(1, 41)
        for i in range(2 + group % 11)
    ]
    with pytest.MonkeyPatch.context() as patch:  # hypothesis wants no fixture of function scope
        patch.setattr(sentences, "sentiment", lambda domain: made)
        split = datasets.sentiment_split("products", seed, min_valence=min_valence)
    groups = [{s.group for s in getattr(split, part)} for part in PARTS]
    assert not any(a & b for a, b in itertools.combinations(groups, 2))
    strong = [s.id for s in made if abs(s.valence) >= min_valence]
    assert sorted(s.id for part in PARTS for s in getattr(split, part)) == sorted(strong)


def test_split_meets_the_shares_to_within_a_group(products):
    largest = max(Counter(id.split("_")[0] for id, *_ in products).values())
    for seed in range(20):
        split = datasets.sentiment_split("products", seed, min_valence=0, test=0.3, validation=0.2)
        assert abs(len(split.test) - 0.3 * len(products)) <= largest / 2
        assert abs(len(split.test) + len(split.validation) - 0.5 * len(products)) <= largest / 2


def test_a_group_stays_in_its_part_whatever_valence_is_asked_for(products):
    def part_of(min_valence):
        split = datasets.sentiment_split("products", 3, min_valence=min_valence)
        return {s.group: part for part in PARTS for s in getattr(split, part)}

    everything, strong = part_of(0), part_of(1.5)
    assert strong.keys() < everything.keys()
    assert all(everything[group] == part for group, part in strong.items())


def test_one_seed_gives_one_split_in_any_file_order_and_other_seeds_others(products, write_domain):
    first = datasets.sentiment_split("products", 0)
    assert datasets.sentiment_split("products", np.int64(0)) == first
    assert datasets.sentiment_split("products", 1) != first
    write_domain("products", products[::-1])
    sentences.sentiment.cache_clear()
    turned = datasets.sentiment_split("products", 0)
    assert all(
        {s.id for s in getattr(turned, part)} == {s.id for s in getattr(first, part)} for part in PARTS
    )


def test_split_leaves_made_up_tweets_out(write_domain):
    write_domain("tweets", [(str(i), (-1) ** i, f"tweet {i}") for i in range(1, 301)])
    split = datasets.sentiment_split("tweets", 0)
    kept = {s.id for part in PARTS for s in getattr(split, part)}
    assert kept == {str(i) for i in range(1, 301)} - sentences.MADE_UP_TWEETS


@pytest.mark.parametrize("min_valence", [-0.1, float("nan")])
def test_negative_min_valence_is_named(min_valence):
    with pytest.raises(ValueError, match=rf"min_valence={min_valence} is negative.*try 0\.5"):
        datasets.sentiment_split("films", 0, min_valence=min_valence)


def test_split_that_valence_empties_is_an_error(products):
    with pytest.raises(ValueError, match="the train part is empty; lower min_valence or raise its share"):
        datasets.sentiment_split("products", 0, min_valence=4)


def test_split_of_one_class_is_an_error(write_domain):
    write_domain("films", [(str(i), 1, f"t{i}") for i in range(50)])
    with pytest.raises(
        ValueError, match="the train part has 30 positive and 0 negative sentences; try another seed"
    ):
        datasets.sentiment_split("films", 0)


@pytest.mark.parametrize("empty", PARTS)
def test_empty_part_is_named(empty):
    parts = {part: alternating(2, group=part) for part in PARTS} | {empty: ()}
    with pytest.raises(ValueError, match=f"the {empty} part is empty"):
        Split(**parts)


def test_group_in_two_parts_is_named_and_the_same_name_in_two_domains_is_none():
    a, b, c = (alternating(2, group=g) for g in "abc")
    with pytest.raises(ValueError, match="group 'a' of products is in train and in test; split by group"):
        Split(a + b, c, alternating(2, group="a"))
    Split(a, b, alternating(2, group="a", domain="films"))


def test_valence_zero_is_of_neither_class():
    parts = {part: alternating(2, group=part) for part in PARTS}
    parts["test"] = (sentence("t_1", 1.0, group="t"), sentence("t_2", 0.0, group="t"))
    with pytest.raises(ValueError, match="the test part has 1 positive and 0 negative"):
        Split(**parts)


def test_share_kept_counts_strong_sentences_and_no_made_up_ones(write_domain):
    write_domain(
        "tweets", [("1", 0.5, "a"), ("3", -0.5, "b"), ("4", 0.4, "c"), ("5", 0, "d"), ("2", 3, "made up")]
    )
    assert datasets.share_kept("tweets", 0.5) == 0.5
    assert datasets.share_kept("tweets", 0) == 1.0


# Draws and arrays


@given(st.integers(0, 10**6), st.integers(10, 39), st.randoms())
def test_draws_are_nested_without_repeats_and_blind_to_order(seed, n, random):
    pool = list(alternating(40))
    small, large = datasets.draw(pool, n, seed), datasets.draw(pool, n + 1, seed)
    assert large[:n] == small
    assert len({s.id for s in large}) == n + 1
    random.shuffle(pool)
    assert datasets.draw(pool, n, seed) == small


@pytest.mark.parametrize("n", [-1, 0, 1, 41])
def test_draw_of_an_impossible_number_is_named(n):
    with pytest.raises(ValueError, match=f"n={n} cannot be drawn from 40 sentences; choose 2 … 40"):
        datasets.draw(alternating(40), n, 0)


def test_draw_of_one_class_is_an_error():
    pool = [sentence(i, 1.0) for i in range(20)] + [sentence(20, 0.0)]
    with pytest.raises(
        ValueError, match=r"the draw of n=\d+ with seed=4 has .* 0 negative sentences; try another seed"
    ):
        datasets.draw(pool, 20, 4)


def test_arrays_keep_the_order():
    given = (sentence("3_1", 1.5, text="x"), sentence("1_1", -0.5, text="y"), sentence("1_2", 0.0, text="z"))
    assert datasets.labels(given).tolist() == [1, 0, 0]
    assert datasets.labels(given).dtype == np.int64
    assert datasets.valences(given).tolist() == [1.5, -0.5, 0.0]
    assert datasets.texts(given) == ["x", "y", "z"]
    assert datasets.groups(given).tolist() == ["products/3", "products/1", "products/1"]


# VADER and people


def test_vader_is_the_authors_analyser_and_zero_without_a_known_word():
    given = ["VADER is VERY SMART!!!", "Today only kinda sux :(", "The table has four legs.", ""]
    scores = datasets.vader(given)
    assert scores.tolist() == [
        SentimentIntensityAnalyzer().polarity_scores(text)["compound"] for text in given
    ]
    assert scores[0] > 0.5 and scores[1] < 0 and scores[2:].tolist() == [0, 0]
    assert datasets.vader([]).shape == (0,)


@given(st.lists(st.lists(st.integers(-4, 4), min_size=2, max_size=8), min_size=1, max_size=6))
def test_human_accuracy_equals_a_slow_loop(all_ratings):
    shares = []
    for ratings in all_ratings:
        hits = []
        for i, own in enumerate(ratings):
            others = sum(ratings[:i] + ratings[i + 1 :])
            hits.append(0.5 if own == 0 or others == 0 else float((own > 0) == (others > 0)))
        shares.append(sum(hits) / len(hits))
    given = [sentence(i, 1.0, ratings=tuple(r)) for i, r in enumerate(all_ratings)]
    assert datasets.human_accuracy(given) == pytest.approx(sum(shares) / len(shares))


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [((4, 1, 2), 1.0), ((1, -1), 0.0), ((0, 0, 0), 0.5), ((3, 0), 0.5), ((2, 2, 2, -1), 0.75)],
)
def test_human_accuracy_in_plain_cases(ratings, expected):
    assert datasets.human_accuracy([sentence(1, 1.0, ratings=ratings)]) == expected


def test_human_accuracy_needs_sentences_and_two_ratings():
    with pytest.raises(ValueError, match="no sentences to judge"):
        datasets.human_accuracy([])
    with pytest.raises(ValueError, match="sentence 7 has 1 ratings; two are needed"):
        datasets.human_accuracy([sentence(7, 1.0, ratings=(2,))])


# Solar cells


@pytest.fixture
def cells_folder(cache):
    """24 cells of 30 × 30 random pixels; probabilities 0, ⅓, ⅔, 1 in turn."""
    folder = cache / "solar-cells"
    (folder / "images").mkdir(parents=True)
    rng, lines = np.random.default_rng(0), []
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (30, 30), dtype=np.uint8)).save(
            folder / f"images/cell{i:04}.png"
        )
        lines.append(f"images/cell{i:04}.png  {i % 4 / 3}    {'mono' if i < 10 else 'poly'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def kept_files(folder: Path):
    return sorted((folder.parent / "derived").iterdir())


def test_solar_cells_are_read_in_file_order(cells_folder):
    cells = datasets.solar_cells(10, n_blocks=5)
    first = Image.open(cells_folder / "images/cell0000.png").resize((10, 10), Image.Resampling.BILINEAR)
    assert cells.images.shape == (24, 10, 10) and cells.images.dtype == np.uint8
    assert np.array_equal(cells.images[0], np.asarray(first))
    assert cells.probability[:4].tolist() == [0, 1 / 3, 2 / 3, 1]
    assert cells.labels[:4].tolist() == [0, 0, 1, 1] and cells.labels.dtype == np.int64
    assert cells.kind.tolist() == ["mono"] * 10 + ["poly"] * 14
    assert np.bincount(cells.block).tolist() == [5, 5, 5, 5, 4]
    assert (np.diff(cells.block) >= 0).all()


def test_resizing_averages_what_it_leaves_out(cells_folder):
    stripes = np.tile(np.array([0, 255], np.uint8), (30, 15))  # the nearest pixel would be black or white
    Image.fromarray(stripes).save(cells_folder / "images/cell0003.png")
    image = datasets.solar_cells(10).images[3].astype(int)
    assert np.abs(image[:, 1:-1] - 127.5).max() < 40


def test_a_second_load_opens_no_image_and_gives_the_same(cells_folder, monkeypatch):
    first = datasets.solar_cells(10).images
    monkeypatch.setattr(Image, "open", lambda _: pytest.fail("an image was opened"))
    assert np.array_equal(datasets.solar_cells(10).images, first)
    assert [f.name.split("-")[2] for f in kept_files(cells_folder)] == ["10px"]


def test_another_size_and_other_bytes_are_made_anew(cells_folder):
    first = datasets.solar_cells(10).images
    assert datasets.solar_cells(12).images.shape == (24, 12, 12)
    same_size = Image.new("L", (30, 30), 77)
    same_size.save(cells_folder / "images/cell0005.png")
    second = datasets.solar_cells(10).images
    assert (second[5] == 77).all() and np.array_equal(np.delete(second, 5, 0), np.delete(first, 5, 0))
    assert len(kept_files(cells_folder)) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "shape", "dtype"])
def test_a_damaged_copy_is_made_anew(cells_folder, damage):
    first = datasets.solar_cells(10).images
    (kept,) = kept_files(cells_folder)
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-100])
    elif damage == "empty":
        kept.write_bytes(b"")
    elif damage == "text":
        kept.write_text("not an array")
    elif damage == "shape":
        np.save(kept, first[:5])
    else:
        np.save(kept, first.astype(np.int16))
    assert np.array_equal(datasets.solar_cells(10).images, first)
    assert np.array_equal(np.load(kept), first)


def test_a_full_disk_leaves_no_part_and_the_images_come_all_the_same(cells_folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(solar.os, "fsync", full)
    assert datasets.solar_cells(10).images.shape == (24, 10, 10)
    assert kept_files(cells_folder) == []


def test_an_interrupt_while_writing_leaves_no_part(cells_folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(solar.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        datasets.solar_cells(10)
    assert kept_files(cells_folder) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 7}, "size=7 is outside 8…300 pixels; try 96"),
        ({"size": 301}, "size=301 is outside"),
        ({"size": 10, "n_blocks": 0}, "n_blocks=0 is outside 1…24; try 20"),
        ({"size": 10, "n_blocks": 25}, "n_blocks=25 is outside"),
    ],
)
def test_solar_cells_names_sizes_it_cannot_make(cells_folder, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.solar_cells(**options)


def test_a_malformed_table_of_cells_is_named(cells_folder):
    (cells_folder / "labels.csv").write_text("images/cell0000.png 0.0 mono\nimages/cell0001.png 0.0\n")
    with pytest.raises(ValueError, match=r"labels.csv, line 2: expected file, probability and kind"):
        datasets.solar_cells()


def made_cells(n=400, n_blocks=20, defective=None):
    probability = np.arange(n) % 4 / 3 if defective is None else np.asarray(defective, dtype=float)
    return SolarCells(
        np.zeros((n, 8, 8), np.uint8), probability, np.full(n, "mono"), np.arange(n) * n_blocks // n
    )


@given(st.integers(0, 10**6), st.sampled_from(["block", "random"]), st.integers(80, 400))
@settings(deadline=None)
def test_solar_split_takes_every_cell_once_and_whole_blocks(seed, by, n):
    cells = made_cells(n)
    split = datasets.solar_split(cells, seed, by=by)
    parts = [getattr(split, part) for part in PARTS]
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert all((np.diff(part) > 0).all() and part.dtype == np.int64 for part in parts)
    tolerance = np.bincount(cells.block).max() / 2 if by == "block" else 0.5
    assert abs(len(split.test) - 0.25 * n) <= tolerance
    assert abs(len(split.train) - 0.6 * n) <= tolerance
    if by == "block":
        blocks = [set(cells.block[part]) for part in parts]
        assert not any(a & b for a, b in itertools.combinations(blocks, 2))


def test_solar_split_follows_its_seed():
    cells = made_cells()
    splits = [
        datasets.solar_split(cells, seed, by=by).test.tolist()
        for by in ("block", "random")
        for seed in (0, 0, 1)
    ]
    assert splits[0] == splits[1] and splits[3] == splits[4]
    assert len({tuple(s) for s in splits}) == 4
    assert len(set(cells.block[splits[3]])) > 15  # single cells come from everywhere


@pytest.mark.parametrize("by", ["blocks", None])
def test_unknown_way_to_split_is_named(by):
    with pytest.raises(ValueError, match=f"by={by!r} is no way to split; choose 'block' or 'random'"):
        datasets.solar_split(made_cells(), 0, by=by)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            made_cells(defective=np.zeros(400)),
            "the test part has 0 defective and 100 sound cells; both are needed",
        ),
        (
            made_cells(defective=np.ones(400)),
            "the test part has 100 defective and 0 sound cells; both are needed",
        ),
        (made_cells(n_blocks=1), r"part has 0 defective and 0 sound cells; .* another seed or more blocks"),
    ],
)
def test_solar_split_without_both_classes_is_an_error(cells, message):
    with pytest.raises(ValueError, match=message):
        datasets.solar_split(cells, 0)


def test_solar_split_is_an_index_split_with_shares_as_asked():
    split = datasets.solar_split(made_cells(), 0, test=0.5, validation=0.1)
    assert isinstance(split, IndexSplit)
    assert [len(getattr(split, part)) for part in PARTS] == [160, 40, 200]


# Digits and clothes


def idx_bytes(array):
    header = b"\x00\x00\x08" + bytes([array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def clothes(cache):
    """Writes Fashion-MNIST's four files: 5 images to train, 3 to test."""
    folder = cache / "fashion-mnist"
    folder.mkdir(parents=True)
    rng, arrays = np.random.default_rng(0), {}
    for part, n in (("train", 5), ("t10k", 3)):
        arrays[part] = rng.integers(0, 256, (n, 4, 6), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)
        for array, kind in zip(arrays[part], ("images-idx3", "labels-idx1"), strict=True):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return folder, arrays


@pytest.mark.parametrize(("part", "stem"), [("train", "train"), ("test", "t10k")])
def test_fashion_mnist_reads_what_was_written(clothes, part, stem):
    images, labels = clothes[1][stem]
    found = datasets.fashion_mnist(part)
    assert np.array_equal(found.images, images) and found.images.dtype == np.uint8
    assert np.array_equal(found.labels, labels) and found.labels.dtype == np.int64
    found.images[0] = 0  # writable, as torch.from_numpy wants it


def test_unknown_part_is_named():
    with pytest.raises(ValueError, match="unknown part 'validation'; choose one of train, test"):
        datasets.fashion_mnist("validation")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "train-images-idx3-ubyte.gz",
            b"\x89PNG....",
            r"images-idx3-ubyte.gz begins with b'\\x89PN', not with the IDX",
        ),
        (
            "train-images-idx3-ubyte.gz",
            idx_bytes(np.zeros((2, 3), np.uint8))[:-1],
            "holds 5 values, its header says 2 × 3",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            idx_bytes(np.zeros(4, np.uint8)),
            "train part has 5 images and 4 labels",
        ),
    ],
)
def test_malformed_idx_file_is_named(clothes, file, content, message):
    (clothes[0] / file).write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=message):
        datasets.fashion_mnist()


def test_digits_are_read_row_by_row(cache):
    (cache / "digits").mkdir(parents=True)
    rows = [[*range(64), 3], [*range(64, 0, -1), 9]]
    (cache / "digits/digits.csv.gz").write_bytes(
        gzip.compress("\n".join(",".join(map(str, r)) for r in rows).encode())
    )
    found = datasets.digits()
    assert found.images.shape == (2, 8, 8) and found.images.dtype == np.uint8
    assert found.images[0, 1, 0] == 8 and found.labels.tolist() == [3, 9] and found.labels.dtype == np.int64
    (cache / "digits/digits.csv.gz").write_bytes(gzip.compress(b"1,2,3"))
    with pytest.raises(ValueError, match="has 3 columns, not 64 pixels and a label"):
        datasets.digits()


# The real data

COUNTS = {
    "films": (10603, 2, 10603),
    "products": (3697, 11, 300),
    "editorials": (5118, 72, 498),
    "tweets": (4140, 60, 4140),
}
KEPT = {"films": 0.950, "products": 0.805, "editorials": 0.572, "tweets": 0.808}
POSITIVE = {"films": 0.496, "products": 0.586, "editorials": 0.401, "tweets": 0.695}
VADER = {"films": 0.642, "products": 0.738, "editorials": 0.710, "tweets": 0.972}
VADER_ZERO_IS_WRONG = {"films": 0.575, "products": 0.623, "editorials": 0.598, "tweets": 0.959}
ONE_PERSON = {"films": 0.943, "products": 0.942, "editorials": 0.841, "tweets": 0.913}


def raw_lines(domain, kind):
    text = assets.path("sentiment", f"{STEMS[domain]}_{kind}.txt").read_bytes().decode("utf-8-sig")
    return [line.split("\t") for line in text.split("\r\n") if line.strip()]


def strong(domain):
    return [s for s in datasets.sentiment(domain) if not s.made_up and abs(s.valence) >= 0.5]


@pytest.mark.assets
@pytest.mark.parametrize("domain", datasets.DOMAINS)
def test_domain_has_the_documented_numbers_of_sentences_duplicates_and_groups(domain):
    found = datasets.sentiment(domain)
    n, duplicates, n_groups = COUNTS[domain]
    assert len(found) == n
    assert len(raw_lines(domain, "GroundTruth")) - n == duplicates
    assert len(set(datasets.groups(found))) == n_groups
    assert datasets.share_kept(domain, 0.5) == pytest.approx(KEPT[domain], abs=5e-4)
    assert datasets.labels(strong(domain)).mean() == pytest.approx(POSITIVE[domain], abs=5e-4)
    assert min(len(s.ratings) for s in found) >= 15


@pytest.mark.assets
@pytest.mark.parametrize("domain", datasets.DOMAINS)
def test_vader_and_one_person_score_as_documented(domain):
    found = strong(domain)
    scores, labels = datasets.vader(datasets.texts(found)), datasets.labels(found)
    right = np.where(scores == 0, 0.5, (scores > 0) == labels)
    assert right.mean() == pytest.approx(VADER[domain], abs=5e-4)
    assert (right == 1).mean() == pytest.approx(VADER_ZERO_IS_WRONG[domain], abs=5e-4)
    assert datasets.human_accuracy(found) == pytest.approx(ONE_PERSON[domain], abs=5e-4)


@pytest.mark.assets
@pytest.mark.parametrize("domain", datasets.DOMAINS)
def test_valence_is_the_mean_of_the_joined_ratings_but_for_made_up_tweets(domain):
    off = {s.id for s in datasets.sentiment(domain) if abs(s.valence - np.mean(s.ratings)) > 1e-6}
    made_up = {s.id for s in datasets.sentiment(domain) if s.made_up}
    assert off == made_up - {"1484"}


@pytest.mark.assets
def test_made_up_tweets_are_30_tweets_and_their_variants_by_the_raw_files():
    ratings = {id: json.loads(given) for id, _, _, given in raw_lines("tweets", "anonDataRatings")}
    off = {
        id
        for id, valence, _ in raw_lines("tweets", "GroundTruth")
        if abs(float(valence) - np.mean(ratings[id])) > 1e-6
    }
    assert off | {"1484"} == set(sentences.MADE_UP_TWEETS)
    assert min(len(ratings[id]) for id in off) > 90  # the 20 raters of most others were fewer


@pytest.mark.assets
def test_duplicate_editorial_sentences_lie_within_articles():
    first = {}
    for id, _, text in raw_lines("editorials", "GroundTruth"):
        key = " ".join(html.unescape(html.unescape(text)).casefold().split())
        assert first.setdefault(key, id.split("_")[0]) == id.split("_")[0]


@pytest.mark.assets
@pytest.mark.parametrize("domain", datasets.DOMAINS)
def test_no_text_keeps_an_entity_a_broken_letter_or_a_handle(domain):
    text = "\n".join(datasets.texts(datasets.sentiment(domain)))
    assert not any(wrong in text for wrong in ("&amp;", "&lt;", "Ã", "â€", "\ufeff", "  "))
    assert set(re.findall(r"@(\w+)", text)) <= {"user"}
    assert ("Château" in text) == (domain == "films")


@pytest.mark.assets
@pytest.mark.parametrize("domain", datasets.DOMAINS)
@pytest.mark.parametrize("min_valence", [0, 0.5])
def test_real_splits_meet_their_shares_within_two_and_a_half_points(domain, min_valence):
    for seed in range(10):
        split = datasets.sentiment_split(domain, seed, min_valence=min_valence)
        sizes = np.array([len(getattr(split, part)) for part in PARTS])
        assert np.abs(sizes / sizes.sum() - [0.6, 0.15, 0.25]).max() < 0.025


@pytest.mark.assets
def test_real_solar_cells_are_those_of_the_paper_and_load_fast():
    datasets.solar_cells()
    start = time.process_time()
    cells = datasets.solar_cells()
    assert time.process_time() - start < 2  # measured: 0.3 s
    assert cells.images.shape == (2624, 96, 96)
    assert Counter(np.round(cells.probability * 3).astype(int).tolist()) == {0: 1508, 1: 295, 2: 106, 3: 715}
    assert Counter(cells.kind.tolist()) == {"mono": 1074, "poly": 1550}
    assert np.bincount(cells.block).tolist() == [131 + (i % 5 == 0) for i in range(20)]
    for lag, correlation in {1: 0.53, 10: 0.35, 200: 0.05}.items():
        same_kind = cells.kind[:-lag] == cells.kind[lag:]
        pairs = cells.labels[:-lag][same_kind], cells.labels[lag:][same_kind]
        assert np.corrcoef(*pairs)[0, 1] == pytest.approx(correlation, abs=5e-3)
    for seed in range(10):
        datasets.solar_split(cells, seed)


@pytest.mark.assets
def test_real_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    oracle, found = load_digits(), datasets.digits()
    assert np.array_equal(found.images, oracle.images)
    assert np.array_equal(found.labels, oracle.target)


@pytest.mark.assets
def test_real_fashion_mnist_has_ten_balanced_classes():
    if not assets.present("fashion-mnist"):
        pytest.skip("fashion-mnist is not in the cache; run `tlcourse assets fetch fashion-mnist`")
    for part, n in (("train", 60000), ("test", 10000)):
        found = datasets.fashion_mnist(part)
        assert found.images.shape == (n, 28, 28)
        assert np.bincount(found.labels).tolist() == [n // 10] * 10
