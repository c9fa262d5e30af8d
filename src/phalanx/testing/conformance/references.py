"""The rules once more, slowly: float64, plain loops, straight from the papers. What conformance compares everybody with.

Each takes rows `[n, d]` (finite) and f, and gives `[d]`. They share no code with `phalanx.aggregators`.
"""

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Reference = Callable[[Rows, int], Rows]

CLIP = 1.5
"""The norm that the clipping methods are tried with."""


def mean(x: Rows, f: int) -> Rows:
    """McMahan 2017."""
    return _mean(x)


def median(x: Rows, f: int) -> Rows:
    """Yin 2018, Definition 1: for an even n the mean of the two middle values."""
    ordered, n = np.sort(x, axis=0), len(x)
    middle: Rows = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return middle


def trimmed_mean(x: Rows, f: int) -> Rows:
    """Yin 2018, Definition 2: f values less on each side."""
    return _mean(np.sort(x, axis=0)[f : len(x) - f])


def meamed(x: Rows, f: int) -> Rows:
    """Xie 2018: the n − f values nearest the median."""
    return _nearest(x, median(x, f), len(x) - f)


def phocas(x: Rows, f: int) -> Rows:
    """Xie 2018: the n − f values nearest the trimmed mean."""
    return _nearest(x, trimmed_mean(x, f), len(x) - f)


def krum(x: Rows, f: int) -> Rows:
    """Blanchard 2017: n − f − 2 neighbours, itself not among them."""
    winner: Rows = x[int(np.argmin(_krum_scores(x, len(x) - f - 2)))]
    return winner


def multi_krum(x: Rows, f: int) -> Rows:
    """Blanchard 2017: the n − f rows of the smallest scores, scored once, each counting alike."""
    return _mean(x[np.argsort(_krum_scores(x, len(x) - f - 2), kind="stable")[: len(x) - f]])


def bulyan(x: Rows, f: int) -> Rows:
    """El Mhamdi 2018: θ = n − 2f rows by repeated Krum, then the θ − 2f values nearest their median."""
    left, chosen = list(range(len(x))), []
    for _ in range(len(x) - 2 * f):
        scores = _krum_scores(x[left], max(1, len(left) - f - 2))
        chosen.append(left.pop(int(np.argmin(scores))))
    return _nearest(x[chosen], median(x[chosen], f), len(chosen) - 2 * f)


def geometric_median(x: Rows, f: int) -> Rows:
    """Pillutla 2022: Weiszfeld from the coordinate-wise median, until it stands still."""
    centre = median(x, f)
    for _ in range(10_000):
        weights = 1 / np.maximum(np.linalg.norm(x - centre, axis=1), 1e-12)
        following = weights @ x / weights.sum()
        if np.linalg.norm(following - centre) < 1e-13 * (1 + np.linalg.norm(centre)):
            break
        centre = following
    return centre


def centered_clipping(x: Rows, f: int) -> Rows:
    """Karimireddy 2021: one step from zero."""
    return _mean(_clipped(x))


def mda(x: Rows, f: int) -> Rows:
    """El Mhamdi 2020: the n − f rows of the smallest diameter."""
    distances = _squared_distances(x)

    def diameter(kept: list[int]) -> float:
        return float(distances[kept][:, kept].max())

    return _mean(x[min(_subsets(x, f), key=diameter)])


def smea(x: Rows, f: int) -> Rows:
    """Allouah 2023: the n − f rows of the smallest top eigenvalue of the covariance."""

    def top(kept: list[int]) -> float:
        centred = x[kept] - x[kept].mean(axis=0)
        return float(np.linalg.eigvalsh(centred @ centred.T)[-1])

    return _mean(x[min(_subsets(x, f), key=top)])


def monna(x: Rows, f: int) -> Rows:
    """Farhadkhani 2023: the n − f rows nearest the first one."""
    return _mean(x[np.argsort(np.linalg.norm(x - x[0], axis=1), kind="stable")[: len(x) - f]])


def caf(x: Rows, f: int) -> Rows:
    """Allouah 2025: weights fall along the top eigenvector of the weighted covariance."""
    weights, best, smallest = np.ones(len(x)), _mean(x), np.inf
    while weights.sum() > len(x) - 2 * f:
        centre = weights @ x / weights.sum()
        scaled = np.sqrt(weights / weights.sum())[:, None] * (x - centre)
        _, values, directions = np.linalg.svd(scaled, full_matrices=False)
        if values[0] ** 2 < smallest:
            best, smallest = centre, values[0] ** 2
        projections = ((x - centre) @ directions[0]) ** 2
        weights = weights * np.maximum(1 - projections / projections[weights > 1e-12].max(), 0)
    return best


def nearest_neighbor_mixing(x: Rows, f: int) -> Rows:
    """Allouah 2023: the trimmed mean of every row's mean with its n − f nearest, itself included."""
    order = np.argsort(_squared_distances(x), axis=1, kind="stable")[:, : len(x) - f]
    return trimmed_mean(np.stack([_mean(x[row]) for row in order]), f)


def bucketing(x: Rows, f: int) -> Rows:
    """Karimireddy 2022: one bucket for everybody, and the median behind it: the mean of all, whoever went where."""
    return _mean(x)


def clipping(x: Rows, f: int) -> Rows:
    """Sun 2019: the mean of rows no longer than the bound."""
    return _mean(_clipped(x))


def arc(x: Rows, f: int) -> Rows:
    """Allouah 2025: the mean of rows clipped to the (k + 1)-th largest norm, k = ⌊2 (f / n) (n − f)⌋."""
    norms = np.linalg.norm(x, axis=1)
    bound = np.sort(norms)[::-1][2 * f * (len(x) - f) // len(x)]
    return _mean(x * np.minimum(1, bound / norms)[:, None])


REFERENCES: Mapping[str, Reference] = {
    reference.__name__: reference
    for reference in (
        mean,
        median,
        trimmed_mean,
        meamed,
        phocas,
        krum,
        multi_krum,
        bulyan,
        geometric_median,
        centered_clipping,
        mda,
        smea,
        monna,
        caf,
        nearest_neighbor_mixing,
        bucketing,
        clipping,
        arc,
    )
}
"""Every method by name."""


def _mean(x: Rows) -> Rows:
    averaged: Rows = x.sum(axis=0) / len(x)
    return averaged


def _subsets(x: Rows, f: int) -> list[list[int]]:
    return [list(kept) for kept in combinations(range(len(x)), len(x) - f)]


def _nearest(x: Rows, centre: Rows, count: int) -> Rows:
    order = np.argsort(np.abs(x - centre), axis=0, kind="stable")[:count]
    return _mean(np.take_along_axis(x, order, axis=0))


def _squared_distances(x: Rows) -> Rows:
    return np.stack([((x - row) ** 2).sum(axis=1) for row in x])


def _krum_scores(x: Rows, neighbours: int) -> Rows:
    ordered: Rows = np.sort(_squared_distances(x), axis=1)
    scores: Rows = ordered[:, 1 : 1 + neighbours].sum(axis=1)
    return scores


def _clipped(x: Rows) -> Rows:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    clipped: Rows = x * np.minimum(1, CLIP / np.maximum(norms, 1e-300))
    return clipped
