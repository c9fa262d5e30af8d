"""Mean shift: the same clusters as scikit-learn's, whatever the order of the points."""

import warnings

import pytest
import torch
from sklearn.cluster import MeanShift, estimate_bandwidth

from phalanx.aggregators.mean_shift import largest_cluster


def cloud(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    n, k = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((2, 40), (1, 4)))
    centres = 3 * torch.randn(3, k, generator=generator, dtype=torch.float64)
    points = centres[torch.randint(3, (n,), generator=generator)]
    points += torch.rand((), generator=generator).double() * torch.randn(n, k, generator=generator, dtype=torch.float64)
    return points.round(decimals=1) if seed % 3 == 0 else points  # every third has points twice


@pytest.mark.parametrize("seed", range(60))
def test_the_largest_cluster_is_scikit_learn_s(seed):
    points = cloud(seed)
    bandwidth = estimate_bandwidth(points.numpy(), quantile=0.5)
    if bandwidth == 0:  # scikit-learn refuses it: nothing moves, so equal points are the clusters
        labels = points.unique(dim=0, return_inverse=True)[1]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            labels = torch.from_numpy(MeanShift(bandwidth=bandwidth).fit(points.numpy()).labels_)
    found = largest_cluster(points, quantile=0.5)
    sizes = labels.bincount()
    assert found.sum() == sizes.max()
    assert any(torch.equal(found, labels == label) for label in (sizes == sizes.max()).nonzero().flatten())


def test_the_order_of_the_points_and_ties_do_not_matter():
    points = cloud(3)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    assert torch.equal(largest_cluster(points[order], quantile=0.5), largest_cluster(points, quantile=0.5)[order])
    pair = torch.tensor([[9.0], [1.0], [9.0], [1.0]])
    assert largest_cluster(pair, quantile=0.5).tolist() == [False, True, False, True]


def test_of_two_clusters_as_large_the_one_nearer_the_median_wins():
    points = torch.tensor([[0.0], [0.0], [0.0], [6.0], [9.0], [9.0], [9.0]])  # the median is 6
    assert largest_cluster(points, quantile=0.5).tolist() == [False] * 4 + [True] * 3
    assert largest_cluster(-points, quantile=0.5).tolist() == [False] * 4 + [True] * 3


def test_by_hand():
    # Distances to the second nearest, itself included: 1, 1, 1, 7; the bandwidth is 2.5. Those at 0 to 2 climb to 1.
    points = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    assert largest_cluster(points, quantile=0.5).tolist() == [True, True, True, False]
    assert largest_cluster(points[:1], quantile=0.5).tolist() == [True]
