"""MinMax: against the paper's own search with brute-force distances, and its condition, met and tight."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.attacks.update import MinMax
from phalanx.attacks.update import line as module
from phalanx.core.types import AttackView, Crafted, RoundContext

DEVIATIONS = ["unit", "sign", "std"]


def honest_rows(h: int, d: int, seed: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(h, d, generator=generator, dtype=dtype) + torch.randn(d, generator=generator, dtype=dtype)


def craft(attack: MinMax, honest: Tensor) -> Crafted:
    view = AttackView(own=honest[:2], own_clean=lambda: honest, num_updates=len(honest) + 2, honest=honest)
    return attack.craft(view, {}, RoundContext.for_matrix(honest))[0]


def farthest(row: Tensor, rows: Tensor) -> float:
    return float((rows - row).norm(dim=1).max())


def diameter(rows: Tensor) -> float:
    return max(farthest(row, rows) for row in rows)


def gamma_by_search(honest: Tensor, direction: Tensor) -> float:
    """Doubling, then bisection, each candidate judged by all its distances."""
    limit, mean = diameter(honest), honest.mean(0)
    low, high = 0.0, 1.0
    while farthest(mean + high * direction, honest) <= limit:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if farthest(mean + middle * direction, honest) <= limit else (low, middle)
    return low


def test_by_hand_on_a_line() -> None:
    honest = torch.tensor([[1.0], [2.0], [4.0]])
    crafted = craft(MinMax("unit"), honest)
    assert crafted.metrics["gamma"] == pytest.approx(7 / 3 - 1), "as far below 4 as 1 is"
    torch.testing.assert_close(crafted.rows, torch.tensor([[1.0], [1.0]]))


def test_by_hand_in_the_plane() -> None:
    honest = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    crafted = craft(MinMax("sign"), honest)
    gamma = 3**0.5
    assert crafted.metrics["gamma"] == pytest.approx(gamma), "the third corner of an equilateral triangle of side 2"
    torch.testing.assert_close(crafted.rows[0], torch.tensor([1 - gamma, 0.0]))


@pytest.mark.parametrize("deviation", DEVIATIONS)
@given(h=st.integers(2, 12), d=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_it_agrees_with_the_papers_search(deviation: str, h: int, d: int, seed: int) -> None:
    honest = honest_rows(h, d, seed)
    mean = honest.mean(0)
    direction = {"unit": -mean / mean.norm(), "sign": -mean.sign(), "std": -honest.std(0, correction=0)}[deviation]
    expected = gamma_by_search(honest, direction)
    crafted = craft(MinMax(deviation), honest)  # type: ignore[arg-type]
    assert crafted.metrics["gamma"] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    torch.testing.assert_close(crafted.rows[1], mean + expected * direction, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_condition_holds_and_is_tight(deviation: str, dtype: torch.dtype) -> None:
    honest = honest_rows(20, 500, 3, dtype=dtype)
    rows = craft(MinMax(deviation), honest).rows  # type: ignore[arg-type]
    assert rows.dtype == dtype
    assert farthest(rows[0].double(), honest.double()) == pytest.approx(diameter(honest.double()), rel=1e-6)


def test_small_noise_around_a_large_common_vector_is_measured_right() -> None:
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(1, 20_000, generator=generator) + 1e-3 * torch.randn(30, 20_000, generator=generator)
    row = craft(MinMax("std"), honest).rows[0]
    assert farthest(row.double(), honest.double()) == pytest.approx(diameter(honest.double()), rel=1e-3)


def test_blocks_of_any_width_give_the_same_gamma(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = honest_rows(7, 101, 5)
    whole = craft(MinMax(), honest).metrics["gamma"]
    for columns in (1, 10, 101):
        monkeypatch.setattr(module, "_COLUMNS", columns)
        assert craft(MinMax(), honest).metrics["gamma"] == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize(
    "honest",
    [torch.tensor([[1.0, -2.0]]), torch.ones(4, 3), torch.zeros(3, 2), torch.tensor([[1.0, 2.0], [-1.0, -2.0]])],
    ids=["one row", "identical rows", "zeros", "a mean of zero"],
)
def test_without_room_or_direction_it_sends_what_it_can(deviation: str, honest: Tensor) -> None:
    crafted = craft(MinMax(deviation), honest)  # type: ignore[arg-type]
    assert crafted.rows.isfinite().all()
    assert farthest(crafted.rows[0], honest) <= diameter(honest) + 1e-6
    if not honest.std(0, correction=0).any():
        torch.testing.assert_close(crafted.rows[0], honest.mean(0))


def test_with_own_knowledge_the_clean_rows_of_the_attackers_stand_for_the_honest() -> None:
    clean = torch.tensor([[1.0], [2.0], [4.0]])
    view = AttackView(own=clean * 100, own_clean=lambda: clean, num_updates=10)
    crafted, _ = MinMax("unit", knowledge="own").craft(view, {}, RoundContext.for_matrix(clean))
    torch.testing.assert_close(crafted.rows, torch.ones(3, 1))


def test_it_moves_the_mean_farther_than_any_honest_client_could() -> None:
    honest = honest_rows(24, 1000, 0)
    attacked = torch.cat([honest, MinMax("unit")(honest, num_byzantine=6)]).mean(0)
    swaps = [torch.cat([honest, row.repeat(6, 1)]).mean(0) for row in honest]
    shift = float((attacked - honest.mean(0)).norm())
    assert shift > 0.9 * max(float((swap - honest.mean(0)).norm()) for swap in swaps)
    assert torch.dot(attacked - honest.mean(0), honest.mean(0)) < 0, "against the honest direction"
