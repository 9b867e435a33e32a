import numpy as np
import pytest

from tlcourse.metrics import crossed_spread
from tlcourse.metrics.variance import Spread

PARTS = ("rows", "columns", "rest")


def estimates(spread: Spread) -> np.ndarray:
    return np.array([getattr(spread, part).estimate for part in PARTS])


def made(rng, deviations, R=10, C=12):
    """Scores with known standard deviations of rows, columns and rest."""
    a, b, e = deviations
    return 50 + a * rng.normal(size=(R, 1)) + b * rng.normal(size=(1, C)) + e * rng.normal(size=(R, C))


def test_a_table_worked_by_hand():
    # Rows differ by 2, columns by 6, nothing is left: mean squares 4 and 36, and 0; halved, 2 and 18.
    spread = crossed_spread([[1.0, 7.0], [3.0, 9.0]])
    np.testing.assert_allclose(estimates(spread), [np.sqrt(2), np.sqrt(18), 0], atol=1e-12)


def test_variances_are_right_on_the_average():
    rng, wanted = np.random.default_rng(0), np.array([2.0, 3.0, 1.0])
    found = np.mean([estimates(crossed_spread(made(rng, wanted), n_draws=10)) ** 2 for _ in range(2000)], 0)
    np.testing.assert_allclose(found, wanted**2, rtol=0.05)  # four standard errors or more


def test_rows_and_columns_change_places_when_the_table_is_turned():
    table = made(np.random.default_rng(1), (2.0, 5.0, 1.0))
    there, back = crossed_spread(table), crossed_spread(table.T)
    np.testing.assert_allclose(estimates(there)[[1, 0, 2]], estimates(back))


def test_the_rest_grows_with_the_unit_and_nothing_with_the_zero():
    table = made(np.random.default_rng(2), (2.0, 5.0, 1.0))
    there, moved = crossed_spread(table), crossed_spread(10 * table - 7)
    for part in PARTS:
        a, b = getattr(there, part), getattr(moved, part)
        np.testing.assert_allclose([b.estimate, b.low, b.high], 10 * np.array([a.estimate, a.low, a.high]))


@pytest.mark.parametrize("deviations", [(2.0, 1.0, 1.0), (0.5, 3.0, 1.0), (0.8, 0.8, 3.2)])
def test_intervals_hold_the_truth_as_often_as_they_say(deviations):
    rng, n = np.random.default_rng(3), 1000
    tables = [made(rng, deviations, 8, 8) for _ in range(n)]
    spreads = [crossed_spread(table, n_draws=4000, level=0.9) for table in tables]
    for part, truth in zip(PARTS, deviations, strict=True):
        held = np.mean([not getattr(spread, part).excludes(truth) for spread in spreads])
        assert 0.86 < held < 0.94, (part, held)  # .9 is asked; four standard errors of a thousand tables


def test_no_spread_of_rows_has_zero_in_its_interval():
    spread = crossed_spread(made(np.random.default_rng(4), (0.0, 3.0, 1.0)))
    assert spread.rows.low == 0 and spread.columns.low > 1


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0, 2.0]], r"shape \(1, 2\); give at least two rows"),
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[1.0, np.nan], [2.0, 3.0]], "1 of 4 values are NaN"),
    ],
)
def test_scores_that_cannot_be_taken_apart_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        crossed_spread(scores)


def test_a_level_outside_its_range_is_named():
    with pytest.raises(ValueError, match=r"level=1\.5"):
        crossed_spread([[1.0, 2.0], [3.0, 4.0]], level=1.5)
