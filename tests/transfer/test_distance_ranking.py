"""Measures side by side: what is missing stays undefined; orders and correlations against scipy's; bad input named."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tests.reference import transfer_distance as reference
from tlcourse.metrics import weighted_tau_interval
from tlcourse.transfer import distance
from tlcourse.transfer.distance import MEASURES, Measure, Source, Target, rank_sources
from tlcourse.transfer.distance.measures import NEEDS

N, CLASSES = 40, 4
LABELS = np.arange(N) % CLASSES


def weights(seed, width=3):
    return {"w": torch.randn(width, generator=torch.Generator().manual_seed(seed))}


def make_source(k, **changes):
    """Source k; the larger k, the better its features and probabilities fit the labels and the nearer its data."""
    rng = np.random.default_rng(k)
    logits = rng.normal(size=(N, 5)) + k * np.eye(5)[LABELS]
    known = {
        "name": f"s{k}",
        "features": rng.normal(size=(N, 6)) + 0.5 * k * np.eye(6)[LABELS],
        "probabilities": np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        "embedded": np.random.default_rng(50).normal(size=(30, 3)) + (6 - k) / 3,
        "parameters": {"w": torch.full((3,), 6.0 - k)},
        "n_parameters": 1000 - k,
        "fine_tuned": 0.5 + k / 20,
    }
    return Source(**{**known, **changes})


def make_target(**changes):
    rng = np.random.default_rng(99)
    known = {
        "labels": LABELS,
        "features": rng.normal(size=(N, 4)) + 3 * np.eye(4)[LABELS],
        "embedded": rng.normal(size=(25, 3)),
        "parameters": {"w": torch.zeros(3)},
    }
    return Target(**{**known, **changes})


SOURCES = [make_source(k) for k in (2, 5, 0, 3, 1, 4)]


@pytest.fixture(scope="module")
def ranking():
    return rank_sources(SOURCES, make_target())


def test_every_score_is_the_measures_own(ranking):
    target = make_target()
    h = reference.median_distance(target.embedded)
    for s in SOURCES:
        expected = {
            "logme": distance.logme(s.features, LABELS),
            "h_score": distance.h_score(s.features, LABELS),
            "h_score_shrunk": distance.h_score(s.features, LABELS, shrink=True),
            "leep": distance.leep(s.probabilities, LABELS),
            "nce": distance.nce(source_labels=s.probabilities.argmax(axis=1), labels=LABELS),
            "linear_cka": distance.linear_cka(s.features, target.features),
            "mmd": distance.mmd(s.embedded, target.embedded, bandwidth=h),  # one kernel for all sources
            "frechet_distance": distance.frechet_distance(s.embedded, target.embedded),
            "parameter_distance": distance.parameter_distance(s.parameters, target.parameters),
            "n_parameters": s.n_parameters,
        }
        found = {name: ranking.scores[name][s.name] for name in ranking.measures}
        assert found == pytest.approx(expected, rel=1e-10)
        assert list(found) == list(expected)


def test_order_is_nearest_first_for_scores_and_for_distances(ranking):
    for name in ("logme", "leep", "mmd", "frechet_distance", "parameter_distance"):
        assert ranking.order(name) == ["s5", "s4", "s3", "s2", "s1", "s0"]
    assert ranking.order("n_parameters") == ["s0", "s1", "s2", "s3", "s4", "s5"]


def test_ties_keep_the_order_given():
    tied = [make_source(k, n_parameters=7) for k in (3, 1, 2)]
    assert rank_sources(tied, make_target(), measures=MEASURES[-1:]).order("n_parameters") == [
        "s3",
        "s1",
        "s2",
    ]


def test_correlation_is_scipys_weighted_tau_of_nearness_and_fine_tuning(ranking):
    fine_tuned = [s.fine_tuned for s in SOURCES]
    for name, measure in ranking.measures.items():
        sign = 1 if measure.larger_is_nearer else -1
        scores = [sign * ranking.scores[name][s.name] for s in SOURCES]
        found = ranking.correlation(name, n_resamples=100)
        assert found.estimate == pytest.approx(stats.weightedtau(scores, fine_tuned).statistic, abs=1e-12)
    assert ranking.correlation("mmd", n_resamples=100).estimate == 1
    assert ranking.correlation("n_parameters", n_resamples=100).estimate == -1


def test_correlation_passes_on_how_to_resample(ranking):
    options = {"n_resamples": 150, "level": 0.8, "seed": 4}
    families = {"s0": "a", "s1": "a", "s2": "b", "s3": "c", "s4": "c", "s5": "d"}
    scores = [ranking.scores["h_score"][s.name] for s in SOURCES]
    fine_tuned = [s.fine_tuned for s in SOURCES]
    plain = weighted_tau_interval(scores, fine_tuned, **options)
    grouped = weighted_tau_interval(scores, fine_tuned, groups=[families[s.name] for s in SOURCES], **options)
    assert ranking.correlation("h_score", **options) == plain
    assert ranking.correlation("h_score", groups=families, **options) == grouped
    some = ["s0", "s2", "s4", "s5"]
    part = weighted_tau_interval(
        [ranking.scores["h_score"][s] for s in some], [ranking.fine_tuned[s] for s in some], **options
    )
    assert ranking.correlation("h_score", some, **options) == part


def test_cost_is_seconds_by_the_clock_of_each_score():
    ticks = iter(range(100))

    def slow(source, target):
        return float(next(ticks))

    measure = dataclasses.replace(MEASURES[-1], score=slow)
    found = rank_sources(SOURCES, make_target(), measures=[measure, MEASURES[0]])
    assert all(seconds > 0 for seconds in found.seconds["logme"].values())
    assert found.cost("logme") == math.fsum(found.seconds["logme"].values())
    assert set(found.seconds["logme"]) == {s.name for s in SOURCES}


@pytest.mark.parametrize(
    ("field", "undefined", "words"),
    [
        (
            "features",
            {"logme", "h_score", "h_score_shrunk", "linear_cka"},
            "samples through the source's model",
        ),
        ("probabilities", {"leep", "nce"}, "a source classifier"),
        ("embedded", {"mmd", "frechet_distance"}, "source data in the reference model"),
        ("parameters", {"parameter_distance"}, "the source's weights"),
        ("n_parameters", {"n_parameters"}, "the source's number of parameters"),
    ],
)
def test_a_measure_is_undefined_only_for_the_source_that_lacks_what_it_needs(field, undefined, words):
    lacking = make_source(3, **{field: None})
    found = rank_sources([lacking, make_source(1)], make_target())
    for name in found.measures:
        assert ("s3" in found.scores[name]) == (name not in undefined)
        assert ("s3" in found.seconds[name]) == (name not in undefined)
        assert "s1" in found.scores[name]
        assert (words in found.lacking[name].get("s3", "")) == (name in undefined)
        assert "s1" not in found.lacking[name]


@pytest.mark.parametrize(
    ("field", "undefined", "words"),
    [
        ("features", {"linear_cka"}, "a model trained on the target"),
        ("embedded", {"mmd", "frechet_distance"}, "target data in the reference model"),
        ("parameters", {"parameter_distance"}, "weights trained on the target"),
    ],
)
def test_what_the_target_lacks_leaves_a_measure_undefined_for_all(field, undefined, words):
    found = rank_sources(SOURCES, make_target(**{field: None}))
    for name in found.measures:
        assert len(found.scores[name]) == (0 if name in undefined else len(SOURCES))
        assert set(found.lacking[name].values()) == ({words} if name in undefined else set())


def test_both_sides_missing_are_both_named():
    found = rank_sources([make_source(1, embedded=None)], make_target(embedded=None))
    assert (
        found.lacking["mmd"]["s1"] == "source data in the reference model, target data in the reference model"
    )


def test_weights_of_another_architecture_leave_the_distance_undefined():
    other = make_source(2, name="wide", parameters=weights(0, width=4))
    module = make_source(2, name="module", parameters=nn.Linear(3, 3))
    found = rank_sources([make_source(1), other, module], make_target())
    assert list(found.scores["parameter_distance"]) == ["s1"]
    words = "one architecture for source and target"
    assert found.lacking["parameter_distance"] == {"wide": words, "module": words}


def test_measures_are_compared_on_the_sources_they_share():
    sources = [
        make_source(k, probabilities=None if k == 2 else make_source(k).probabilities) for k in range(6)
    ]
    sources[4] = dataclasses.replace(sources[4], fine_tuned=None)
    found = rank_sources(sources, make_target())
    assert found.common(["logme"]) == ["s0", "s1", "s2", "s3", "s5"]
    assert found.common(["logme", "leep"]) == found.common() == ["s0", "s1", "s3", "s5"]
    assert "s4" in found.order("logme")
    shared = found.correlation("logme", found.common(["logme", "leep"]), n_resamples=100)
    assert shared.estimate == 1
    with pytest.raises(
        ValueError, match=r"^leep of source 's2' cannot be compared, it lacks a source classifier; "
    ):
        found.correlation("leep", ["s0", "s1", "s2", "s3"])
    with pytest.raises(
        ValueError, match=r"^logme of source 's4' .* it lacks measured fine-tuning; take common"
    ):
        found.correlation("logme", ["s0", "s1", "s2", "s4"])


def test_an_endless_evidence_ranks_first():
    sources = [*SOURCES, make_source(6, features=np.eye(CLASSES)[LABELS])]
    found = rank_sources(sources, make_target(), measures=MEASURES[:1])
    assert found.scores["logme"]["s6"] == math.inf
    assert found.order("logme")[0] == "s6"
    assert found.correlation("logme", n_resamples=100).estimate == 1


def test_an_own_measure_joins_in():
    own = Measure(
        name="gap",
        score=lambda s, t: abs(s.n_parameters - 997),
        needs=("source.n_parameters",),
        larger_is_nearer=False,
        units="parameters",
        low="0",
        high="∞",
        compare="any sources",
    )
    assert rank_sources(SOURCES, make_target(), measures=(own,)).order("gap")[0] == "s3"


def test_the_table_of_measures_is_complete_and_its_needs_are_fields():
    assert [m.name for m in MEASURES if m.name in distance.__all__] == [
        "logme", "h_score", "leep", "nce", "linear_cka", "mmd", "frechet_distance", "parameter_distance",
    ]  # fmt: skip
    fields = {f"source.{f.name}" for f in dataclasses.fields(Source)}
    fields |= {f"target.{f.name}" for f in dataclasses.fields(Target)}
    assert set(NEEDS) <= fields
    for measure in MEASURES:
        assert measure.needs
        assert set(measure.needs) <= set(NEEDS)
        assert measure.low and measure.high and measure.compare


def test_bad_input_names_source_and_measure():
    features = make_source(1).features.copy()
    features[3, 2] = np.nan
    with pytest.raises(
        ValueError, match=r"^logme of source 's1': features: 1 of 240 values are NaN .* at \[3, 2\]"
    ):
        rank_sources([make_source(2), make_source(1, features=features)], make_target())
    with pytest.raises(
        ValueError, match=r"^leep of source 's1': source_probabilities sums to 2 in row 0, not to 1"
    ):
        rank_sources([make_source(1, probabilities=2 * make_source(1).probabilities)], make_target())
    with pytest.raises(TypeError, match=r"^logme of source 's2': labels holds float64"):
        rank_sources([make_source(2)], make_target(labels=LABELS / 2))
    with pytest.raises(ValueError, match=r"^linear_cka of source 's2': x has 40 samples and y 39"):
        rank_sources([make_source(2)], make_target(features=make_target().features[1:]))


@pytest.mark.parametrize(
    ("sources", "measures", "text"),
    [
        ([], MEASURES, "^0 sources and 10 measures; give at least one of each"),
        (SOURCES, (), "^6 sources and 0 measures; give at least one of each"),
        ([*SOURCES, make_source(3)], MEASURES, "^2 sources are named 's3'; give each its own name"),
        (SOURCES, [*MEASURES, MEASURES[0]], "^2 measures are named 'logme'; give each its own name"),
        (
            [make_source(1, fine_tuned=np.nan)],
            MEASURES,
            r"^fine_tuned=nan of source 's1'; give a finite score",
        ),
    ],
)
def test_a_list_that_cannot_be_ranked_is_refused(sources, measures, text):
    with pytest.raises(ValueError, match=text):
        rank_sources(sources, make_target(), measures=measures)


def test_questions_to_a_ranking_that_it_cannot_answer(ranking):
    for ask in (ranking.order, ranking.cost, ranking.correlation, lambda name: ranking.common([name])):
        with pytest.raises(ValueError, match=r"^no measure 'otce' was run; there are logme, h_score, "):
            ask("otce")
    with pytest.raises(
        ValueError, match=r"^logme and fine-tuning are known for 3 sources; an interval needs at least 4"
    ):
        ranking.correlation("logme", ["s0", "s1", "s2"])
    with pytest.raises(ValueError, match=r"^groups has no family for source 's2'; give one for each source"):
        ranking.correlation("logme", groups={"s0": "a", "s1": "b"})
