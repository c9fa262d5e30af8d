"""Which binary masks lie together: their Gram matrix, a Gaussian mixture, and whether there are two clusters at all.

The second half of SkyMask, which its variants share.
"""

import warnings
from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from torch import Tensor

from phalanx.aggregators.components import Points
from phalanx.core.workers import blocks, each_part, width_of


@dataclass(frozen=True)
class Split:
    """Two clusters of points: whose each point is `[m]` bool, and how much there is to the split.

    `delta_bic` is the Bayesian information criterion of one Gaussian minus that of two; `silhouettes` `[m]` float64 are those
    of the points, 0 for one that is alone; all 0 where the points are not even two.
    """

    labels: Tensor
    silhouettes: Tensor
    delta_bic: float = 0.0

    @property
    def silhouette(self) -> float:
        """The mean over all points."""
        return float(self.silhouettes.mean())

    def silhouette_beside(self, point: int) -> float:
        """The mean over the cluster of this point."""
        return float(self.silhouettes[self.labels == self.labels[point]].mean())


def mask_gram(masks: Tensor, limit: float) -> Tensor:
    """How many entries above `limit` each two rows of `masks` `[m, d]` share, `[m, m]` float64: exact counts."""
    m, width = len(masks), width_of(len(masks))

    def counts(part: slice) -> Tensor:
        total = torch.zeros(m, m, dtype=torch.float64, device=masks.device)
        for block in blocks(part, width):  # whose counts are whole numbers that float32 holds
            bits = (masks[:, block] > limit).to(torch.float32)
            total += bits @ bits.T
        return total

    return sum(each_part(counts, masks.shape[1], width), masks.new_zeros(m, m, dtype=torch.float64))


def split(points: Points, seed: int, *, regularisation: float, starts: int) -> Split:
    """What a mixture of two Gaussians with full covariances makes of points `[m, 2]`; the seed decides its starts.

    The order of the points does not matter. Time O(m²) for the silhouette, O(m) a step of the mixture.
    """
    from sklearn.metrics import silhouette_samples
    from sklearn.mixture import GaussianMixture

    silhouettes = torch.zeros(len(points), dtype=torch.float64)
    if len(np.unique(points, axis=0)) < 2:
        return Split(torch.zeros(len(points), dtype=torch.bool), silhouettes)
    order = np.lexsort(points.T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of points that are fewer than the starts, or equal
        mixture = GaussianMixture(2, reg_covar=regularisation, n_init=starts, random_state=seed).fit(points[order])
    labels = mixture.predict(points)
    delta = _bic_of_one(points, regularisation) - float(mixture.bic(points))
    if 2 <= len(np.unique(labels)) < len(points):
        silhouettes = torch.from_numpy(silhouette_samples(points, labels))
    return Split(torch.from_numpy(labels == 1), silhouettes, delta)


def _bic_of_one(points: Points, regularisation: float) -> float:
    """BIC of a single Gaussian with full covariance, which has a closed form: 5 parameters."""
    m = len(points)
    covariance = np.cov(points.T, bias=True)
    regular = covariance + regularisation * np.eye(2)
    mahalanobis = m * float(np.trace(np.linalg.solve(regular, covariance)))
    return m * (2 * log(2 * pi) + float(np.linalg.slogdet(regular)[1])) + mahalanobis + 5 * log(m)
