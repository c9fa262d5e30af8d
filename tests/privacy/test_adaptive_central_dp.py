"""AdaptiveCentralDP: the clip norm finds its quantile, through noise that is paid for."""

import dataclasses
import math

import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.core.types import RoundContext, Updates
from phalanx.privacy import AdaptiveCentralDP, CentralDP, accounting


def rounds(rule, rows, count, *, seed=0):
    """Aggregates of `count` rounds of the same rows, and the memory after them."""
    state = rule.init(None)
    for round in range(count):
        context = dataclasses.replace(RoundContext.for_matrix(rows, seed=seed), round=round)
        aggregate, state = rule.aggregate(Updates.of(rows), state, context)
        yield aggregate, state


def test_one_round_by_hand():
    rule = AdaptiveCentralDP(noise_multiplier=0.0, expected_clients=4.0, initial_clip_norm=2.0, quantile=0.5)
    rows = torch.tensor([[1.0], [-1.5], [2.0], [8.0]])
    [(aggregate, state)] = rounds(rule, rows, 1)
    assert aggregate.update.tolist() == pytest.approx([(1 - 1.5 + 2 + 2) / 4])
    assert aggregate.metrics == {"clip_norm": 2.0, "share": 0.75}
    assert float(state["clip_norm"]) == pytest.approx(2 * math.exp(-0.2 * 0.25))


@pytest.mark.parametrize("noise_multiplier", [0.0, 2.0])
@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
def test_the_clip_norm_finds_the_quantile_of_the_norms(noise_multiplier, quantile):
    norms = torch.linspace(1, 3, 400)
    rule = AdaptiveCentralDP(noise_multiplier=noise_multiplier, expected_clients=400.0, quantile=quantile)
    *_, (_, state) = rounds(rule, norms[:, None], 120)
    assert float(state["clip_norm"]) == pytest.approx(1 + 2 * quantile, rel=0.1)


def test_both_noises_together_cost_what_z_costs():
    """Two Gaussian mechanisms at once are one, with z⁻² the sum of theirs; the bits, shifted by a half, move by 1/2."""
    rule = AdaptiveCentralDP(noise_multiplier=1.3, expected_clients=50.0)
    assert rule.count_noise == 2.5
    together = (rule.update_noise**-2 + (2 * rule.count_noise) ** -2) ** -0.5
    assert together == pytest.approx(1.3)
    parts = [accounting.Spending(z, 1.0, 7) for z in (rule.update_noise, 2 * rule.count_noise)]
    assert accounting.composed_epsilon(parts, 1e-5) == pytest.approx(accounting.epsilon(1.3, 1.0, 7, 1e-5), rel=2e-3)


def test_the_counts_noise_has_its_standard_deviation():
    rule = AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=60.0)
    rows = torch.ones(60, 1)
    shares = torch.tensor([next(rounds(rule, rows, 1, seed=seed))[0].metrics["share"] for seed in range(400)])
    # All rows are longer than 0.1, so the true share is 0, and the noise is σ_b / m = 3 / 60.
    assert float(shares.mean()) == pytest.approx(0, abs=5 * 0.05 / 20)
    assert float(shares.std()) == pytest.approx(0.05, rel=0.15)


def test_the_updates_noise_is_z_delta_times_the_clip_norm():
    rule = AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=10.0, quantile_noise=0.7, initial_clip_norm=3.0)
    aggregate, _ = next(rounds(rule, torch.zeros(10, 20_000), 1))
    assert float(aggregate.update.std()) == pytest.approx(rule.update_noise * 3.0 / 10, rel=0.02)
    assert rule.update_noise > 1.4


def test_a_count_too_exact_for_the_budget_is_refused():
    with pytest.raises(
        ConfigError, match=r"needs quantile_noise > noise_multiplier / 2.*quantile_noise=0.5, noise_multiplier=1.0"
    ):
        AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=10.0, quantile_noise=0.5)


def test_attackers_with_endless_rows_move_the_clip_norm_only_as_far_as_their_share():
    rows = torch.ones(100, 2) / 2**0.5
    rows[:30] = 1e6
    rule = AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=100.0, quantile=0.5)
    *_, (aggregate, state) = rounds(rule, rows, 80)
    assert float(state["clip_norm"]) < 1.5
    fixed = CentralDP(1.0, noise_multiplier=1.0, expected_clients=100.0)(rows)
    torch.testing.assert_close(aggregate.update, fixed, atol=0.1, rtol=0.5)
