"""Which binary masks lie together, and whether there are two clusters at all."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from phalanx.aggregators.mask_clusters import mask_gram, split


def blobs(sizes: tuple[int, ...], distance: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.array([[place * distance, 0] for place, size in enumerate(sizes) for _ in range(size)])
    points = centres + rng.normal(size=centres.shape)
    return points / np.sqrt((points**2).mean())


def test_the_gram_matrix_counts_shared_ones() -> None:
    masks = torch.randn(5, 70_000, generator=torch.Generator().manual_seed(0))
    bits = (masks > 0.3).long()
    assert mask_gram(masks, 0.3).tolist() == (bits @ bits.T).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_gain_in_bic_is_that_of_two_mixtures(seed: int) -> None:
    points = blobs((12, 7), 2.0, seed)
    one, two = (GaussianMixture(k, reg_covar=1e-2, n_init=10, random_state=0).fit(points) for k in (1, 2))
    found = split(points, seed, regularisation=1e-2, starts=10)
    assert found.delta_bic == pytest.approx(one.bic(points) - two.bic(points), abs=1e-2)


def test_two_blobs_are_told_apart_and_one_is_not_worth_a_split() -> None:
    found = split(blobs((20, 8), 12.0), 0, regularisation=1e-2, starts=3)
    assert found.delta_bic > 0
    assert found.silhouette > 0.7
    assert len(set(found.labels[:20].tolist())) == len(set(found.labels[20:].tolist())) == 1
    assert found.labels[0] != found.labels[-1]
    for seed in range(5):
        alone = split(blobs((28,), 0.0, seed), 0, regularisation=1e-2, starts=3)
        assert alone.delta_bic <= 0 or alone.silhouette < 0.57


def test_the_order_of_points_does_not_matter() -> None:
    points = blobs((12, 9), 3.0)
    order = np.random.default_rng(1).permutation(21)
    one, other = (split(some, 0, regularisation=1e-2, starts=1) for some in (points, points[order]))
    assert (one.labels[order] == other.labels).all() or (one.labels[order] != other.labels).all()
    assert one.silhouette == pytest.approx(other.silhouette)


def test_a_point_that_is_alone_has_no_silhouette_and_its_neighbours_have_theirs() -> None:
    points = np.concatenate([blobs((12,), 0.0), [[40.0, 0.0]]])
    found = split(points, 0, regularisation=1e-2, starts=3)
    assert found.labels.tolist() in ([True] * 12 + [False], [False] * 12 + [True])
    assert found.silhouette_beside(-1) == 0
    assert found.silhouette_beside(0) == pytest.approx(found.silhouette * 13 / 12)


def test_equal_points_and_a_pair_are_no_clusters() -> None:
    for points in (np.zeros((6, 2)), np.array([[1.0, 0.0], [-1.0, 0.0]])):
        assert split(points, 0, regularisation=1e-2, starts=3).silhouette == 0
