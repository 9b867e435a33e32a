"""Between two sets of features: CKA of the same samples, MMD and Fréchet distance of different ones."""

import numpy as np

from tlcourse.transfer.distance.inputs import matrix

_BLOCK = 4_000_000  # kernel values held at once
_MEDIAN_POINTS = 2000


def linear_cka(x, y) -> float:
    """Linear centred kernel alignment ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centred features, Frobenius norms; a pure number.

    x: (N, D), y: (N, E): the same samples through two models, row by row; symmetric.
    Larger is nearer. Range: 0 to 1. To compare: pairs of models on the same samples; at D or E near N even unrelated
    features come close to 1. Does not change with a rotation, a shift or a common scale of either; does with other
    linear maps. Kornblith et al. (2019), "Similarity of neural network representations revisited".
    Raises ValueError on NaN, on numbers of samples that differ, on constant features.
    """
    x, y = matrix(x, "x"), matrix(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples and y {len(y)}; give the same samples through both models")
    x, y = _centred(x, "x"), _centred(y, "y")
    if len(x) <= max(x.shape[1], y.shape[1]):
        k, m = x @ x.T, y @ y.T  # (N, N)
        return float(np.clip((k * m).sum() / (np.linalg.norm(k) * np.linalg.norm(m)), 0, 1))
    cross = np.linalg.norm(x.T @ y)
    return float(np.clip(cross**2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)), 0, 1))


def _centred(x: np.ndarray, name: str) -> np.ndarray:
    centred = x - x.mean(axis=0)
    size = np.linalg.norm(centred)
    if size <= len(x) * np.finfo(np.float64).eps * np.linalg.norm(x):
        raise ValueError(
            f"{name} is the same for all {len(x)} samples; alignment is undefined without variance"
        )
    return centred / size


def mmd(x, y, *, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy under a Gaussian kernel, the unbiased estimate; a pure number.

    x: (N, D), y: (M, D): two sets of samples through one model; symmetric. bandwidth: h in
    exp(−‖a − b‖²/2h²), in the features' own units; None: `median_distance` of both sets together.
    Smaller is nearer. Range: −1/(N−1) − 1/(M−1) to 2; two samples of one distribution give 0 on average, so
    either sign. To compare: sources against one target in one feature space and with one bandwidth (None chooses
    another for each pair). Needs source data. Gretton et al. (2012), "A kernel two-sample test".
    Raises ValueError on NaN, on numbers of features that differ, on a bandwidth that is not positive and finite.
    """
    x, y = _one_space(x, y)
    centre = np.concatenate([x, y]).mean(axis=0)  # distances stay, and lose fewer digits
    x, y = x - centre, y - centre
    h = median_distance(np.concatenate([x, y])) if bandwidth is None else bandwidth
    if not (np.isfinite(h) and h > 0):
        raise ValueError(f"bandwidth={h} must be positive and finite; try median_distance(x)")
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x, h) - n) / (n * (n - 1))
    within_y = (_kernel_sum(y, y, h) - m) / (m * (m - 1))
    return float(within_x + within_y - 2 * _kernel_sum(x, y, h) / (n * m))


def median_distance(x) -> float:
    """Median Euclidean distance of two samples, in the features' own units: the usual bandwidth of `mmd`.

    x: (N, D). Of more than 2,000 samples 2,000 are taken, evenly spaced. Raises ValueError on NaN and where most
    samples coincide.
    """
    x = matrix(x, "x")
    if len(x) > _MEDIAN_POINTS:
        x = x[np.linspace(0, len(x) - 1, _MEDIAN_POINTS).round().astype(int)]
    x = x - x.mean(axis=0)
    distances = np.sqrt(_squared_distances(x, x)[np.triu_indices(len(x), 1)])
    median = float(np.median(distances))
    if median <= 1e-7 * np.sqrt(np.square(x).sum(axis=1).max()):  # below, squared distances are rounding
        raise ValueError(
            f"most of {len(x)} samples coincide, so that their median distance is 0; give a bandwidth"
        )
    return median


def frechet_distance(x, y) -> float:
    """Squared Fréchet distance of two Gaussians fitted to the features: ‖μ−ν‖² + tr(S + T − 2 (S T)^½).

    x: (N, D), y: (M, D): two sets of samples through one model; symmetric. Means μ, ν; covariances S, T by N − 1.
    Squared, as in the Fréchet inception distance; in the features' units squared.
    Smaller is nearer. Range: 0 to ∞. To compare: sources against one target in one feature space and with equal N
    and M: few samples make it larger. Does not change with a rotation or a shift of both. Needs source data.
    Dowson & Landau (1982); Heusel et al. (2017).
    Raises ValueError on NaN, on numbers of features that differ.
    """
    x, y = _one_space(x, y)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    # With S = AᵀA and T = BᵀB, the trace of (S T)^½ is the sum of the singular values of A Bᵀ: no root of a matrix.
    a = np.linalg.qr((x - mean_x) / np.sqrt(len(x) - 1), mode="r")  # (min(N, D), D)
    b = np.linalg.qr((y - mean_y) / np.sqrt(len(y) - 1), mode="r")
    trace = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    squared = np.square(mean_x - mean_y).sum() + np.square(a).sum() + np.square(b).sum() - 2 * trace
    return float(max(squared, 0.0))


def _one_space(x, y) -> tuple[np.ndarray, np.ndarray]:
    x, y = matrix(x, "x"), matrix(y, "y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} features and y {y.shape[1]}; put both samples through one model"
        )
    return x, y


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
    return np.maximum(squares, 0)  # (N, M)


def _kernel_sum(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    rows = max(1, _BLOCK // len(y))
    blocks = (x[start : start + rows] for start in range(0, len(x), rows))
    return sum(np.exp(_squared_distances(block, y) / (-2 * bandwidth**2)).sum() for block in blocks)
