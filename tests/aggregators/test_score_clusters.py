"""Groups of numbers on a line."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from phalanx.aggregators.score_clusters import number_of_groups, two_groups, within_squares


def slow_squares(values: list[float], k: int) -> float:
    """All ways to cut a line into k intervals."""
    ways = combinations(range(1, len(values)), k - 1)
    cuts = [np.split(np.array(values), way) for way in ways]
    return min(sum(((part - part.mean()) ** 2).sum() for part in parts) for parts in cuts)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=7))
def test_the_least_squares_are_those_of_the_best_of_all_cuts(values: list[float]) -> None:
    values = sorted(values)
    found = within_squares(torch.tensor([values], dtype=torch.float64), 4)[0]
    assert found.tolist() == pytest.approx([slow_squares(values, k) for k in range(1, 5)], abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_two_groups_are_k_means(seed: int) -> None:
    values = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).exp()
    means = KMeans(2, n_init=30, random_state=0).fit(values[:, None].numpy())
    upper = means.labels_ == means.cluster_centers_[:, 0].argmax()
    assert two_groups(values).tolist() == upper.tolist()


def test_by_hand() -> None:
    assert two_groups(torch.tensor([5.0, 1.0, 1.0, 2.0, 6.0])).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("seed", range(8))
def test_the_gap_statistic_is_that_of_the_loops(seed: int) -> None:
    values = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 6 * (torch.arange(8) % 2)
    uniform = torch.rand(20, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sort(dim=1).values.tolist()
    scaled = sorted(((values - values.min()) / (values.max() - values.min())).tolist())
    gaps, spreads = [], []
    for k in range(1, 6):
        logs = np.log([slow_squares(reference, k) for reference in uniform])
        gaps.append(logs.mean() - np.log(slow_squares(scaled, k)))
        spreads.append(logs.std() * np.sqrt(1 + 1 / 20))
    expected = next((k for k in range(1, 5) if gaps[k - 1] >= gaps[k] - spreads[k]), 5)
    assert number_of_groups(values, torch.Generator().manual_seed(seed), most=5) == expected


def test_the_gap_statistic_counts_groups_that_lie_apart() -> None:
    noise = 0.01 * torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def count(values: torch.Tensor) -> int:
        return number_of_groups(values, torch.Generator().manual_seed(1))

    assert count(noise + torch.arange(30) // 15) == 2
    assert count(torch.rand(30, dtype=torch.float64, generator=torch.Generator().manual_seed(2))) == 1
    assert count(torch.full((30,), 0.1)) == 1
    assert count(torch.tensor([0.1, 0.2])) == 1
