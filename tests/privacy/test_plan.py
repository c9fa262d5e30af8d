"""A plan is its own inverse, never costs more than was asked for, and rises to its end."""

import pytest

from phalanx.core.errors import ConfigError
from phalanx.privacy import PrivacyPlan, accounting

KNOWN = {"epsilon": 2.0, "delta": 1e-5, "noise_multiplier": None, "steps": 100}


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
@pytest.mark.parametrize("unknown", ["epsilon", "delta", "steps"])
def test_what_a_plan_found_gives_back_what_it_was_found_from(accountant, unknown):
    first = PrivacyPlan.solve(sample_rate=0.1, accountant=accountant, **KNOWN)
    known = {name: getattr(first, name) for name in KNOWN if name != unknown}
    again = PrivacyPlan.solve(sample_rate=0.1, accountant=accountant, **known)
    assert getattr(again, unknown) == pytest.approx(getattr(first, unknown), rel=0.02)
    assert again.noise_multiplier == first.noise_multiplier


def test_the_curve_rises_to_what_the_plan_costs():
    plan = PrivacyPlan.solve(sample_rate=0.1, **KNOWN)
    curve = plan.curve(7)
    assert len(curve) <= 7
    assert [steps for steps, _ in curve] == sorted({steps for steps, _ in curve})
    assert [epsilon for _, epsilon in curve] == sorted(epsilon for _, epsilon in curve)
    assert curve[-1] == (100, accounting.epsilon(plan.noise_multiplier, 0.1, 100, 1e-5))
    assert curve[-1][1] <= 2.0


def test_a_budget_that_no_step_fits_plans_none():
    plan = PrivacyPlan.solve(sample_rate=1.0, epsilon=0.01, delta=1e-5, noise_multiplier=1.0)
    assert plan.steps == 0
    assert plan.curve() == [(0, 0.0)]


@pytest.mark.parametrize("unknown", [(), ("epsilon", "delta")])
def test_exactly_one_may_be_unknown(unknown):
    known = {name: value for name, value in (KNOWN | {"noise_multiplier": 2.0}).items() if name not in unknown}
    with pytest.raises(ConfigError, match="needs exactly three of epsilon, delta, noise multiplier and steps"):
        PrivacyPlan.solve(sample_rate=0.1, **known)


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_the_largest_of_many_is_the_largest_of_each(accountant):
    histories = [(accounting.Spending(1.0 + place / 10, 0.02 * (place + 1), 40 - 3 * place),) for place in range(6)]
    each = [accounting.composed_epsilon(history, 1e-5, accountant=accountant) for history in histories]
    assert accounting.largest_epsilon(histories * 2, 1e-5, accountant=accountant) == max(each)
    assert accounting.largest_epsilon([], 1e-5, accountant=accountant) == 0
