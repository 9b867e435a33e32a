"""Features → clusters → an embedding layer: what an input is, said by the group that it falls into."""

import math

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn


class RandomFeatures(nn.Module):
    """A map (N, D) → (N, width) whose inner products approach exp(−‖x − y‖² / (2 · scale²)).

    φ(x) = √(2 / width) · cos(W x + b), W normal with sd 1 / scale, b uniform in 0 … 2π: Rahimi & Recht (2007), "Random
    features for large-scale kernel machines". Nothing in it is trained.
    """

    def __init__(self, d_model: int, width: int, scale: float, *, seed: int = 0) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width} must be at least 1; None clusters the features as they are")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale={scale} must be positive: a distance between features")
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("directions", torch.randn(d_model, width, generator=generator) / scale)
        self.register_buffer("phases", 2 * math.pi * torch.rand(width, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return math.sqrt(2 / len(self.phases)) * torch.cos(x @ self.directions + self.phases)


class ClusterEmbedding(nn.Module):
    """Features (N, D) → embeddings (N, W): the row of the cluster an input belongs to, or a mix of rows.

    centres: (K, W), which decide what belongs where and stay; `embedding`, nn.Embedding(K, W), starts as the centres
    and is trained. temperature None: hard, each input takes the row of its nearest centre. Otherwise soft: rows are
    weighted by softmax(−‖x − centre‖² / temperature), in units of squared distance; towards 0 it becomes hard. lift: a
    map to a space of W dimensions, in which distances are taken. Soft assignment to trained centres: Xie, Girshick &
    Farhadi (2016), "Unsupervised deep embedding for clustering analysis". `ClusterEmbedding.fit` finds the centres.
    """

    def __init__(
        self, centres: Tensor, *, temperature: float | None = None, lift: nn.Module | None = None
    ) -> None:
        super().__init__()
        if centres.dim() != 2 or len(centres) < 2:
            raise ValueError(f"centres are {tuple(centres.shape)}; give (K, W), at least two clusters")
        if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(
                f"temperature={temperature} must be positive, a squared distance; None for hard clusters"
            )
        self.register_buffer("centres", centres.detach().clone())
        self.embedding = nn.Embedding.from_pretrained(centres.detach().clone(), freeze=False)
        self.temperature = temperature
        self.lift = lift

    @classmethod
    def fit(
        cls,
        features: Tensor,
        n_clusters: int,
        *,
        soft: bool = False,
        width: int | None = None,
        seed: int = 0,
    ) -> "ClusterEmbedding":
        """Cluster features (N, D) by k-means (the best of ten starts) and make the centres an embedding layer.

        soft: the temperature is then the mean squared distance of an input to its centre. width: the features are
        first mapped to that many dimensions by `RandomFeatures`, whose scale is the root mean squared distance of an
        input to the mean of all. Raises ValueError on nan, on more clusters than different inputs, on n_clusters < 2.
        """
        _check(features, n_clusters)
        lift, points = None, features.detach()
        if width is not None:
            scale = (points - points.mean(0)).square().sum(1).mean().sqrt().item()
            lift = RandomFeatures(points.shape[1], width, scale, seed=seed).to(points)
            points = lift(points)
        data = points.cpu().double().numpy()
        found = KMeans(n_clusters, n_init=10, random_state=seed).fit(data)
        centres = torch.from_numpy(found.cluster_centers_).to(points)
        spread = found.inertia_ / len(data)
        if soft and spread == 0:
            raise ValueError(
                f"with n_clusters={n_clusters} every input is its own centre, so there is no spread to set a "
                "temperature by; use fewer clusters, or soft=False"
            )
        return cls(centres, temperature=spread if soft else None, lift=lift)

    def assign(self, features: Tensor) -> Tensor:
        """(N, K): how much of each input is in each cluster; rows sum to one, hard ones hold one 1.

        Raises ValueError on features of another width, and on nan.
        """
        _check_finite(features)
        points = features if self.lift is None else self.lift(features)
        if points.dim() != 2 or points.shape[1] != self.centres.shape[1]:
            raise ValueError(
                f"features are {tuple(features.shape)}; give (N, D), D as the clusters were found in"
            )
        # Exact rather than by matrix product: near a border, rounding would choose the cluster.
        distances = torch.cdist(points, self.centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        if self.temperature is None:
            nearest = distances.argmin(1)
            return nn.functional.one_hot(nearest, len(self.centres)).to(points.dtype)
        return (-distances / self.temperature).softmax(1)

    def forward(self, features: Tensor) -> Tensor:
        return self.assign(features) @ self.embedding.weight  # (N, K) · (K, W)

    def extra_repr(self) -> str:
        kind = "hard" if self.temperature is None else f"soft, temperature={self.temperature:.3g}"
        return f"{len(self.centres)} clusters, {kind}"


def _check(features: Tensor, n_clusters: int) -> None:
    if features.dim() != 2:
        raise ValueError(f"features are {tuple(features.shape)}; give (N, D), one row per input")
    _check_finite(features)
    if n_clusters < 2:
        raise ValueError(f"n_clusters={n_clusters} must be at least 2")
    different = len(np.unique(features.detach().cpu().numpy(), axis=0))
    if n_clusters > different:
        raise ValueError(
            f"n_clusters={n_clusters} for {different} different inputs (of {len(features)}); use at most {different}"
        )


def _check_finite(features: Tensor) -> None:
    if not torch.isfinite(features).all():
        raise ValueError("features hold nan or infinite values; leave those inputs out")
