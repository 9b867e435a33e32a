"""LogME: how well a linear model could explain the labels, weights integrated out (You et al. 2021).

Labels y are taken as F w + noise with w ~ N(0, 1/α) and noise ~ N(0, 1/β), so y ~ N(0, I/β + F Fᵀ/α). The evidence
is that density at the labels; LogME is its largest logarithm over α and β. You et al. walk towards it by a fixed
point that can stop short where features outnumber samples. In the singular basis of F nothing but the ratio
g = β/α is left to choose, and one dimension can be searched from end to end.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from tlcourse.transfer.distance.inputs import array, class_codes, matrix

_EPS = np.finfo(np.float64).eps
_STEP = 0.125  # of log g; every term of the evidence is a logistic function of log g and changes over several units


@dataclass(frozen=True, eq=False)
class Evidence:
    """The largest log evidence of each target column and where it is.

    nats: (K,) per sample; alpha, beta: (K,) precisions of the weights and of the noise. alpha is infinite where the
    features do not help, beta where the model has no noise left. nats is infinite where fewer directions than samples
    give the column exactly: the evidence then grows without bound.
    """

    nats: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray


def logme(features, labels) -> float:
    """Logarithm of maximum evidence, in nats per sample: the mean over classes, one against the rest.

    features: (N, D), of the target's samples; labels: (N,) whole numbers.
    Larger is nearer. Range: any real number, or inf where the features hold the labels themselves. To compare: sources
    on the same samples and labels, of any D; not targets. Does not change with a rotation or a common scale of the
    features, does with their mean and with the scale of single ones. You et al. (2021), "LogME: practical
    assessment of pre-trained models for transfer learning".
    Raises ValueError on NaN, on one class, on a class with one sample, on lengths that differ.
    """
    features = matrix(features, "features")
    codes, sizes = class_codes(labels, len(features), "features")
    return float(max_evidence(features, targets=np.eye(len(sizes))[codes]).nats.mean())


def max_evidence(features, *, targets) -> Evidence:
    """Largest log evidence of each target column, and its α and β.

    features: (N, D); targets: (N, K) or (N,) real numbers, as of a regression:
    `max_evidence(features, targets=ratings).nats[0]`.
    There is no intercept: centre targets and features if you want one.
    Raises ValueError on NaN, on lengths that differ, on a column of zeros.
    """
    f = matrix(features, "features")
    y = array(targets, "targets")
    y = y[:, None] if y.ndim == 1 else y  # (N, K)
    if y.ndim != 2 or len(y) != len(f):
        raise ValueError(f"features has {len(f)} samples and targets shape {y.shape}; give (N,) or (N, K)")
    size = np.abs(y).max(axis=0)  # (K,)
    if not size.all():
        raise ValueError(f"target column {int(np.argmin(size))} is all zero; it has nothing to explain")

    n, y = len(f), y / size
    u, singular, _ = np.linalg.svd(f, full_matrices=False)
    rank = int((singular > singular[0] * max(f.shape) * _EPS).sum())
    u, singular = u[:, :rank], singular[:rank]  # (N, R), (R,)
    scale = singular[0] if rank else 1.0
    power = np.square(singular / scale)  # (R,) at most 1
    along = u.T @ y  # (R, K)
    inside = np.square(along)
    outside = np.square(y - u @ along).sum(axis=0) if rank < n else np.zeros_like(size)
    outside[outside <= np.square(n * _EPS) * np.square(y).sum(axis=0)] = 0.0  # rounding, nothing else

    log_ratio, loss = _best_ratio(power, inside, outside, n)  # (K,), (K,)
    ratio, at_end = np.exp(log_ratio), np.isinf(log_ratio) & (log_ratio > 0)
    with np.errstate(divide="ignore"):  # a precision of 1/0 is infinite and means so
        noise = ((inside / (1 + np.where(at_end, 0, ratio) * power[:, None])).sum(axis=0) + outside) / n
        weights = np.where(at_end, (inside / power[:, None]).sum(axis=0) / n, ratio * noise)
        return Evidence(
            nats=-0.5 * (np.log(2 * np.pi) + 1 + loss) - np.log(size),
            alpha=np.square(scale / size) / weights,
            beta=np.where(at_end, np.inf, 1 / (np.square(size) * noise)),
        )


def _loss(
    log_ratio: np.ndarray, power: np.ndarray, inside: np.ndarray, outside: np.ndarray, n: int
) -> np.ndarray:
    """(T, K): −2/N · log evidence less its constant, at g = exp(log_ratio) and the best noise for it.

    log_ratio: (T,); power: (R,); inside: (R, K); outside: (K,). In the singular basis the labels' variances are
    (1 + g·power)/β along R directions and 1/β in the others.
    """
    gain = np.exp(log_ratio)[:, None] * power  # (T, R)
    noise = ((1 / (1 + gain)) @ inside + outside) / n  # (T, K)
    return np.log(noise) + np.log1p(gain).sum(axis=1, keepdims=True) / n


def _best_ratio(
    power: np.ndarray, inside: np.ndarray, outside: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """log(β/α) of the smallest loss, over −∞ … ∞, and that loss, each (K,).

    A grid over all that can matter, then every dip of it refined: the loss may have several.
    """
    rank, k = inside.shape
    best_loss = _loss(np.array([-np.inf]), power, inside, outside, n)[0]  # the features left unused
    best_ratio = np.full(k, -np.inf)
    if rank == 0:
        return best_ratio, best_loss
    end = np.full(k, np.inf)  # the loss at +∞
    if rank == n:
        end = np.log((1 / power) @ inside / n) + np.log(power).sum() / n
    end[(outside == 0) & (rank < n)] = -np.inf
    best_ratio[end < best_loss] = np.inf
    best_loss = np.minimum(best_loss, end)
    # Left of the grid features add less than 1e-8 nats; right of it noise is lost in rounding, or the loss at its end.
    grid = np.arange(-20.0, (75.0 if rank < n else 20.0) - np.log(power[-1]), _STEP)
    loss = _loss(grid, power, inside, outside, n)  # (T, K)
    # Its second derivative is at most ½, so refining gains at most ¼ step²: other dips cannot become the lowest.
    low = loss[1:-1] < np.minimum(loss.min(axis=0), best_loss) + _STEP**2
    dips = low & (loss[1:-1] <= loss[:-2]) & (loss[1:-1] < loss[2:])
    for point, column in np.argwhere(dips):
        refined = minimize_scalar(
            lambda t, c=column: _loss(np.array([t]), power, inside[:, [c]], outside[[c]], n)[0, 0],
            bounds=(grid[point], grid[point + 2]),
            method="bounded",
            options={"xatol": 1e-8},
        )
        if refined.fun < best_loss[column]:
            best_loss[column], best_ratio[column] = refined.fun, refined.x
    return best_ratio, best_loss
