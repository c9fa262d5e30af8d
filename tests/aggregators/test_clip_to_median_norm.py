"""ClipToMedianNorm: no row longer than the middle one."""

import torch

from phalanx.aggregators import ClipToMedianNorm
from phalanx.core.types import RoundContext, Updates


def test_rows_longer_than_the_median_are_scaled_down_to_it_and_the_others_stay() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 50.0], [0.0, 0.0], [0.0, -2.0]])
    clipped, mixing = ClipToMedianNorm().transform(Updates.of(rows), RoundContext.for_matrix(rows))
    torch.testing.assert_close(clipped.matrix, torch.tensor([[1.2, 1.6], [0.0, 1.0], [0.0, 2.0], [0.0, 0.0], [0.0, -2.0]]))
    torch.testing.assert_close((mixing @ rows.double()).float(), clipped.matrix)
