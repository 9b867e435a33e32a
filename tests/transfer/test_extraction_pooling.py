"""AttentionPooling against nn.MultiheadAttention and the mean; ClusterEmbedding against scikit-learn and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from torch import nn

from tlcourse.transfer.extraction import AttentionPooling, ClusterEmbedding, RandomFeatures, mean_tokens


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def tokens(d_model=8, dtype=torch.float64):
    x = torch.randn(3, 5, d_model, dtype=dtype, generator=seeded(1))
    mask = torch.ones(3, 5, dtype=torch.long)
    mask[1, 3:] = 0
    return x, mask


def trained(d_model=8, n_heads=2):
    pooling = AttentionPooling(d_model, n_heads).double()
    with torch.no_grad():
        pooling.query.normal_(generator=seeded(2))
    return pooling


# ---------------------------------------------------------------- attention pooling


@pytest.mark.parametrize("n_heads", [1, 2, 4])
@pytest.mark.parametrize("padded", [False, True])
def test_output_and_weights_match_multihead_attention_with_the_same_query_and_keys(n_heads, padded):
    pooling = trained(8, n_heads)
    x, mask = tokens()
    mask = mask if padded else None
    theirs = nn.MultiheadAttention(8, n_heads, bias=False, batch_first=True).double()
    with torch.no_grad():
        eye = torch.eye(8, dtype=torch.float64)
        theirs.in_proj_weight.copy_(torch.cat([eye, pooling.key.weight, eye]))
        theirs.out_proj.weight.copy_(eye)
    query = pooling.query.reshape(1, 1, 8).expand(3, 1, 8)
    hidden = None if mask is None else mask == 0
    expected, weights = theirs(query, x, x, key_padding_mask=hidden, average_attn_weights=False)
    found = pooling(x, mask)
    assert error(found.features, expected.squeeze(1)) < 1e-12
    assert error(found.weights, weights.squeeze(2)) < 1e-12
    assert not torch.allclose(found.features, x.mean(1))


def test_it_starts_as_the_mean_over_what_the_mask_shows():
    x, mask = tokens()
    found = AttentionPooling(8, 2).double()(x, mask)
    assert error(found.features, mean_tokens(x, {"attention_mask": mask})) < 1e-14
    assert torch.equal(found.weights[1, :, 3:], torch.zeros(2, 2, dtype=torch.float64))
    torch.testing.assert_close(found.weights.sum(2), torch.ones(3, 2, dtype=torch.float64))


def test_a_feature_map_is_pooled_as_its_patches_in_rows():
    pooling = trained()
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64, generator=seeded(3))
    found = pooling(x)
    patches = torch.stack([x[:, :, i, j] for i in range(3) for j in range(4)], 1)
    expected = pooling(patches)
    assert torch.equal(found.features, expected.features)
    assert found.weights.shape == (2, 2, 3, 4)
    assert torch.equal(found.weights[:, :, 1, 2], expected.weights[:, :, 6])


def test_it_learns_where_to_look_from_its_start():
    """Every token holds a sign, and one of five is marked; the label is the sign of that one."""
    signs = 2.0 * torch.randint(2, (200, 5), generator=seeded(4)) - 1
    place = torch.randint(5, (200,), generator=seeded(5))
    x = torch.stack([nn.functional.one_hot(place, 5).float(), signs], 2)
    label = (signs[torch.arange(200), place] > 0).long()
    pooling, head = AttentionPooling(2), nn.Linear(2, 2)
    nn.init.zeros_(head.weight)
    optimiser = torch.optim.Adam([*pooling.parameters(), *head.parameters()], lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(pooling(x).features), label).backward()
        optimiser.step()
    found = pooling(x)
    assert found.weights[torch.arange(200), 0, place].min() > 0.6
    assert (head(found.features).argmax(1) == label).all()


def test_a_seed_makes_the_start_repeatable_without_touching_the_global_one():
    state = torch.get_rng_state()
    a, b, c = (AttentionPooling(4, seed=s).key.weight for s in (5, seeded(5), 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert "d_model=4, n_heads=1" in repr(AttentionPooling(4))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: AttentionPooling(0), "d_model=0 must be at least 1"),
        (lambda: AttentionPooling(6, 4), "n_heads=4 does not divide d_model=6; try n_heads=2 or 3 or 6"),
        (
            lambda: AttentionPooling(6)(torch.ones(2, 6)),
            r"x is \(2, 6\); give tokens \(B, T, 6\) or a map \(B, 6, H, W",
        ),
        (
            lambda: AttentionPooling(6)(torch.ones(3, 2, 6).index_fill(0, torch.tensor([1]), torch.nan)),
            "1 of 3 rows of x hold nan or infinite values; leave",
        ),
        (lambda: AttentionPooling(6)(torch.ones(2, 3, 5)), r"x is \(2, 3, 5\); give tokens"),
        (lambda: AttentionPooling(6)(torch.ones(2, 5, 6, 6)), r"x is \(2, 5, 6, 6\); give tokens"),
        (
            lambda: AttentionPooling(6)(torch.ones(2, 6, 1, 1), torch.ones(2, 1)),
            "a feature map has no padding",
        ),
        (
            lambda: AttentionPooling(6)(torch.ones(2, 3, 6), torch.ones(2, 2)),
            r"attention_mask \(2, 2\) for .*\(2, 3\)",
        ),
        (
            lambda: AttentionPooling(6)(torch.ones(1, 2, 6), torch.zeros(1, 2)),
            "row 0 of attention_mask is padding alone",
        ),
    ],
)
def test_pooling_refuses_what_does_not_fit(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# ---------------------------------------------------------------- clusters


def blobs(dtype=torch.float64):
    """Three groups of 20 points in four dimensions, 10 apart."""
    centres = 10 * torch.eye(4, dtype=dtype)[:3]
    return (centres[:, None] + torch.randn(3, 20, 4, dtype=dtype, generator=seeded(7))).flatten(0, 1)


def test_hard_clusters_match_k_means_and_embed_each_input_by_its_centre():
    x = blobs()
    found = ClusterEmbedding.fit(x, 3, seed=1)
    theirs = KMeans(3, n_init=10, random_state=1).fit(x.numpy())
    assert error(found.centres, torch.from_numpy(theirs.cluster_centers_)) < 1e-12
    assert torch.equal(found.assign(x).argmax(1), torch.from_numpy(theirs.labels_).long())
    assert torch.equal(found(x), found.centres[found.assign(x).argmax(1)])
    means = torch.stack([x[i : i + 20].mean(0) for i in (0, 20, 40)])
    assert error(found(x)[::20], means) < 1e-12  # each group's centre is its mean


def test_hard_assignment_is_the_nearest_centre_by_a_loop():
    centres = torch.randn(6, 3, dtype=torch.float64, generator=seeded(8))
    x = torch.randn(40, 3, dtype=torch.float64, generator=seeded(9))
    expected = [min(range(6), key=lambda k: ((row - centres[k]) ** 2).sum().item()) for row in x]
    weights = ClusterEmbedding(centres).assign(x)
    assert weights.argmax(1).tolist() == expected
    assert torch.equal(weights.sum(1), torch.ones(40, dtype=torch.float64))
    assert torch.equal(weights.max(1).values, torch.ones(40, dtype=torch.float64))


def test_soft_weights_match_the_posterior_of_a_mixture_of_spheres():
    centres = torch.randn(4, 3, dtype=torch.float64, generator=seeded(8))
    x = torch.randn(30, 3, dtype=torch.float64, generator=seeded(9))
    mixture = GaussianMixture(4, covariance_type="spherical")
    mixture.weights_, mixture.means_ = np.full(4, 0.25), centres.numpy()
    mixture.covariances_ = np.full(4, 0.7 / 2)  # exp(−d² / (2σ²)) is exp(−d² / temperature)
    mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
    found = ClusterEmbedding(centres, temperature=0.7)
    expected = torch.from_numpy(mixture.predict_proba(x.numpy()))
    assert error(found.assign(x), expected) < 1e-12
    assert error(found(x), expected @ centres) < 1e-12


def test_soft_becomes_hard_as_the_temperature_falls_and_the_mean_as_it_rises():
    x = blobs()
    hard = ClusterEmbedding.fit(x, 3)
    assert error(ClusterEmbedding(hard.centres, temperature=1e-3)(x), hard(x)) < 1e-12
    warm = ClusterEmbedding(hard.centres, temperature=1e12)(x)
    assert error(warm, hard.centres.mean(0).expand(60, 4)) < 1e-9


def test_the_fitted_temperature_is_the_mean_squared_distance_to_the_centre():
    x = blobs()
    soft = ClusterEmbedding.fit(x, 3, soft=True)
    expected = (x - ClusterEmbedding.fit(x, 3)(x)).square().sum(1).mean().item()
    assert soft.temperature == pytest.approx(expected, rel=1e-12)
    assert "3 clusters, soft, temperature=" in repr(soft)
    assert "3 clusters, hard" in repr(ClusterEmbedding.fit(x, 3))


@pytest.mark.parametrize("soft", [False, True])
def test_the_embedding_trains_and_what_belongs_where_stays(soft):
    x = blobs(torch.float32)
    found = ClusterEmbedding.fit(x, 3, soft=soft)
    before, centres = found.assign(x), found.centres.clone()
    assert [name for name, _ in found.named_parameters()] == ["embedding.weight"]
    target = torch.randn(60, 4, generator=seeded(3))
    (found(x) * target).sum().backward()
    torch.testing.assert_close(found.embedding.weight.grad, before.T @ target)
    with torch.no_grad():
        found.embedding.weight.add_(1)
    assert torch.equal(found.assign(x), before)
    assert torch.equal(found.centres, centres)
    torch.testing.assert_close(found(x), before @ centres + 1)


def test_random_features_match_their_formula_and_approach_the_gaussian_kernel():
    x = torch.randn(6, 3, generator=seeded(1))
    lift = RandomFeatures(3, 20_000, scale=1.5, seed=2)
    row = lift(x)[4]
    expected = [
        math.sqrt(2 / 20_000)
        * math.cos(x[4].double() @ lift.directions[:, j].double() + lift.phases[j].double())
        for j in range(50)
    ]
    torch.testing.assert_close(row[:50].tolist(), expected, rtol=1e-4, atol=1e-7)  # float32 cosines
    kernel = torch.exp(-torch.cdist(x, x).square() / (2 * 1.5**2))
    # The standard error of an inner product is at most √(1.5 / 20,000) = .009.
    assert (lift(x) @ lift(x).T - kernel).abs().max() < 0.035
    assert torch.equal(RandomFeatures(3, 5, 1.0, seed=2).phases, RandomFeatures(3, 5, 1.0, seed=2).phases)


def test_clusters_in_a_lifted_space_separate_rings_that_a_plane_cannot():
    angle = 2 * math.pi * torch.rand(80, dtype=torch.float64, generator=seeded(4))
    radius = torch.tensor([0.1, 3.0], dtype=torch.float64).repeat_interleave(40)
    x = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    lifted = ClusterEmbedding.fit(x, 6, width=300, soft=True)
    assert lifted.embedding.weight.shape == (6, 300)
    assert lifted(x).shape == (80, 300)
    inner, outer = lifted.assign(x)[:40].argmax(1).unique(), lifted.assign(x)[40:].argmax(1).unique()
    assert not set(inner.tolist()) & set(outer.tolist())
    scale = (x - x.mean(0)).square().sum(1).mean().sqrt()
    fresh = RandomFeatures(2, 300, scale.item()).double()
    torch.testing.assert_close(lifted.lift.directions, fresh.directions, rtol=1e-6, atol=1e-6)


def test_state_loads_into_a_fresh_embedding():
    found = ClusterEmbedding.fit(blobs(), 3, width=7)
    other = ClusterEmbedding(torch.zeros_like(found.centres), lift=RandomFeatures(4, 7, 1.0).double())
    other.load_state_dict(found.state_dict())
    assert torch.equal(other(blobs()), found(blobs()))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ClusterEmbedding.fit(torch.ones(3), 2), r"features are \(3,\); give \(N, D\)"),
        (
            lambda: ClusterEmbedding.fit(torch.full((3, 2), torch.nan), 2),
            "features hold nan or infinite values",
        ),
        (
            lambda: ClusterEmbedding(torch.eye(2))(torch.tensor([[0, 1], [torch.nan, 1]])),
            "features hold nan or infinite values",
        ),
        (
            lambda: ClusterEmbedding(torch.eye(2), temperature=1.0).assign(torch.full((1, 2), torch.inf)),
            "features hold nan or infinite values",
        ),
        (lambda: ClusterEmbedding.fit(blobs(), 1), "n_clusters=1 must be at least 2"),
        (
            lambda: ClusterEmbedding.fit(torch.eye(3).repeat(4, 1), 4),
            r"n_clusters=4 for 3 different inputs \(of 12\); use at most 3",
        ),
        (
            lambda: ClusterEmbedding.fit(torch.eye(3).repeat(2, 1), 3, soft=True),
            "with n_clusters=3 every input is its own centre.* use fewer clusters",
        ),
        (lambda: ClusterEmbedding.fit(blobs(), 3, width=0), "width=0 must be at least 1"),
        (lambda: RandomFeatures(3, 4, 0.0), r"scale=0\.0 must be positive"),
        (lambda: ClusterEmbedding(torch.ones(1, 2)), r"centres are \(1, 2\); give \(K, W\), at least two"),
        (lambda: ClusterEmbedding(torch.ones(4)), r"centres are \(4,\)"),
        (lambda: ClusterEmbedding(torch.eye(2), temperature=0), "temperature=0 must be positive"),
        (lambda: ClusterEmbedding(torch.eye(2), temperature=math.nan), "temperature=nan must be positive"),
        (
            lambda: ClusterEmbedding(torch.eye(2))(torch.ones(4, 3)),
            r"features are \(4, 3\); give \(N, D\), D as",
        ),
        (lambda: ClusterEmbedding(torch.eye(2))(torch.ones(2)), r"features are \(2,\); give"),
    ],
)
def test_clusters_refuse_what_does_not_fit(call, text):
    with pytest.raises(ValueError, match=text):
        call()
