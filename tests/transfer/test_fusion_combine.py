"""Fusions of views against loops over features, nn.Bilinear and products written out."""

import itertools

import pytest
import torch
from torch import nn

from tlcourse.transfer.fusion import (
    BilinearFusion,
    ConcatFusion,
    ProbabilityAverage,
    ProductFusion,
    SumFusion,
    TransformFusion,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def views(*widths, n=4, dtype=torch.float64):
    return [torch.randn(n, d, dtype=dtype, generator=seeded(d + i)) for i, d in enumerate(widths)]


def error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("n_views", [1, 2, 3, 5])
def test_sum_product_and_concatenation_match_loops_over_every_feature(n_views):
    given = views(*[3] * n_views)
    total, product, joined = (
        SumFusion([3] * n_views),
        ProductFusion([3] * n_views),
        ConcatFusion([3] * n_views),
    )
    assert (total.width, product.width, joined.width) == (3, 3, 3 * n_views)
    for row, d in itertools.product(range(4), range(3)):
        values = [view[row, d].item() for view in given]
        assert total(given)[row, d].item() == pytest.approx(sum(values), rel=1e-12)
        expected = 1.0
        for value in values:
            expected *= value
        assert product(given)[row, d].item() == pytest.approx(expected, rel=1e-12)
        for v, value in enumerate(values):
            assert joined(given)[row, 3 * v + d].item() == value


def test_concatenation_takes_views_of_any_width_in_their_order():
    given = views(2, 5, 1)
    fusion = ConcatFusion([2, 5, 1])
    assert fusion.width == 8
    assert torch.equal(fusion(tuple(given)), torch.cat(given, 1))


def test_averaged_probabilities_match_a_weighted_loop():
    given = [view.softmax(1) for view in views(3, 3, 3)]
    torch.testing.assert_close(ProbabilityAverage(3)(given), sum(given) / 3, rtol=1e-14, atol=0)
    found = ProbabilityAverage(3, weights=[1, 2, 5])(given)
    torch.testing.assert_close(found, given[0] / 8 + given[1] / 4 + given[2] * 5 / 8, rtol=1e-14, atol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64))
    half = [view.half().softmax(1) for view in views(50, 50)]
    assert ProbabilityAverage(2)(half).dtype == torch.float16


# ---------------------------------------------------------------- bilinear


def test_bilinear_of_two_views_matches_torch_on_the_same_weights():
    x, y = views(3, 5)
    ours = BilinearFusion([3, 5], 4).double()
    theirs = nn.Bilinear(3, 5, 4).double()
    with torch.no_grad():
        ours.bias.normal_(generator=seeded(3))
        theirs.weight.copy_(ours.matrices((0, 1)))
        theirs.bias.copy_(ours.bias)
    assert error(ours([x, y]), theirs(x, y)) < 1e-14


@pytest.mark.parametrize("rank", [None, 1, 3])
@pytest.mark.parametrize("widths", [(2, 3), (2, 3, 4)])
def test_bilinear_matches_a_sum_over_every_pair_of_features(rank, widths):
    given = views(*widths, n=2)
    fusion = BilinearFusion(widths, 3, rank=rank, seed=1).double()
    with torch.no_grad():
        fusion.bias.normal_(generator=seeded(3))
    found = fusion(given)
    for row, o in itertools.product(range(2), range(3)):
        expected = fusion.bias[o].item()
        for v, w in itertools.combinations(range(len(widths)), 2):
            matrix = fusion.matrices((v, w))[o]
            for i, j in itertools.product(range(widths[v]), range(widths[w])):
                expected += (given[v][row, i] * matrix[i, j] * given[w][row, j]).item()
        assert found[row, o].item() == pytest.approx(expected, rel=1e-10)


def test_low_rank_matrices_have_that_rank_and_fewer_parameters():
    whole, low = BilinearFusion([20, 30], 10, bias=False), BilinearFusion([20, 30], 10, rank=2, bias=False)
    assert torch.linalg.matrix_rank(low.matrices((0, 1))).tolist() == [2] * 10
    assert torch.linalg.matrix_rank(whole.matrices((0, 1))).tolist() == [20] * 10
    assert sum(p.numel() for p in whole.parameters()) == 10 * 20 * 30
    assert sum(p.numel() for p in low.parameters()) == 2 * (20 + 30 + 10)


@pytest.mark.parametrize("rank", [None, 40])
@pytest.mark.parametrize("widths", [(30, 50), (30, 50, 20)])
def test_the_start_keeps_a_variance_of_one(rank, widths):
    given = [torch.randn(400, d, generator=seeded(d)) for d in widths]
    found = BilinearFusion(widths, 100, rank=rank, seed=2)(given)
    assert found.var().item() == pytest.approx(1, abs=0.15)
    learned = TransformFusion.learned(widths, 100, fusion=ConcatFusion)
    assert learned(given).var().item() == pytest.approx(1, abs=0.1)


def test_every_parameter_gets_a_gradient_and_seeds_repeat_without_touching_the_global_one():
    state = torch.get_rng_state()
    for make in (
        lambda seed: BilinearFusion([3, 4, 5], 2, seed=seed),
        lambda seed: BilinearFusion([3, 4, 5], 2, rank=2, seed=seed),
        lambda seed: TransformFusion.learned([3, 4, 5], 2, seed=seed),
    ):
        a, b, c = make(0), make(seeded(0)), make(1)
        given = views(3, 4, 5, dtype=torch.float32)
        assert torch.equal(a(given), b(given))
        assert not torch.equal(a(given), c(given))
        a(given).square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in a.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert "widths=[3, 4], width=2, rank=1" in repr(BilinearFusion([3, 4], 2, rank=1))


def test_a_fusion_and_a_head_make_a_classifier():
    """The exclusive or of two signs, which no linear head reads off a sum or a concatenation, is their product."""
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    given = [signs[:, :1], signs[:, 1:]]
    label = (signs.prod(1) > 0).long()
    for fusion, best in (
        (ConcatFusion([1, 1]), 0.75),
        (SumFusion([1, 1]), 0.75),
        (ProductFusion([1, 1]), 1.0),
    ):
        head = nn.Linear(fusion.width, 2)
        optimiser = torch.optim.SGD(head.parameters(), lr=1.0)
        for _ in range(20):
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(fusion(given)), label).backward()
            optimiser.step()
        accuracy = (head(fusion(given)).argmax(1) == label).float().mean().item()
        assert accuracy <= 0.75 if best < 1 else accuracy == 1


# ---------------------------------------------------------------- bad input

ALL = [
    lambda: SumFusion([3, 3]),
    lambda: ProductFusion([3, 3]),
    lambda: ConcatFusion([3, 3]),
    lambda: BilinearFusion([3, 3], 2),
    lambda: TransformFusion.learned([3, 3], 2),
]


@pytest.mark.parametrize("make", ALL)
def test_views_that_do_not_fit_are_refused_by_all(make):
    fusion = make()
    x = torch.ones(4, 3)
    with pytest.raises(
        ValueError, match=r"views hold \[4, 5\] items; row i of every view must be the same item"
    ):
        fusion([x, torch.ones(5, 3)])
    with pytest.raises(ValueError, match=r"view 1 is \(4, 2\); give \(B, 3\)"):
        fusion([x, torch.ones(4, 2)])
    with pytest.raises(ValueError, match=r"view 0 is \(4, 3, 1\); give \(B, 3\)"):
        fusion([x[:, :, None], x])
    with pytest.raises(ValueError, match="3 views for a fusion of 2; give one tensor for each"):
        fusion([x, x, x])
    with pytest.raises(ValueError, match=r"views is one tensor, \(2, 3\); give a list of them"):
        fusion(torch.ones(2, 3))


@pytest.mark.parametrize("fusion", [SumFusion, ProductFusion])
def test_views_of_unequal_width_are_sent_to_a_transformation(fusion):
    name = fusion.__name__
    text = rf"a {name} needs views of one width, not \[3, 4\]; .*learned\(\[3, 4\], width, fusion={name}"
    with pytest.raises(ValueError, match=text):
        fusion([3, 4])
    assert TransformFusion.learned([3, 4], 6, fusion=fusion)(views(3, 4, dtype=torch.float32)).shape == (4, 6)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ConcatFusion([]), r"widths=\[\]; give a width for each view, at least 1"),
        (lambda: SumFusion([]), r"widths=\[\]; give a width"),
        (lambda: ConcatFusion([3, 0]), r"widths=\[3, 0\] hold 0; a view has at least one feature"),
        (lambda: BilinearFusion([3], 2), r"widths=\[3\]; give a width for each view, at least 2"),
        (lambda: BilinearFusion([3, 3], 0), "width=0 must be at least 1"),
        (lambda: BilinearFusion([3, 3], 2, rank=0), "rank=0 must be at least 1; None for whole"),
        (lambda: BilinearFusion([3, 3], 2).matrices((1, 0)), r"no pair \(1, 0\); the pairs are \[\(0, 1\)\]"),
        (lambda: TransformFusion.learned([3, 3], 0), "width=0 must be at least 1"),
        (lambda: ProbabilityAverage(0), "weights=None for n_views=0; give a positive number for each view"),
        (lambda: ProbabilityAverage(-1), "weights=None for n_views=-1"),
        (lambda: ProbabilityAverage(2, weights=[1]), r"weights=\[1\] for n_views=2"),
        (lambda: ProbabilityAverage(2, weights=[1, 0]), r"weights=\[1, 0\] for n_views=2"),
        (lambda: ProbabilityAverage(1, weights=[float("nan")]), r"weights=\[nan\] for n_views=1"),
        (
            lambda: ProbabilityAverage(2)([torch.ones(2, 1), torch.ones(2, 2) / 2]),
            r"views give \[1, 2\] classes; all must know the same ones",
        ),
        (
            lambda: ProbabilityAverage(2)([torch.ones(2, 2) / 2, torch.tensor([[0.5, 0.5], [3.0, 1.0]])]),
            "view 1, row 1 sums to 4, its smallest entry is 1: no probabilities; apply softmax",
        ),
        (
            lambda: ProbabilityAverage(1)([torch.tensor([[1.5, -0.5]])]),
            r"view 0, row 0 sums to 1, its smallest entry is -0\.5: no probabilities",
        ),
        (
            lambda: ProbabilityAverage(1)([torch.tensor([[0.5, 0.501]])]),
            r"view 0, row 0 sums to 1\.001",
        ),
        (
            lambda: ProbabilityAverage(1)([torch.tensor([[torch.nan, 1.0]])]),
            "view 0 holds nan or infinite values; leave",
        ),
        (
            lambda: ProbabilityAverage(2)([torch.ones(2, 1), torch.ones(3, 1)]),
            r"views hold \[2, 3\] items",
        ),
        (lambda: ProbabilityAverage(1)([torch.ones(2)]), r"view 0 is \(2,\); give \(B, D\)"),
    ],
)
def test_settings_and_probabilities_that_are_none_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
