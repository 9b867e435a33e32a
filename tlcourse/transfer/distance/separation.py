"""H-score: how much of the features' variance lies between the classes, each direction at its own scale."""

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from tlcourse.transfer.distance.inputs import class_codes, matrix, precision


def h_score(features, labels, *, shrink: bool = False) -> float:
    """tr(cov(f)⁺ · cov(E[f|y])), a pure number.

    features: (N, D), of the target's samples; labels: (N,) whole numbers.
    Larger is nearer. Range: 0 to min(D, C − 1), the sum of squared canonical correlations of features and classes. To
    compare: sources on the same samples and labels, with D well below N: at D ≥ N − 1 any features in general
    position reach C − 1, whatever they hold. Does not change with any invertible affine map of the features.
    Directions that only rounding fills, at the precision the features came in, are left out of the inverse.
    shrink=True puts (1 − λ) cov + λ (tr cov / D) I in cov's place and (1 − λ) cov(E[f|y]), with λ of Ledoit &
    Wolf, which is meant for D near or above N; it changes with the scale of single features.
    Bao et al. (2019), "An information-theoretic approach to transferability in task transfer learning"; shrinkage by
    Ibrahim et al. (2022), "Newer is not always better".
    Raises ValueError on NaN, on one class, on a class with one sample, on lengths that differ.
    """
    f = matrix(features, "features")
    codes, sizes = class_codes(labels, len(f), "features")
    n, d = f.shape
    rounding = precision(features) * np.sqrt(np.square(f).mean()) * (np.sqrt(n) + np.sqrt(d))
    f = f - f.mean(axis=0)
    u, singular, _ = np.linalg.svd(f, full_matrices=False)  # (N, R), (R,)
    keep = singular > max(rounding, singular[0] * max(n, d) * np.finfo(np.float64).eps)
    if not keep.any():
        return 0.0  # constant features
    u, singular = u[:, keep], singular[keep]
    between = (
        np.square(np.eye(len(sizes))[:, codes] @ u) / sizes[:, None]
    )  # (C, R), share of each class and direction
    share = between.sum(axis=0)  # (R,) between-class share of a direction's variance
    if not shrink:
        return float(share.sum())
    amount = ledoit_wolf_shrinkage(f, assume_centered=True)
    variance = (1 - amount) * np.square(singular) / n  # (R,)
    return float((share * variance / (variance + amount * np.square(f).sum() / (n * d))).sum())
