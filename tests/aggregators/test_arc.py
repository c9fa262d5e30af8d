"""ARC: clipping to a norm that this round's norms decide."""

import torch

from phalanx.aggregators import ARC
from phalanx.core.types import RoundContext, Updates


def test_the_bound_is_the_norm_after_the_k_longest() -> None:
    rows = torch.arange(1.0, 11.0)[:, None]
    clipped, _ = ARC(num_byzantine=2).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    # k = ⌊2 · 2/10 · 8⌋ = 3: the fourth largest norm is 7
    assert clipped.matrix.flatten().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 7.0, 7.0]
    assert rows[-1] == 10


def test_nobody_is_clipped_where_nobody_attacks() -> None:
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    clipped, _ = ARC(num_byzantine=0).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    assert torch.equal(clipped.matrix, rows)
