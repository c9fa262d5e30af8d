"""ALittleIsEnough: the formula, its numbers, and that it stays inside the honest spread."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from phalanx.attacks.update import ALittleIsEnough
from phalanx.attacks.update.a_little_is_enough import largest_shift
from phalanx.core.errors import ConfigError
from phalanx.core.types import AttackView, Crafted, RoundContext


def craft(attack: ALittleIsEnough, honest: Tensor | None, clean: Tensor, *, n: int) -> Crafted:
    def own_clean() -> Tensor:
        assert not attack.is_omniscient, "an omniscient attack does not train clean rows"
        return clean

    view = AttackView(own=torch.full_like(clean, 1e9), own_clean=own_clean, num_updates=n, honest=honest)
    return attack.craft(view, {}, RoundContext.for_matrix(clean))[0]


def test_by_hand_with_the_population_standard_deviation() -> None:
    honest = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    row = [2 - 1.5 * (8 / 3) ** 0.5, 2 - 1.5 * 2**0.5]
    rows = ALittleIsEnough(1.5)(honest, num_byzantine=2)
    torch.testing.assert_close(rows, torch.tensor([row, row]))


@pytest.mark.parametrize(
    ("n", "f", "z"), [(30, 6, 0.2104), (10, 2, 0.0), (10, 1, -0.1397), (50, 12, 0.3360), (100, 20, 0.2858)]
)
def test_the_known_shifts(n: int, f: int, z: float) -> None:
    assert largest_shift(n, f) == pytest.approx(z, abs=1e-4)


@given(st.integers(3, 300), st.data())
def test_the_shift_is_the_normal_quantile_of_the_paper(n: int, data: st.DataObject) -> None:
    f = data.draw(st.integers(1, (n - 1) // 2))
    supporters = n // 2 + 1 - f
    share = (n - f - supporters) / (n - f)
    if 0 < share < 1:
        assert largest_shift(n, f) == pytest.approx(float(norm.ppf(share)), abs=1e-9)


@pytest.mark.parametrize(("n", "f"), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (5, 4)])
def test_the_shift_is_finite_where_the_formula_is_not(n: int, f: int) -> None:
    assert abs(largest_shift(n, f)) < 3


def test_a_run_is_told_when_there_is_no_room_to_attack() -> None:
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    no_room = craft(ALittleIsEnough(), rows[:8], rows[:2], n=10)
    assert no_room.metrics["z"] == pytest.approx(0, abs=1e-12)
    assert no_room.metrics["room"] == 0
    assert craft(ALittleIsEnough(), rows[:9], rows[:1], n=10).metrics["room"] == 0
    assert craft(ALittleIsEnough(), rows, rows[:1], n=30).metrics["z"] == largest_shift(30, 1)
    assert craft(ALittleIsEnough(1.5), rows[:8], rows[:2], n=10).metrics == {"z": 1.5, "room": 1}


def test_with_own_knowledge_only_the_clean_rows_of_the_attackers_count() -> None:
    clean = torch.tensor([[0.0], [2.0]])
    crafted = craft(ALittleIsEnough(1.0, knowledge="own"), None, clean, n=10)
    assert crafted.rows.tolist() == [[0], [0]]


def test_an_attacker_who_sees_only_his_own_row_has_no_room_and_says_so() -> None:
    crafted = craft(ALittleIsEnough(1.5, knowledge="own"), None, torch.tensor([[1.0, 2.0]]), n=10)
    assert (crafted.rows.tolist(), crafted.metrics["room"]) == ([[1, 2]], 0)


def test_one_attacker_and_one_honest_row_are_enough_to_go_on() -> None:
    assert ALittleIsEnough()(torch.tensor([[1.0, 2.0]]), num_byzantine=1).tolist() == [[1, 2]]


def test_it_hides_inside_the_spread_and_still_moves_the_mean() -> None:
    honest = torch.randn(24, 2000, generator=torch.Generator().manual_seed(0))
    rows = ALittleIsEnough(1.5)(honest, num_byzantine=6)
    inside = (rows[0] > honest.min(0).values) & (rows[0] < honest.max(0).values)
    assert inside.double().mean() > 0.7, "24 normal rows rarely stay within 1.5 deviations"
    distance_to_mean = (rows[0] - honest.mean(0)).norm()
    assert distance_to_mean < 1.6 * (honest[0] - honest.mean(0)).norm()
    shift = torch.cat([honest, rows]).mean(0) - honest.mean(0)
    torch.testing.assert_close(shift, -1.5 * honest.std(0, correction=0) * 6 / 30)


def test_an_unknown_kind_of_knowledge_is_refused() -> None:
    with pytest.raises(ConfigError, match="knowledge"):
        ALittleIsEnough(knowledge="everything")  # type: ignore[arg-type]
