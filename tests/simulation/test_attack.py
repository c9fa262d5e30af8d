"""What the attackers of a round get to see."""

import torch

from phalanx.core.families import finite_rows
from phalanx.simulation.attack import finite


def test_attackers_see_the_honest_rows_that_the_server_keeps() -> None:
    rows = torch.tensor([[1e20, 1e20], [float("nan"), 1.0], [1.0, 2.0], [float("inf"), 0.0], [3e38, -3e38]])
    seen, keep = finite(rows)
    assert keep.tolist() == [True, False, True, False, True]
    assert torch.equal(seen, finite_rows(rows, "Mean").matrix)
