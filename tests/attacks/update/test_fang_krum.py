"""FangKrum: as far against the honest mean as Krum still picks an attacker."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import Krum
from phalanx.attacks.update import FangKrum
from phalanx.core.types import AttackView, RoundContext, Updates


def craft(honest: torch.Tensor, f: int):
    view = AttackView(own=honest[:f], own_clean=lambda: honest, num_updates=len(honest) + f, honest=honest)
    return FangKrum().craft(view, {}, RoundContext.for_matrix(honest))[0]


@given(st.integers(2, 4), st.integers(0, 3), st.integers(1, 20), st.integers(0, 999))
def test_what_it_says_of_krum_is_what_krum_does(f: int, extra: int, d: int, seed: int) -> None:
    honest = torch.randn(f + 3 + extra, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 1
    crafted = craft(honest, f)
    rows = torch.cat([crafted.rows, honest])
    aggregate, _ = Krum(num_byzantine=f).aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    assert bool(aggregate.influence[:f].any()) == bool(crafted.metrics["picked"])


def test_the_rows_point_against_the_mean_of_every_coordinate() -> None:
    honest = torch.randn(12, 50, generator=torch.Generator().manual_seed(0)) + 0.5
    crafted = craft(honest, 5)
    assert crafted.metrics["picked"] == 1
    assert crafted.metrics["lambda"] > 1e-5
    torch.testing.assert_close(crafted.rows[0], -crafted.metrics["lambda"] * honest.mean(0).sign())


def test_a_hopeless_attack_says_so() -> None:
    crafted = craft(torch.tensor([[1.0], [1.0], [1.0], [1.0], [1.0]]), 1)
    assert crafted.metrics["picked"] == 0
    assert crafted.metrics["lambda"] < 1e-5


def test_krum_is_turned_around() -> None:
    honest = torch.randn(14, 200, generator=torch.Generator().manual_seed(1)) + 0.2
    rows = torch.cat([craft(honest, 6).rows, honest])
    assert Krum(num_byzantine=6)(rows) @ honest.mean(0) < 0
    assert float(Krum(num_byzantine=0)(honest) @ honest.mean(0)) == pytest.approx(float(honest.mean(0).square().sum()), rel=2)
