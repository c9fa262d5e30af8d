"""What holds for every update attack."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import Mean, Median
from phalanx.attacks.update import (
    Adaptive,
    AGRTailored,
    ALittleIsEnough,
    FangKrum,
    FangTrim,
    Gaussian,
    InnerProductManipulation,
    LieBackdoor,
    Mimic,
    MinMax,
    MinSum,
    ModelReplacement,
    Scaling,
    SignFlip,
)
from phalanx.core.capabilities import Capability
from phalanx.core.component import members
from phalanx.core.errors import PreconditionError
from phalanx.core.families import UpdateAttack
from phalanx.core.types import AttackView, RoundContext

ATTACKS: list[UpdateAttack] = [
    SignFlip(2.0),
    Gaussian(0.5),
    Scaling(10.0),
    ModelReplacement(server_lr=0.5),
    ALittleIsEnough(),
    ALittleIsEnough(1.5, knowledge="own"),
    MinMax("unit"),
    MinMax("sign"),
    MinMax("std", knowledge="own"),
    MinSum("unit"),
    MinSum("sign", knowledge="own"),
    MinSum(),
    InnerProductManipulation(0.3),
    FangTrim(),
    FangTrim(knowledge="own"),
    FangKrum(),
    Mimic(),
    LieBackdoor(),
    LieBackdoor(1.0, knowledge="own"),
    AGRTailored(aggregator=Median(), evaluations=16),
    Adaptive(aggregator=Mean(), evaluations=16),
]
FOLLOWS_ROWS = [attack for attack in ATTACKS if not isinstance(attack, Gaussian | FangKrum)]  # Fang's λ ends at 1e-5
TRANSLATES = [attack for attack in ATTACKS if isinstance(attack, ALittleIsEnough) or attack == MinMax()]


def honest_rows(h: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(h, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_every_update_attack_of_the_library_is_listed_here() -> None:
    assert {attack.kind for attack in ATTACKS} == {
        kind for kind, member in members(UpdateAttack).items() if member.__module__.startswith("phalanx.")
    }


@pytest.mark.usefixtures("untouched_rng")
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@given(
    h=st.integers(1, 9),
    f=st.integers(1, 5),
    d=st.integers(1, 20),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
)
def test_rows_have_their_shape_and_dtype_are_finite_repeatable_and_leave_the_input_alone(
    attack: UpdateAttack, h: int, f: int, d: int, dtype: torch.dtype
) -> None:
    honest = honest_rows(h, d, h).to(dtype)
    before = honest.clone()
    rows = attack(honest, num_byzantine=f)
    assert rows.shape == (f, d)
    assert rows.dtype == dtype
    assert rows.isfinite().all()
    assert honest.equal(before)
    assert attack(honest, num_byzantine=f).equal(rows)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@given(seed=st.integers(0, 1000))
def test_the_order_of_honest_rows_does_not_matter(attack: UpdateAttack, seed: int) -> None:
    honest = honest_rows(7, 5, seed)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(attack(honest[order], num_byzantine=2), attack(honest, num_byzantine=2))


@pytest.mark.parametrize("attack", FOLLOWS_ROWS, ids=repr)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_scaled_rows_give_scaled_attacks(attack: UpdateAttack, seed: int, scale: float) -> None:
    honest = honest_rows(6, 5, seed)
    expected = attack(honest, num_byzantine=2) * scale
    torch.testing.assert_close(attack(honest * scale, num_byzantine=2), expected, rtol=1e-6, atol=1e-9 * scale)


@pytest.mark.parametrize("attack", TRANSLATES, ids=repr)
@given(seed=st.integers(0, 1000))
def test_attacks_that_only_use_spread_move_with_the_rows(attack: UpdateAttack, seed: int) -> None:
    honest, shift = honest_rows(6, 5, seed), honest_rows(1, 5, seed + 1)
    torch.testing.assert_close(attack(honest + shift, num_byzantine=2), attack(honest, num_byzantine=2) + shift)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_only_attacks_on_others_rows_need_collusion_and_only_omniscient_ones_see_them(attack: UpdateAttack) -> None:
    knowledge = getattr(attack, "knowledge", None)
    assert attack.is_omniscient == (knowledge == "omniscient")
    assert attack.needs == (frozenset() if knowledge is None else {Capability.COLLUSION})


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_nobody_to_attack_or_to_attack_with_is_an_error(attack: UpdateAttack) -> None:
    for honest, f in ((torch.zeros(0, 3), 1), (torch.zeros(3, 3), 0), (torch.zeros(3), 1)):
        with pytest.raises(PreconditionError, match="num_byzantine >= 1"):
            attack(honest, num_byzantine=f)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_in_a_round_of_attackers_only_their_own_clean_rows_stand_for_the_honest(attack: UpdateAttack) -> None:
    own = honest_rows(3, 4, 0)
    view = AttackView(own=own, own_clean=lambda: own, num_updates=3, honest=own[:0])
    crafted, _ = attack.craft(view, {}, RoundContext.for_matrix(own))
    assert crafted.rows.shape == (3, 4)
    assert crafted.rows.isfinite().all()


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_a_table_gives_the_same_attack_back(attack: UpdateAttack) -> None:
    assert UpdateAttack.from_table(attack.to_table()) == attack


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if getattr(attack, "knowledge", "") == "own"], ids=repr)
def test_outside_of_a_federation_too_own_knowledge_means_own_rows(attack: UpdateAttack) -> None:
    honest = honest_rows(6, 5, 0)
    same_mean = honest.mean(0).repeat(6, 1)
    torch.testing.assert_close(attack(honest, num_byzantine=2), attack(same_mean, num_byzantine=2))
