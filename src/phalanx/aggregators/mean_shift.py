"""Mean shift with a flat kernel: every point climbs to the middle of those around it, and who meets there is a cluster."""

import torch
from torch import Tensor

_MAX_STEPS = 300
_STILL = 1e-3
"""A point that moves by less than this share of the bandwidth has arrived."""


def largest_cluster(points: Tensor, *, quantile: float) -> Tensor:
    """The mask `[n]` of the largest cluster of points `[n, k]`; of two as large the one whose mean is nearer the median point.

    At the same distance from it the one with the smallest point: content decides, not the order. The bandwidth is the mean
    distance of a point to the nearest `quantile` of all, itself included. scikit-learn's `MeanShift` and `estimate_bandwidth`
    give the same; for the few points of a round all climb together, a hundred times as fast. Time O(n² k) a step.
    """
    distinct, place, counts = torch.unique(points.double().cpu(), dim=0, return_inverse=True, return_counts=True)
    bandwidth = _bandwidth(distinct.repeat_interleave(counts, dim=0), quantile)
    # A bandwidth of zero: that share of each point's neighbours are equal to it, and equal points are the clusters.
    labels = torch.arange(len(distinct)) if bandwidth == 0 else _labels(distinct, counts.double(), bandwidth)
    sizes = torch.zeros(len(distinct), dtype=torch.int64).index_add_(0, labels, counts)
    largest = labels[sizes[labels] == sizes.max()]  # distinct points ascend
    sums = torch.zeros_like(distinct).index_add_(0, labels, distinct * counts[:, None])
    distances = torch.linalg.vector_norm(sums[largest] / sizes.max() - points.double().cpu().quantile(0.5, dim=0), dim=1)
    return (labels[place] == largest[distances.argmin()]).to(points.device)


def _bandwidth(points: Tensor, quantile: float) -> float:
    nearest = max(1, int(len(points) * quantile))
    return float(_distances(points, points).kthvalue(nearest, dim=1).values.mean())


def _labels(points: Tensor, counts: Tensor, bandwidth: float) -> Tensor:
    """The cluster `[m]` of each of the distinct points, which stand for `counts` `[m]` points."""
    modes, mass, is_climbing = points.clone(), counts.clone(), torch.ones(len(points), dtype=torch.bool)
    for _ in range(_MAX_STEPS):
        weights = (_distances(modes[is_climbing], points) <= bandwidth) * counts
        within = weights.sum(dim=1)
        means = weights @ points / within[:, None]
        moved = torch.linalg.vector_norm(means - modes[is_climbing], dim=1)
        modes[is_climbing], mass[is_climbing] = means, within
        is_climbing[is_climbing.clone()] = moved > _STILL * bandwidth
        if not is_climbing.any():
            break
    return _distances(points, _centres(modes, mass, bandwidth)).argmin(dim=1)


def _centres(modes: Tensor, mass: Tensor, bandwidth: float) -> Tensor:
    """Of the modes that lie within a bandwidth of each other the one with the most points around it."""
    ranked = sorted(zip(mass.tolist(), modes.tolist()), reverse=True)
    left, centres = torch.tensor([mode for _, mode in ranked], dtype=modes.dtype), list[Tensor]()
    while len(left):
        centres.append(left[0])
        left = left[_distances(left[:1], left)[0] > bandwidth]
    return torch.stack(centres)


def _distances(some: Tensor, others: Tensor) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm(some[:, None] - others, dim=2)
    return distances
