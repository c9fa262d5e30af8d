"""MinSum: against a search with brute-force distances, and its condition, met and tight."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks.update import MinSum
from phalanx.core.types import AttackView, RoundContext

DEVIATIONS = ["unit", "sign", "std"]


def craft(attack, honest):
    view = AttackView(own=honest[:2], own_clean=lambda: honest, num_updates=len(honest) + 2, honest=honest)
    return attack.craft(view, {}, RoundContext.for_matrix(honest))[0]


def sum_to(row: torch.Tensor, rows: torch.Tensor) -> float:
    return float((rows - row).square().sum())


def test_by_hand_on_a_line() -> None:
    honest = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    # 4 is farthest: 9 + 4 = 13; around the mean 7/3 the sum is 14/3, so 3 γ² = 25/3
    assert craft(MinSum("unit"), honest).metrics["gamma"] == pytest.approx(5 / 3)


@given(st.integers(2, 8), st.integers(1, 6), st.sampled_from(DEVIATIONS), st.integers(0, 999))
def test_the_limit_is_met_and_tight(h: int, d: int, deviation: str, seed: int) -> None:
    honest = torch.randn(h, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    crafted = craft(MinSum(deviation), honest)
    limit = max(sum_to(row, honest) for row in honest)
    assert sum_to(crafted.rows[0], honest) == pytest.approx(limit, rel=1e-6)
    mean = honest.mean(0)
    beyond = mean + 1.001 * (crafted.rows[0] - mean)
    assert sum_to(beyond, honest) > limit


def test_identical_rows_leave_no_room() -> None:
    assert craft(MinSum(), torch.ones(4, 3)).metrics["gamma"] == 0
