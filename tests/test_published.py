"""An audit of published numbers: which printed correlations follow from the entries of their own tables, which not.

And the baselines the tables lack: take the largest network, or the one that is best on ImageNet.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torchvision
from scipy import stats

from tlcourse.metrics import weighted_tau, weighted_tau_interval

FILE = Path(__file__).resolve().parents[1] / "data" / "published" / "transferability.json"
PUBLISHED = json.loads(FILE.read_text(encoding="utf-8"))
MEASURES = ("h_score", "leep", "logme", "nce")
REPRODUCE = ("Caltech101", "CIFAR10", "CIFAR100", "StanfordCars", "SUN397")


def column(table, name):
    place = PUBLISHED["columns"].index(name)
    return [row[place] for row in PUBLISHED["tables"][table]["rows"]]


def of_models(table, field):
    return [PUBLISHED["models"][name][field] for name in column(table, "model")]


def untied(values):
    """The column in every order that its ties may have had before they were rounded."""
    values = np.array(values)
    ties = [np.flatnonzero(values == v) for v in np.unique(values)]
    for orders in itertools.product(*(itertools.permutations(range(len(t))) for t in ties)):
        shifted = values.copy()
        for places, order in zip(ties, orders, strict=True):
            shifted[places] += 1e-6 * np.array(order)
        yield shifted


def follows(table, measure):
    """Whether the printed τ is that of the printed entries, to its three digits, as they are or before rounding."""
    printed, fine_tuned = PUBLISHED["tables"][table]["weighted_tau"][measure], column(table, "fine_tuned")
    scores = column(table, measure)
    return any(abs(weighted_tau(s, fine_tuned) - printed) < 6e-4 for s in [scores, *untied(scores)])


def test_the_file_holds_eight_tables_of_the_same_ten_models():
    assert len(PUBLISHED["tables"]) == 8
    for table in PUBLISHED["tables"]:
        assert column(table, "model") == list(PUBLISHED["models"])
        assert all(len(row) == len(PUBLISHED["columns"]) for row in PUBLISHED["tables"][table]["rows"])


def test_sizes_and_imagenet_accuracies_are_those_that_torchvision_states():
    for model in PUBLISHED["models"].values():
        meta = torchvision.models.get_weight(model["torchvision"]).meta
        assert model["n_parameters"] == meta["num_params"]
        assert model["imagenet_top1"] == meta["_metrics"]["ImageNet-1K"]["acc@1"]


@pytest.mark.parametrize("table", PUBLISHED["tables"])
def test_our_tau_of_the_entries_is_scipys(table):
    fine_tuned = column(table, "fine_tuned")
    for measure in MEASURES:
        oracle = stats.weightedtau(column(table, measure), fine_tuned).statistic
        assert weighted_tau(column(table, measure), fine_tuned) == pytest.approx(oracle, abs=1e-12)


@pytest.mark.parametrize("table", REPRODUCE)
def test_five_tables_reproduce(table):
    fine_tuned = column(table, "fine_tuned")
    for measure in MEASURES:
        assert follows(table, measure)
        pearson = stats.pearsonr(column(table, measure), fine_tuned).statistic
        assert pearson == pytest.approx(
            PUBLISHED["tables"][table]["pearson"][measure], abs=0.01
        )  # of rounding


@pytest.mark.parametrize("table", ["Aircraft", "OxfordIIITPets"])
def test_two_tables_do_not_follow_from_their_entries_for_any_measure(table):
    fine_tuned = column(table, "fine_tuned")
    for measure in MEASURES:
        assert not follows(table, measure)
        printed = PUBLISHED["tables"][table]
        tau = weighted_tau(column(table, measure), fine_tuned)
        pearson = stats.pearsonr(column(table, measure), fine_tuned).statistic
        assert (
            max(abs(tau - printed["weighted_tau"][measure]), abs(pearson - printed["pearson"][measure])) > 0.1
        )


def test_one_table_repeats_a_column_and_its_other_measures_reproduce():
    assert column("DTD", "nce") == column("DTD", "logme")
    assert [measure for measure in MEASURES if not follows("DTD", measure)] == ["nce"]


def test_no_other_table_repeats_a_column():
    for table in PUBLISHED["tables"]:
        columns = {tuple(column(table, measure)) for measure in MEASURES}
        assert len(columns) == (3 if table == "DTD" else 4)


def test_taking_the_largest_network_ranks_better_than_logme_on_six_of_eight_targets():
    better = [
        table
        for table in PUBLISHED["tables"]
        if weighted_tau(of_models(table, "n_parameters"), column(table, "fine_tuned"))
        > weighted_tau(column(table, "logme"), column(table, "fine_tuned"))
    ]
    assert sorted(set(PUBLISHED["tables"]) - set(better)) == ["Aircraft", "Caltech101"]


def test_ten_models_prove_little_every_interval_of_logme_is_wide():
    for table in PUBLISHED["tables"]:
        found = weighted_tau_interval(column(table, "logme"), column(table, "fine_tuned"), n_resamples=500)
        assert found.high - found.low > 0.3
