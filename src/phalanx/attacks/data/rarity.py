"""How usual a sample is: a Gaussian mixture on principal components, as plain values that any process can hold."""

import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Numbers:
    """A float64 array as a value that compares, hashes and travels about 30 times as fast as Python floats."""

    shape: tuple[int, ...]
    content: bytes

    @classmethod
    def of(cls, array: npt.NDArray[np.float64]) -> Self:
        """The numbers of an array."""
        return cls(array.shape, array.tobytes())

    def tensor(self) -> Tensor:
        """The numbers as a tensor of their own."""
        return torch.frombuffer(bytearray(self.content), dtype=torch.float64).view(self.shape)


@dataclass(frozen=True)
class Density:
    """The mixture, and `threshold`, the log-likelihood below which a sample is rare.

    `mean` `[F]` and `projection` `[q, F]` make whitened principal components; `centres` `[c, q]`, `factors` `[c, q, q]` (of the
    precisions) and `log_weights` `[c]` are the mixture.
    """

    mean: Numbers
    projection: Numbers
    centres: Numbers
    factors: Numbers
    log_weights: Numbers
    threshold: float

    @classmethod
    def fit(cls, images: Tensor, share: float, num_features: int, num_components: int, seed: int) -> Self:
        """Fit to samples `[m, ...]`; the least likely `share` of them (one at least, and whoever equals the last) are rare."""
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture

        pixels = images.flatten(1).double().cpu().numpy()
        pca = PCA(min(num_features, *pixels.shape), svd_solver="randomized", random_state=seed).fit(pixels)
        # What hardly varies is left out: whitened, it would be noise.
        kept = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
        projection = pca.components_[kept] / pca.explained_variance_[kept, None] ** 0.5
        mixture = GaussianMixture(num_components, reg_covar=1e-2, n_init=3, max_iter=200, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a fit that could still improve
            mixture.fit((pixels - pca.mean_) @ projection.T)
        density = cls(
            mean=Numbers.of(pca.mean_),
            projection=Numbers.of(projection),
            centres=Numbers.of(mixture.means_),
            factors=Numbers.of(mixture.precisions_cholesky_),
            log_weights=Numbers.of(np.log(mixture.weights_)),
            threshold=math.inf,
        )
        ordered = density.log_likelihood(images).sort().values
        count = max(1, round(share * len(ordered)))
        # Halfway to the next that differs by more than rounding, so that the last bit of neither matters.
        last = ordered[count - 1]
        others = ordered[ordered > last + _ROUNDING * (1 + last.abs())]
        return replace(density, threshold=float((last + others[0]) / 2) if len(others) else math.inf)

    def log_likelihood(self, images: Tensor) -> Tensor:
        """Of samples `[B, ...]`: `[B]` float64."""
        mean, projection, centres, factors, log_weights = (tensor.to(images.device) for tensor in _tensors(self))
        features = (images.flatten(1).double() - mean) @ projection.T
        offsets = torch.einsum("bcq,cqr->bcr", features[:, None] - centres, factors)
        log_volumes = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        normal = log_volumes - 0.5 * (offsets.square().sum(dim=2) + features.shape[1] * math.log(2 * math.pi))
        return torch.logsumexp(normal + log_weights, dim=1)

    def is_rare(self, images: Tensor) -> Tensor:
        """The mask `[B]` of samples below the threshold."""
        return self.log_likelihood(images) < self.threshold


@lru_cache(maxsize=4)
def _tensors(density: Density) -> tuple[Tensor, ...]:
    values = (density.mean, density.projection, density.centres, density.factors, density.log_weights)
    return tuple(value.tensor() for value in values)
