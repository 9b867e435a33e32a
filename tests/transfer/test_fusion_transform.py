"""Procrustes against SciPy, canonical correlations against scikit-learn and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes as scipy_procrustes
from sklearn.cross_decomposition import CCA
from torch import nn

from tlcourse.transfer.fusion import ConcatFusion, ProductFusion, SumFusion, TransformFusion, cca, procrustes


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def correlated(n=300, widths=(5, 4), seed=0):
    """Views that mix two common sources with noise of their own, offset and of unequal scale."""
    generator = seeded(seed)
    common = torch.randn(n, 2, dtype=torch.float64, generator=generator)
    found = []
    for i, d in enumerate(widths):
        mix = torch.randn(2, d, dtype=torch.float64, generator=generator)
        noise = torch.randn(n, d, dtype=torch.float64, generator=generator)
        found.append(3 * i + (common @ mix + noise) * torch.linspace(1, 10, d))
    return found


def centred(views):
    return [(view - view.mean(0)).numpy() for view in views]


def error(a, b):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return ((a - b).abs().max() / b.abs().max()).item()


# ---------------------------------------------------------------- Procrustes


def test_rotations_match_scipy_on_centred_views():
    views = correlated(widths=(4, 4, 4))
    found = procrustes(views)
    first, *others = centred(views)
    assert torch.equal(found.matrices[0], torch.eye(4, dtype=torch.float64))
    for matrix, other in zip(found.matrices[1:], others, strict=True):
        expected, scale = orthogonal_procrustes(other, first)
        assert error(matrix, expected) < 1e-10
        assert np.allclose(matrix @ matrix.T, np.eye(4), atol=1e-12)
    strength = scale**2 / ((others[-1] ** 2).sum() * (first**2).sum())
    assert found.strengths[2].item() == pytest.approx(strength, rel=1e-10)
    assert found.strengths[1].item() == pytest.approx(1 - scipy_procrustes(first, others[0])[2], rel=1e-10)


def test_a_rotated_view_is_brought_back_whatever_its_offset():
    (x,) = correlated(widths=(5,))
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=seeded(3)))
    views = [x, (x - 7) @ rotation]
    found = procrustes(views)
    assert error(found.matrices[1], rotation.T) < 1e-10
    assert found.strengths[1].item() == pytest.approx(1, rel=1e-12)
    a, b = TransformFusion.procrustes(views).transform(views)
    assert error(b, a) < 1e-12
    torch.testing.assert_close(a, x - x.mean(0))


@pytest.mark.parametrize("widths", [(3, 5), (5, 3)])
def test_views_of_unequal_width_leave_the_residual_scipy_finds_with_zeros_filled_up(widths):
    views = correlated(widths=widths)
    padded = [np.pad(view, ((0, 0), (0, 5 - view.shape[1]))) for view in centred(views)]
    rotation, _ = orthogonal_procrustes(padded[1], padded[0])
    expected = np.linalg.norm(padded[1] @ rotation - padded[0])
    a, b = TransformFusion.procrustes(views).transform(views)
    assert a.shape == b.shape == (300, 5)
    # Where singular values are zero, several rotations are equally good.
    assert (b - a).norm().item() == pytest.approx(expected, rel=1e-10)
    assert (b.norm() - np.linalg.norm(padded[1])).abs() < 1e-9


# ---------------------------------------------------------------- CCA


@pytest.mark.parametrize("widths", [(5, 4), (4, 4), (2, 6)])
def test_correlations_and_directions_match_scikit_learn(widths):
    views = correlated(widths=widths)
    x, y = (view.numpy() for view in views)
    theirs = CCA(2, tol=1e-14, max_iter=100_000).fit(x, y)
    found = cca(views, 2)
    a, b = TransformFusion.cca(views, 2).transform(views)
    for i, (u, v) in enumerate(zip(*(s.T for s in theirs.transform(x, y)), strict=True)):
        assert found.strengths[i].item() == pytest.approx(np.corrcoef(u, v)[0, 1], rel=1e-6)
        # The same variates, but for sign and scale.
        assert abs(np.corrcoef(u, a[:, i])[0, 1]) == pytest.approx(1, rel=1e-6)
        assert abs(np.corrcoef(v, b[:, i])[0, 1]) == pytest.approx(1, rel=1e-6)
    torch.testing.assert_close(a.T @ a / 299, torch.eye(2, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(b.T @ b / 299, torch.eye(2, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(a.T @ b / 299, found.strengths.diag(), atol=1e-10, rtol=0)


def test_correlations_are_the_cosines_between_the_spaces_of_the_views():
    """Björck & Golub (1973): singular values of Q₁ᵀQ₂, Q orthonormal bases of the centred columns."""
    views = correlated(widths=(5, 4))
    q = [np.linalg.qr(view)[0] for view in centred(views)]
    expected = np.linalg.svd(q[0].T @ q[1], compute_uv=False)
    assert error(cca(views, 4).strengths, expected) < 1e-12


def test_correlations_do_not_change_with_an_invertible_map_of_a_view():
    x, y = correlated()
    mix = torch.randn(5, 5, dtype=torch.float64, generator=seeded(5))
    moved = [x @ mix + 100, -3 * y]
    assert error(cca(moved, 4).strengths, cca([x, y], 4).strengths) < 1e-9
    ours, theirs = TransformFusion.cca([x, y], 2)([x, y]), TransformFusion.cca(moved, 2)(moved)
    assert error(theirs.abs(), ours.abs()) < 1e-7  # a direction may point the other way


def test_three_views_match_the_leading_directions_of_their_sum_of_projections():
    """Eigenvectors of P₁ + P₂ + P₃, P the projection onto a view's columns; the sum of transforms is along them."""
    views = correlated(widths=(4, 3, 5))
    q = [np.linalg.qr(view)[0] for view in centred(views)]
    values, vectors = np.linalg.eigh(sum(basis @ basis.T for basis in q))
    found = cca(views, 2)
    np.testing.assert_allclose(found.strengths, (values[::-1][:2] - 1) / 2, rtol=1e-10)
    transformed = TransformFusion.cca(views, 2).transform(views)
    total = sum(transformed)
    for i in range(2):
        cosine = (total[:, i] / total[:, i].norm()).numpy() @ vectors[:, ::-1][:, i]
        assert abs(cosine) == pytest.approx(1, rel=1e-10)
    variances = torch.stack([t.var(0) for t in transformed]).mean(0)
    torch.testing.assert_close(variances, torch.ones(2, dtype=torch.float64))
    same = cca([views[0]] * 3, 2)
    torch.testing.assert_close(same.strengths, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("ridge", [0.1, 3])
@pytest.mark.parametrize("n", [300, 6])
def test_a_ridge_solves_its_own_eigenproblem_also_with_fewer_samples_than_dimensions(ridge, n):
    views = correlated(n=n, widths=(5, 4))
    x, y = centred(views)
    covariance = [v.T @ v / (n - 1) for v in (x, y)]
    a, b = (c + ridge * np.trace(c) / len(c) * np.eye(len(c)) for c in covariance)
    cross = x.T @ y / (n - 1)
    # ρ² are the eigenvalues of A⁻¹ C B⁻¹ Cᵀ.
    squares = np.linalg.eigvals(np.linalg.solve(a, cross) @ np.linalg.solve(b, cross.T)).real
    found = cca(views, 2, ridge=ridge)
    np.testing.assert_allclose(found.strengths, np.sqrt(np.sort(squares)[::-1][:2]), rtol=1e-9)
    first, second = (m.numpy() for m in found.matrices)
    np.testing.assert_allclose(first.T @ a @ first, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(first.T @ cross @ second, np.diag(found.strengths), atol=1e-9)
    assert (found.strengths < 1).all()


def test_a_direction_is_chosen_and_a_width_of_one_is_the_first_of_two():
    views = correlated()
    found, one = cca(views, 2), cca(views, 1)
    assert torch.equal(one.matrices[1], found.matrices[1][:, :1])
    biggest = found.matrices[0].gather(0, found.matrices[0].abs().argmax(0, keepdim=True))
    assert (biggest > 0).all()


# ---------------------------------------------------------------- the fusion


@pytest.mark.parametrize(("fusion", "width"), [(SumFusion, 2), (ProductFusion, 2), (ConcatFusion, 4)])
def test_views_are_transformed_and_then_fused(fusion, width):
    views = correlated()
    model = TransformFusion.cca(views, 2, fusion=fusion)
    found = cca(views, 2)
    by_hand = [(v - m) @ a for v, m, a in zip(views, found.means, found.matrices, strict=True)]
    expected = {SumFusion: sum, ProductFusion: lambda t: t[0] * t[1], ConcatFusion: lambda t: torch.cat(t, 1)}
    assert error(model(views), expected[fusion](by_hand)) < 1e-12
    assert model.width == width


def test_a_learned_transformation_is_a_linear_layer_for_each_view():
    views = [view.float() for view in correlated(n=7)]
    model = TransformFusion.learned([5, 4], 3)
    expected = nn.functional.linear(views[0], model.maps[0].weight) + nn.functional.linear(
        views[1], model.maps[1].weight
    )
    torch.testing.assert_close(model(views), expected, rtol=1e-5, atol=1e-5)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("make", [TransformFusion.procrustes, lambda views: TransformFusion.cca(views, 2)])
def test_computed_matrices_are_frozen_and_of_the_views_type_and_leave_the_views(make):
    views = [view.float() for view in correlated()]
    kept = [view.clone() for view in views]
    model = make(views)
    assert not any(p.requires_grad for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert all(torch.equal(view, k) for view, k in zip(views, kept, strict=True))
    model.requires_grad_(True)
    model(views).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    other = make([view + torch.randn(view.shape, generator=seeded(8)) for view in views])
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(views), model(views))


X, Y = correlated(n=12, widths=(5, 4))


def with_nan():
    x = X.clone()
    x[3, 2] = torch.nan
    return x


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: procrustes([X]), "1 view; there is nothing to align it with, give at least two"),
        (lambda: procrustes([X, Y[:9]]), r"views hold \[12, 9\] items"),
        (lambda: procrustes([with_nan(), Y]), "view 0 holds nan or infinite values; leave those rows out"),
        (lambda: procrustes([X, torch.ones(12, 4)]), "view 1 is constant over its 12 rows"),
        (lambda: cca([X[:1], Y[:1]], 1), "view 0 is constant over its 1 rows"),
        (lambda: cca([X, Y], 5), r"width=5 for views \[5, 4\] wide; choose 1 to 4"),
        (lambda: cca([X, Y], 0), "width=0 for views"),
        (lambda: cca([X, Y], 2, ridge=math.nan), "ridge=nan must be at least 0"),
        (lambda: cca([X, Y], 2, ridge=-0.1), r"ridge=-0\.1 must be"),
        (
            lambda: TransformFusion.cca([X[:9], Y[:9]], 2),
            r"9 samples for 5 \+ 4 dimensions: perfect correlations exist .* give more than 9 samples",
        ),
        (
            lambda: cca([X, torch.cat([Y, Y[:, :1] + Y[:, 1:2]], 1)], 2),
            r"view 1 has 5 features but rank 4: some are constant or sums of others; leave them out",
        ),
        (lambda: TransformFusion.procrustes([X, Y[:, 0]]), r"view 1 is \(12,\); give \(B, D\)"),
    ],
)
def test_views_that_cannot_be_aligned_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_dependent_columns_are_taken_with_ridge():
    views = [X, torch.cat([Y, Y[:, :1] + Y[:, 1:2]], 1)]
    assert torch.isfinite(cca(views, 2, ridge=0.1).matrices[1]).all()
    assert torch.isfinite(procrustes(views).matrices[1]).all()
