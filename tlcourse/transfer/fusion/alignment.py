"""Matrices that bring views into one space, in closed form: rotations (Procrustes) and canonical correlations."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.transfer.fusion.views import Views, check_views


class Alignment(NamedTuple):
    """View v becomes (x − means[v]) @ matrices[v], (N, W).

    means: (D,) of each view; matrices: (D, W) of each view; strengths: of `procrustes`, (number of views,) how well each
    view, rotated and scaled, fits the first (1 minus the squared residual, 0 … 1); of `cca`, (W,) correlations, the
    largest first. All float64.
    """

    means: tuple[Tensor, ...]
    matrices: tuple[Tensor, ...]
    strengths: Tensor


def procrustes(views: Views) -> Alignment:
    """Rotate every view onto the first: the orthogonal R with the smallest ‖X R − X₀‖, columns centred.

    views: (N, D) each, the same N items. Narrower views are filled up with zeros to the widest, W. Schönemann (1966),
    "A generalized solution of the orthogonal Procrustes problem": R = U Vᵀ of the singular value decomposition of
    XᵀX₀. strength of a view: (sum of these singular values)² / (‖X‖² ‖X₀‖²), which no rotation or scale of it changes.
    Raises ValueError on nan, on views of unequal N, on fewer than two, and on a view that is constant.
    """
    means, centred = _centred(views)
    width = max(view.shape[1] for view in centred)
    first, *others = [F.pad(view, (0, width - view.shape[1])) for view in centred]  # (N, W)
    matrices, strengths = [torch.eye(width, dtype=torch.float64)], [1.0]
    for other in others:
        u, s, vt = torch.linalg.svd(other.T @ first)
        matrices.append(u @ vt)
        strengths.append((s.sum() ** 2 / (other.square().sum() * first.square().sum())).item())
    kept = [matrix[: view.shape[1]] for matrix, view in zip(matrices, centred, strict=True)]
    return Alignment(means, tuple(kept), torch.tensor(strengths, dtype=torch.float64))


def cca(views: Views, width: int, *, shrinkage: float = 0.0) -> Alignment:
    """The `width` directions of each view that correlate most with the other view's, each of variance one.

    Hotelling (1936), "Relations between two sets of variates". For more than two views: the directions in which the sum
    of the whitened views varies most (Kettenring 1971), of mean variance one over the views; strengths are then the
    excess of that variance, which for two views is the correlation. shrinkage s in 0 … 1 replaces each view's
    covariance C by (1 − s) C + s · (mean variance) · I, in which variances are then measured. Raises ValueError on nan, on views of unequal N, on fewer than two, where width exceeds the
    narrowest view, and, without shrinkage, on a view of dependent columns and on N ≤ the sum of all D, where
    correlations of one exist whatever the data.
    """
    means, centred = _centred(views)
    _check_cca(centred, width, shrinkage)
    whiteners = [_whitener(number, view, shrinkage) for number, view in enumerate(centred)]  # (D, D)
    white = torch.cat([view @ k for view, k in zip(centred, whiteners, strict=True)], 1)  # (N, sum of D)
    joint = white.T @ white / (len(white) - 1)
    start, n = 0, len(centred)
    for view in centred:
        # One view's own covariance is whitened away; what shrinkage leaves of it must not count as agreement.
        stop = start + view.shape[1]
        joint[start:stop, start:stop] = torch.eye(stop - start, dtype=torch.float64)
        start = stop
    values, vectors = torch.linalg.eigh(joint)
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]  # the largest first
    blocks = vectors.split([view.shape[1] for view in centred])
    matrices = [n**0.5 * k @ block for k, block in zip(whiteners, blocks, strict=True)]
    at = matrices[0].abs().argmax(0, keepdim=True)
    signs = torch.where(
        matrices[0].gather(0, at) < 0, -1.0, 1.0
    )  # a direction and its negative are one: choose
    return Alignment(means, tuple(m * signs for m in matrices), (values - 1) / (n - 1))


def _whitener(number: int, view: Tensor, shrinkage: float) -> Tensor:
    """(D, D): the columns of view @ whitener are uncorrelated, of variance one where nothing is shrunk."""
    _, s, vt = torch.linalg.svd(view, full_matrices=view.shape[0] < view.shape[1])
    variances = F.pad(s.square() / (len(view) - 1), (0, view.shape[1] - len(s)))
    rank = int((s > s[0] * max(view.shape) * torch.finfo(torch.float64).eps).sum())
    if shrinkage == 0 and rank < view.shape[1]:
        raise ValueError(
            f"view {number} has {view.shape[1]} features but rank {rank}: some are constant or sums of others; leave "
            "them out, or set shrinkage=0.1"
        )
    variances = (1 - shrinkage) * variances + shrinkage * variances.mean()
    return vt.T / variances.sqrt()


def _centred(views: Views) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    check_views(views, [None] * len(views))
    if len(views) < 2:
        raise ValueError(f"{len(views)} view; there is nothing to align it with, give at least two")
    found = [view.detach().cpu().double() for view in views]
    for number, view in enumerate(found):
        if not torch.isfinite(view).all():
            raise ValueError(
                f"view {number} holds nan or infinite values; leave those rows out of every view"
            )
        if len(view) < 2 or (view == view[0]).all():
            raise ValueError(
                f"view {number} is constant over its {len(view)} rows; there is nothing to align"
            )
    means = tuple(view.mean(0) for view in found)
    return means, [view - mean for view, mean in zip(found, means, strict=True)]


def _check_cca(views: list[Tensor], width: int, shrinkage: float) -> None:
    widths = [view.shape[1] for view in views]
    if not 1 <= width <= min(widths):
        raise ValueError(f"width={width} for views {widths} wide; choose 1 to {min(widths)}")
    if not 0 <= shrinkage < 1:
        raise ValueError(f"shrinkage={shrinkage} must be at least 0 and below 1")
    if shrinkage == 0 and len(views[0]) <= sum(widths):
        raise ValueError(
            f"{len(views[0])} samples for {' + '.join(map(str, widths))} dimensions: perfect correlations exist "
            f"whatever the data; give more than {sum(widths)} samples, reduce the views (PCA), or set shrinkage=0.1"
        )
