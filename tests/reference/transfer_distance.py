"""Slow, obvious versions of what `tlcourse.transfer.distance` computes with decompositions."""

import math
from collections import Counter

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf


def log_evidence(features, y, log_alpha, log_beta):
    """Log density of y, per sample, under y ~ N(0, I/β + F Fᵀ/α): the definition, with the N × N matrix."""
    covariance = np.exp(-log_beta) * np.eye(len(y)) + np.exp(-log_alpha) * features @ features.T
    return multivariate_normal.logpdf(y, np.zeros(len(y)), covariance, allow_singular=False) / len(y)


def largest_log_evidence(features, y, reach=20.0):
    """By a general optimiser from many starts, within log α, log β of ±reach."""

    def loss(x):
        try:
            return -log_evidence(features, y, *np.clip(x, -reach, reach))
        except np.linalg.LinAlgError:  # numerically singular
            return 1e10

    starts = [(a, b) for a in (-6, -2, 0, 2, 6) for b in (-2, 0, 2, 6)]
    starts = sorted(starts, key=loss)[:4]
    options = {"xatol": 1e-6, "fatol": 1e-11, "maxiter": 400}
    return -min(minimize(loss, start, method="Nelder-Mead", options=options).fun for start in starts)


def logme(features, labels):
    """The mean over classes, one against the rest."""
    columns = [(labels == c).astype(float) for c in np.unique(labels)]
    return float(np.mean([largest_log_evidence(features, y) for y in columns]))


def leep(theta, labels):
    """Nguyen et al.'s two steps, a sample at a time; the table as a dictionary."""
    n, n_source = theta.shape
    joint, marginal = Counter(), Counter()
    for i in range(n):
        for z in range(n_source):
            joint[labels[i], z] += theta[i, z] / n
            marginal[z] += theta[i, z] / n
    total = 0.0
    for i in range(n):
        expected = sum(
            joint[labels[i], z] / marginal[z] * theta[i, z] for z in range(n_source) if marginal[z] > 0
        )
        total += math.log(expected)
    return total / n


def expectation_maximisation(theta, labels, steps):
    """Mean log-likelihood of Σ_z P(y|z) θ_z after each step of EM for P(y|z), from P(y|z) = P(y)."""
    classes = sorted(set(labels))
    n, n_source = theta.shape
    table = {(y, z): sum(labels == y) / n for y in classes for z in range(n_source)}
    history = []
    for _ in range(steps + 1):
        likelihood = [sum(table[labels[i], z] * theta[i, z] for z in range(n_source)) for i in range(n)]
        history.append(sum(map(math.log, likelihood)) / n)
        blame = [
            [table[labels[i], z] * theta[i, z] / likelihood[i] for z in range(n_source)] for i in range(n)
        ]
        for z in range(n_source):
            whole = sum(blame[i][z] for i in range(n))
            for y in classes:
                table[y, z] = sum(blame[i][z] for i in range(n) if labels[i] == y) / whole
    return history


def nce(source_labels, labels):
    """−H(Y|Z) from counts."""
    pairs, alone = Counter(zip(source_labels, labels, strict=True)), Counter(source_labels)
    n = len(labels)
    return sum(count / n * math.log(count / alone[z]) for (z, _), count in pairs.items())


def entropy(labels):
    counts = np.array(list(Counter(labels).values()))
    return float(-(counts / counts.sum() * np.log(counts / counts.sum())).sum())


def class_means(features, labels):
    """(N, D): each sample replaced by the mean of its class."""
    return np.stack([features[labels == label].mean(axis=0) for label in labels])


def h_score(features, labels):
    """tr(cov(f)⁺ cov(E[f|y])) with explicit covariances."""
    within = np.atleast_2d(np.cov(features, rowvar=False))
    between = np.atleast_2d(np.cov(class_means(features, labels), rowvar=False))
    return float(np.trace(np.linalg.pinv(within, hermitian=True, rcond=1e-12) @ between))


def shrunk_h_score(features, labels):
    """Ibrahim et al.'s, with scikit-learn's shrunk covariance and an explicit inverse."""
    fitted = LedoitWolf().fit(features)
    between = np.cov(class_means(features, labels), rowvar=False, ddof=0)
    return float(np.trace(np.linalg.inv(fitted.covariance_) @ between) * (1 - fitted.shrinkage_))


def linear_cka(x, y):
    """HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)) with the N × N centring matrix."""
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n

    def hsic(a, b):
        return np.trace(a @ a.T @ centring @ b @ b.T @ centring)

    return float(hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y)))


def mmd(x, y, bandwidth):
    """The unbiased estimate, a pair at a time."""

    def kernel(a, b):
        return math.exp(-sum((a - b) ** 2) / (2 * bandwidth**2))

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def median_distance(x):
    """Of all pairs, a pair at a time."""
    return float(np.median([math.dist(x[i], x[j]) for i in range(len(x)) for j in range(i)]))


def frechet_distance(x, y):
    """With covariances and scipy's matrix square root."""
    s, t = (np.atleast_2d(np.cov(v, rowvar=False)) for v in (x, y))
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(s @ t)).real)


def fixed_point_evidence(features, y, rounds=11):
    """Where You et al.'s iteration is after its eleven rounds: α and β from 1, until their ratio moves by 1e-3."""
    n, d = features.shape
    gram = features.T @ features
    power = np.linalg.eigvalsh(gram).clip(0)
    alpha = beta = 1.0
    for _ in range(rounds):
        mean = beta * np.linalg.solve(alpha * np.eye(d) + beta * gram, features.T @ y)
        effective = (beta * power / (alpha + beta * power)).sum()
        before = alpha / beta
        alpha = effective / (mean @ mean)
        beta = (n - effective) / ((y - features @ mean) ** 2).sum()
        if abs(alpha / beta - before) <= 1e-3 * before:
            break
    return log_evidence(features, y, np.log(alpha), np.log(beta))
