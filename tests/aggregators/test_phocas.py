"""Phocas: the mean around the trimmed mean."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import Mean, Phocas


def test_phocas_by_hand_takes_the_values_nearest_the_trimmed_mean() -> None:
    rows = torch.tensor([[0.0], [1.0], [5.0], [6.0], [90.0]])
    # trimmed mean (1 + 5 + 6) / 3 = 4; the four nearest are 5, 6, 1, 0
    assert Phocas(num_byzantine=1)(rows).tolist() == [3.0]


@given(st.integers(0, 3), st.integers(1, 6), st.integers(0, 999))
def test_phocas_agrees_with_a_loop_over_coordinates(f: int, extra: int, seed: int) -> None:
    n = 2 * f + extra
    rows = torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = []
    for column in rows.T.tolist():
        trimmed = sorted(column)[f : n - f]
        centre = sum(trimmed) / len(trimmed)
        near = sorted(column, key=lambda value: abs(value - centre))[: n - f]
        expected.append(sum(near) / len(near))
    torch.testing.assert_close(Phocas(num_byzantine=f)(rows), torch.tensor(expected, dtype=torch.float64))


def test_phocas_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (Phocas(num_byzantine=6)(rows) - 1).abs().max() < 0.2
