"""Normalize: every row as long as every other."""

import torch

from phalanx.aggregators import Normalize
from phalanx.core.types import RoundContext, Updates


def test_rows_get_the_same_length_and_zeros_stay_even_beside_tiny_and_huge_ones() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [0.0, -1e30]])
    normal, _ = Normalize(norm=2.0).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    torch.testing.assert_close(normal.matrix, torch.tensor([[1.2, 1.6], [0.0, 0.0], [2.0, 0.0], [0.0, -2.0]]))
