"""Matrix work that rules share, over rows `[n, d]` in column blocks: distances that hold beside huge rows, and reducers."""

import torch
from torch import Tensor


def norms(matrix: Tensor) -> Tensor:
    """Euclidean norm of each row, `[n]` float64."""
    result: Tensor = torch.linalg.vector_norm(matrix, dim=1, dtype=torch.float64)
    return result


def squared_distances(matrix: Tensor) -> Tensor:
    """Squared Euclidean distances of all pairs of rows, `[n, n]` float64."""
    distances = torch.cdist(matrix.double(), matrix.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return distances.square()
