"""The statistics of the one-run audit: against exact fractions, known numbers, and mechanisms whose ε is known."""

import math
from fractions import Fraction

import pytest
import torch
from scipy import stats

from phalanx.core.errors import ConfigError
from phalanx.privacy import OneRunAudit
from phalanx.privacy.one_run_audit import auc, epsilon_lower_bound, p_value


def slow_p_value(m, r, v, right, delta):
    """The theorem word for word in fractions; `right` is the chance of a right guess, e^ε / (1 + e^ε)."""
    chances = [math.comb(r, k) * right**k * (1 - right) ** (r - k) for k in range(r + 1)]
    beta = sum(chances[v:])
    alpha = max((sum(chances[v - i : v]) / i for i in range(1, v + 1)), default=0)
    return min(Fraction(1), beta + 2 * m * delta * alpha)


@pytest.mark.parametrize("odds", [Fraction(1), Fraction(3, 2), Fraction(20)])
@pytest.mark.parametrize(("m", "r", "v"), [(10, 10, 10), (10, 10, 0), (40, 20, 15), (40, 39, 20), (200, 60, 57)])
@pytest.mark.parametrize("delta", [Fraction(0), Fraction(1, 1000)])
def test_the_p_value_is_the_theorems_in_exact_fractions(m, r, v, odds, delta):
    slow = slow_p_value(m, r, v, odds / (1 + odds), delta)
    assert p_value(m, r, v, math.log(odds), float(delta)) == pytest.approx(float(slow), rel=1e-9)


def test_a_thousand_canaries_show_at_most_5_point_4_at_99_percent():
    bound = epsilon_lower_bound(1000, 1000, 1000, delta=0.0)
    assert bound == pytest.approx(-math.log(0.01 ** (-1 / 1000) - 1))  # where all are right with a chance of 1 %
    assert round(bound, 1) == 5.4


def test_without_delta_the_bound_is_that_of_clopper_and_pearson():
    share = stats.binomtest(170, 200, alternative="greater").proportion_ci(0.99, method="exact").low
    assert epsilon_lower_bound(1000, 200, 170, delta=0.0) == pytest.approx(math.log(share / (1 - share)), rel=1e-6)


def test_delta_costs_something_and_more_of_it_more():
    bounds = [epsilon_lower_bound(1000, 1000, 950, delta=delta) for delta in (0.0, 1e-5, 1e-4, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] - bounds[1] < 0.05  # at the δ that is usual: little
    assert bounds[3] < 0.9 * bounds[0]


@pytest.mark.parametrize("correct", [0, 50, 99, 100])
def test_guesses_no_better_than_coins_show_nothing(correct):
    assert epsilon_lower_bound(200, 200, correct, delta=1e-5) == 0


def test_the_bound_holds_for_coins_that_are_answered_at_random_and_is_nearly_reached():
    """Randomised response with ε = 1 is the worst case of the theorem: here no bound could be larger."""
    generator = torch.Generator().manual_seed(0)
    bounds = []
    for _ in range(300):
        is_in = torch.rand(1000, generator=generator) < 0.5
        is_honest = torch.rand(1000, generator=generator) < 1 / (1 + math.exp(-1))
        scores = torch.where(is_honest, is_in, ~is_in).double() + 1e-3 * torch.rand(1000, generator=generator)
        bounds.append(OneRunAudit.of(scores, is_in, delta=0.0).lower_bound)
    assert sum(bound > 1 for bound in bounds) <= 7  # 1 % of 300, and what chance adds to that in 99 % of all cases
    assert torch.tensor(bounds).median() > 0.75


def test_scores_that_say_nothing_show_nothing_and_scores_that_say_all_show_the_most():
    generator = torch.Generator().manual_seed(1)
    is_in = torch.rand(1000, generator=generator) < 0.5
    nothing = OneRunAudit.of(torch.zeros(1000), is_in, delta=1e-5)
    assert (nothing.lower_bound, nothing.auc) == (0, 0.5)
    everything = OneRunAudit.of(torch.where(is_in, 1.0, -1.0), is_in, delta=0.0)
    assert everything.auc == 1
    assert 4.2 < everything.lower_bound <= everything.most  # as many are in as the coins say, not half of them
    assert everything.correct / everything.guesses > 0.95


def test_only_the_order_of_scores_counts():
    generator = torch.Generator().manual_seed(2)
    is_in = torch.rand(100, generator=generator) < 0.5
    scores = torch.randn(100, generator=generator) + 2 * is_in
    assert OneRunAudit.of(scores, is_in, delta=1e-5) == OneRunAudit.of(scores.exp(), is_in, delta=1e-5)


def test_the_auc_is_the_share_of_pairs_in_order():
    generator = torch.Generator().manual_seed(3)
    scores, is_member = torch.randint(0, 9, (60,), generator=generator), torch.rand(60, generator=generator) < 0.4
    pairs = [(float(a > b) + float(a == b) / 2) for a in scores[is_member] for b in scores[~is_member]]
    assert auc(scores, is_member) == pytest.approx(sum(pairs) / len(pairs))
    assert auc(scores, torch.ones(60, dtype=torch.bool)) == 0.5


@pytest.mark.parametrize("scores", [torch.tensor([1.0]), torch.tensor([1.0, torch.nan])])
def test_too_few_canaries_or_a_score_that_is_none_are_refused(scores):
    with pytest.raises(ConfigError, match="two canaries at least"):
        OneRunAudit.of(scores, torch.ones(len(scores), dtype=torch.bool), delta=1e-5)
