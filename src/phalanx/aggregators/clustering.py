"""The majority cluster of a distance matrix: what HDBSCAN finds when only a cluster of more than half may exist."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_TIE = 1e-9
"""Relative: edges this close are of one length."""
_ROUNDING = 1e-13
"""Absolute: equal rows may come out of a float64 product this far apart."""


def majority_cluster(distances: Tensor) -> Tensor:
    """The mask `[n]` of the connected component of more than n/2 rows in {d_ij <= t}, at the smallest t where one exists.

    That is HDBSCAN with min_cluster_size = ⌊n/2⌋ + 1, min_samples = 1 and allow_single_cluster: no split leaves two clusters of
    that size, so only the root cluster exists, and its points are those that had joined by the time it was born (tests compare
    the two). Edges of one length join together. Kruskal on a minimum spanning tree: time O(n²).
    """
    n = len(distances)
    component = np.arange(n)
    limit = 0.0 if n == 1 else math.inf
    for length, one, other in _spanning_tree(distances.cpu().numpy()):
        if length > limit:
            break
        component[component == component[other]] = component[one]
        if limit == math.inf and (component == component[one]).sum() > n // 2:
            limit = length * (1 + _TIE) + _ROUNDING
    majority = np.bincount(component).argmax()
    return torch.from_numpy(component == majority).to(distances.device)


def _spanning_tree(distances: npt.NDArray[np.float64]) -> list[tuple[float, int, int]]:
    """The edges (length, i, j) of a minimum spanning tree, shortest first (Prim)."""
    n = len(distances)
    nearest, neighbour = distances[0].copy(), np.zeros(n, dtype=int)
    nearest[0] = math.inf
    outside = np.arange(n) > 0
    edges = []
    for _ in range(n - 1):
        new = int(nearest.argmin())
        edges.append((float(nearest[new]), int(neighbour[new]), new))
        outside[new], nearest[new] = False, math.inf
        closer = outside & (distances[new] < nearest)
        nearest[closer], neighbour[closer] = distances[new][closer], new
    return sorted(edges)
