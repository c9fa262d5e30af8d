"""The majority cluster, against scikit-learn's HDBSCAN and against the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.aggregators.clustering import majority_cluster
from phalanx.core import linalg


def hdbscan(distances: Tensor) -> list[bool]:
    from sklearn.cluster import HDBSCAN

    n = len(distances)
    labels = HDBSCAN(
        min_cluster_size=n // 2 + 1, min_samples=1, allow_single_cluster=True, metric="precomputed", copy=True
    ).fit_predict(distances.numpy())
    return [label == 0 for label in labels]


def slow_majority(distances: Tensor) -> list[bool]:
    """The definition: the smallest threshold at which a component of more than half of the rows exists."""
    n = len(distances)
    for threshold in distances.unique().tolist():
        reach = (distances <= threshold).double()
        for _ in range(n):
            reach = (reach @ reach > 0).double()
        size, row = reach.sum(dim=1).max(dim=0)
        if size > n // 2:
            return reach[row].bool().tolist()
    raise AssertionError("unreachable: at the largest distance all rows are one component")


def random_rows(seed: int) -> Tensor:
    generator = np.random.default_rng(seed)
    n, d, clusters = generator.integers(3, 40), generator.integers(2, 20), generator.integers(1, 4)
    centres = 2 * generator.normal(size=(clusters, d))
    return torch.from_numpy(centres[generator.integers(clusters, size=n)] + generator.normal(size=(n, d)))


@pytest.mark.parametrize("block", range(4))
def test_the_majority_cluster_is_hdbscans_in_2000_random_cases(block: int) -> None:
    for seed in range(500 * block, 500 * (block + 1)):
        distances = linalg.cosine_distances(random_rows(seed))
        assert majority_cluster(distances).tolist() == hdbscan(distances), f"seed {seed}"


@given(st.integers(1, 9), st.integers(0, 10_000))
def test_tied_edges_join_together(n: int, seed: int) -> None:
    drawn = torch.randint(0, 4, (n, n), generator=torch.Generator().manual_seed(seed)).double()
    distances = torch.triu(drawn, 1) + torch.triu(drawn, 1).T
    assert majority_cluster(distances).tolist() == slow_majority(distances)


@given(st.integers(2, 9), st.integers(0, 10_000))
def test_rounding_breaks_no_tie(n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 4, (n, n), generator=generator).double()
    jitter = 1e-15 * torch.rand(n, n, generator=generator, dtype=torch.float64)
    exact, rounded = torch.triu(drawn, 1), torch.triu(drawn + jitter, 1)
    assert torch.equal(majority_cluster(exact + exact.T), majority_cluster(rounded + rounded.T))


def test_a_thousand_rows_are_no_problem() -> None:
    rows = torch.randn(1_000, 8, generator=torch.Generator().manual_seed(0))
    rows[:600, 0] += 8
    distances = linalg.cosine_distances(rows)
    accepted = majority_cluster(distances)
    assert accepted[:600].sum() >= 501
    assert accepted.tolist() == hdbscan(distances)
