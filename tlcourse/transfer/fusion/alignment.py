"""Matrices that bring views into one space, in closed form: rotations (Procrustes) and canonical correlations."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.transfer.fusion.views import Views, check_views


class Alignment(NamedTuple):
    """View v becomes (x − means[v]) @ matrices[v], (N, W).

    means: (D,) of each view; matrices: (D, W) of each view; strengths: of `procrustes`, one a view, how well it fits
    the first, rotated and scaled (1 minus the squared residual, 0 … 1); of `cca`, (W,) correlations, the largest first.
    All float64.
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


def cca(views: Views, width: int, *, ridge: float = 0.0) -> Alignment:
    """The `width` directions of each view that correlate most with the other view's, each of variance one.

    Hotelling (1936), "Relations between two sets of variates". For more than two views: the directions in which the sum
    of the whitened views varies most (Kettenring 1971), of variance one in the mean over views; a strength is 1 where
    all views agree, 0 where they are unrelated. ridge r: each view's covariance C becomes C + r · (mean variance) · I
    (Vinod 1976), in which variances are then measured, so that strengths are smaller than the correlations. Raises
    ValueError on nan, on views of unequal N, on fewer than two, where width exceeds the narrowest view, and, without a
    ridge, on a view of dependent columns and on N ≤ the sum of all D: there, correlations of one always exist.
    """
    means, centred = _centred(views)
    _check_cca(centred, width, ridge)
    whiteners = [_whitener(number, view, ridge) for number, view in enumerate(centred)]  # (D, D)
    white = torch.cat([view @ k for view, k in zip(centred, whiteners, strict=True)], 1)  # (N, sum of D)
    joint = white.T @ white / (len(white) - 1)
    start, n = 0, len(centred)
    for view in centred:
        # With a ridge, a view's own covariance is not whitened to one, and must not count as agreement.
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


def _whitener(number: int, view: Tensor, ridge: float) -> Tensor:
    """(D, D): the columns of view @ whitener are uncorrelated, of variance one where ridge is 0."""
    _, s, vt = torch.linalg.svd(view, full_matrices=view.shape[0] < view.shape[1])
    variances = F.pad(s.square() / (len(view) - 1), (0, view.shape[1] - len(s)))
    rank = int((s > s[0] * max(view.shape) * torch.finfo(torch.float64).eps).sum())
    if ridge == 0 and rank < view.shape[1]:
        raise ValueError(
            f"view {number} has {view.shape[1]} features but rank {rank}: some are constant or sums of others; leave "
            "them out, or set ridge=0.1"
        )
    variances = variances + ridge * variances.mean()
    return vt.T / variances.sqrt()


def _centred(views: Views) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    check_views(views, [None] * len(views))
    if len(views) < 2:
        raise ValueError(f"{len(views)} view; there is nothing to align it with, give at least two")
    found = [view.detach().cpu().double() for view in views]
    for number, view in enumerate(found):
        if len(view) < 2 or (view == view[0]).all():
            raise ValueError(
                f"view {number} is constant over its {len(view)} rows; there is nothing to align"
            )
    means = tuple(view.mean(0) for view in found)
    return means, [view - mean for view, mean in zip(found, means, strict=True)]


def _check_cca(views: list[Tensor], width: int, ridge: float) -> None:
    widths = [view.shape[1] for view in views]
    if not 1 <= width <= min(widths):
        raise ValueError(f"width={width} for views {widths} wide; choose 1 to {min(widths)}")
    if not (math.isfinite(ridge) and ridge >= 0):
        raise ValueError(f"ridge={ridge} must be at least 0, a share of the mean variance")
    if ridge == 0 and len(views[0]) <= sum(widths):
        raise ValueError(
            f"{len(views[0])} samples for {' + '.join(map(str, widths))} dimensions: perfect correlations exist "
            f"whatever the data; give more than {sum(widths)} samples, reduce the views (PCA), or set ridge=0.1"
        )
