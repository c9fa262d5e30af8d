"""Bulyan: rows chosen by Krum again and again, then a mean around the median of each coordinate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import Bulyan, Krum
from phalanx.aggregators.bulyan import repeated_krum
from phalanx.core.errors import PreconditionError
from phalanx.core.types import Updates


def slow_choice(rows: torch.Tensor, f: int) -> list[int]:
    """θ times Krum over the rows that remain, with every score summed anew."""
    remaining, chosen = list(range(len(rows))), []
    while len(chosen) < len(rows) - 2 * f:
        neighbours = max(1, len(remaining) - f - 2)
        scores = {
            i: sum(sorted(float((rows[i] - rows[j]).square().sum()) for j in remaining if j != i)[:neighbours])
            for i in remaining
        }
        best = min(remaining, key=lambda i: (scores[i], rows[i].tolist()))
        chosen.append(best)
        remaining.remove(best)
    return sorted(chosen)


@given(st.integers(0, 2), st.integers(3, 7), st.integers(0, 999))
def test_the_choice_is_krums_again_and_again(f: int, extra: int, seed: int) -> None:
    rows = torch.randn(4 * f + extra, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    count = len(rows) - 2 * f
    assert repeated_krum(Updates.of(rows), f, count).nonzero().flatten().tolist() == slow_choice(rows, f)


def test_bulyan_by_hand() -> None:
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [99.0]])
    # θ = 5 of them; the first choice is 2, with the 4 nearest at 0, 1, 3, 4; then 3, 1, 4 and 0; the 3 nearest their median 2
    assert repeated_krum(Updates.of(rows), 1, 5).tolist() == [True, True, True, True, True, False, False]
    assert Bulyan(num_byzantine=1)(rows).tolist() == [2.0]


def test_every_chosen_row_is_another_one() -> None:
    rows = torch.randn(11, 5, generator=torch.Generator().manual_seed(0))
    for count in range(1, 8):
        assert int(repeated_krum(Updates.of(rows), 2, count).sum()) == count


def test_bulyan_holds_where_one_hidden_coordinate_breaks_krum() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(23, 10_000, generator=generator)
    rows[:5] = rows[5:].mean(dim=0)  # nearer to everyone than the honest are to each other
    rows[:5, 0] += 60  # but for one coordinate
    assert Krum(num_byzantine=5)(rows)[0] > 30
    assert Bulyan(num_byzantine=5)(rows)[0].abs() < 3


def test_bulyan_needs_four_f_plus_three_rows() -> None:
    with pytest.raises(PreconditionError, match=r"Bulyan needs n >= 4f \+ 3 updates; got n=12, f=3\. Lower num_byzantine"):
        Bulyan(num_byzantine=3)(torch.ones(12, 2))
