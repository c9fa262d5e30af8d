"""Principal components of rows from their Gram matrix `[m, m]`, never from a decomposition of `[m, d]`."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Points = npt.NDArray[np.float64]


def principal_points(gram: Tensor) -> Points:
    """The first two principal components `[m, 2]` of rows with this Gram matrix, divided by the rms of all coordinates.

    A component's sign is free; here the sum of cubes is not negative, whatever the order of rows. Digits beyond the sixth are
    rounding, and dropped. Rows that are all equal give zeros.
    """
    mean = gram.mean(dim=0)
    centred = gram - mean - mean[:, None] + mean.mean()
    values, vectors = torch.linalg.eigh(centred)
    points = vectors[:, -2:].flip(1) * values[-2:].flip(0).clamp(min=0).sqrt()
    rms = points.square().mean().sqrt()
    if rms <= 1e-7 * (1 + gram.max()).sqrt():  # the root of an eigenvalue's rounding, 1e-16 of the largest product
        return np.zeros((len(gram), 2))
    points = (points / rms).round(decimals=6)
    return np.asarray((points * torch.where(points.pow(3).sum(dim=0) < 0, -1.0, 1.0)).cpu().numpy())
