"""CentralDP: what one client can do to the sum, the noise on it, and what it is divided by."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from phalanx.aggregators import ClipNorm, Mean, NearestNeighborMixing, Pipeline
from phalanx.core.errors import ConfigError
from phalanx.core.families import Participation
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext, Rows, Updates
from phalanx.privacy import AdaptiveCentralDP, CentralDP
from phalanx.server import AllClients, FixedSize, Poisson, Screening

ROWS = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [30.0, 40.0]])
QUIET = CentralDP(2.5, noise_multiplier=0.0, expected_clients=8.0)


def combined(rule, rows, *, seed=0, round=0):
    context = dataclasses.replace(RoundContext.for_matrix(rows, seed=seed), round=round)
    return rule.aggregate(Updates.of(rows), rule.init(context.layout), context)


def update(rule, rows, **where):
    return combined(rule, rows, **where)[0].update


def test_central_dp_by_hand():
    result, state = combined(QUIET, ROWS)
    torch.testing.assert_close(result.update, torch.tensor([1.5 + 0 + 0 + 1.5, 2 + 1 + 0 + 2]) / 8)
    torch.testing.assert_close(result.influence, torch.tensor([0.5, 1, 1, 0.05], dtype=torch.float64) / 8)
    assert result.metrics == {"clipped": 0.5}
    assert int(state["noised"]) == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 40))
def test_whatever_one_client_sends_the_sum_moves_by_at_most_c(seed, n, d):
    """Rows of all sizes, one of them changed to the worst that a search finds: added, removed, replaced."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=generator) * 10 ** (4 * torch.rand(n, 1, generator=generator) - 2)
    rule = CentralDP(1.0, noise_multiplier=0.0, expected_clients=1.0)
    total = update(rule, rows)
    own = rows[0] / rows[0].norm()
    candidates = [1e30 * own, -1e30 * own, 1e-3 * own, 0 * own, torch.randn(d, generator=generator), torch.full((d,), 3e38 / d)]
    moved = [(update(rule, torch.cat([row[None], rows[1:]])) - total).norm() for row in candidates]
    assert max(moved) <= 2 * (1 + 1e-5)
    assert max(moved) == pytest.approx(1 + min(float(rows[0].norm()), 1), rel=1e-4)  # reached: the bound is tight
    assert (update(rule, rows[1:]) - total).norm() <= 1 + 1e-5


def test_a_row_that_screening_drops_changes_no_denominator():
    rows = Rows.empty(5, Layout.flat(2))
    rows.matrix[:] = torch.cat([ROWS, torch.full((1, 2), torch.nan)])
    updates, rejected = Screening().each_alone("central_dp").screen(rows, range(5), torch.ones(5))
    assert [one.client for one in rejected] == [4]
    context = RoundContext.for_matrix(ROWS)
    screened = QUIET.aggregate(updates, QUIET.init(context.layout), context)[0].update
    assert torch.equal(screened, update(QUIET, ROWS))


def test_weights_that_someone_claims_change_nothing():
    plain = Updates.of(ROWS)
    heavy = dataclasses.replace(plain, weights=torch.tensor([1.0, 1e6, 1.0, 0.0], dtype=torch.float64))
    noisy = CentralDP(1.0, noise_multiplier=1.0, expected_clients=4.0)
    results = [noisy.aggregate(rows, noisy.init(None), RoundContext.for_matrix(ROWS))[0].update for rows in (plain, heavy)]
    assert torch.equal(*results)
    assert not CentralDP.uses_weights


def test_noise_has_the_standard_deviation_z_c_over_the_expected_clients():
    rule = CentralDP(0.5, noise_multiplier=3.0, expected_clients=20.0)
    rows = torch.randn(15, 20_000, generator=torch.Generator().manual_seed(0))
    quiet = dataclasses.replace(rule, noise_multiplier=0.0)
    noise = (update(rule, rows) - update(quiet, rows)) * 20 / (3.0 * 0.5)
    assert abs(float(noise.mean())) < 5 / 20_000**0.5
    assert float(noise.std()) == pytest.approx(1, rel=0.02)
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-4


@pytest.mark.parametrize(
    "rule",
    [CentralDP(1.0, noise_multiplier=1.0, expected_clients=4.0), AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=4.0)],
)
def test_the_same_round_and_seed_give_the_same_noise_and_no_others_do(rule):
    assert torch.equal(update(rule, ROWS), update(rule, ROWS))
    assert not torch.equal(update(rule, ROWS), update(rule, ROWS, round=1))
    assert not torch.equal(update(rule, ROWS), update(rule, ROWS, seed=1))
    secure = dataclasses.replace(rule, secure_rng=True)
    assert not torch.equal(update(secure, ROWS), update(secure, ROWS))


@pytest.mark.parametrize(
    "rule",
    [CentralDP(1.0, noise_multiplier=1.0, expected_clients=4.0), AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=4.0)],
)
def test_a_round_without_anyone_is_noise_and_costs_what_any_round_costs(rule):
    result, state = combined(rule, torch.zeros(0, 50))
    assert result.update is not None
    assert result.update.abs().min() > 0
    assert int(state["noised"]) == 1


@pytest.mark.parametrize(
    "participation, sampling, neighbours, rate",
    [
        (Poisson(rate=0.25), "poisson", "add/remove", 0.25),
        (Poisson(rate=0.25, dropout=0.5), "poisson", "add/remove", 0.25),
        (FixedSize(5), "fixed_size", "replace-one", 0.25),
        (AllClients(), "none", "add/remove", 1.0),
    ],
)
def test_sampling_and_neighbours_follow_from_the_participation(participation, sampling, neighbours, rate):
    expected = participation.expected(20)
    mechanism = CentralDP(1.0, noise_multiplier=2.0, expected_clients=expected).mechanism(participation, 20)
    assert (mechanism.unit, mechanism.sampling, mechanism.neighbours) == ("client", sampling, neighbours)
    assert (mechanism.spending.noise_multiplier, mechanism.spending.sample_rate, mechanism.spending.steps) == (2.0, rate, 1)
    assert mechanism.trusted == "the server"


def test_noise_from_the_system_needs_no_secret_seed_unless_the_seed_says_who_took_part():
    secure = CentralDP(1.0, noise_multiplier=2.0, expected_clients=20.0, secure_rng=True)
    everyone = secure.mechanism(AllClients(), 20)
    assert (everyone.trusted, everyone.is_reproducible) == ("the server", False)
    some = dataclasses.replace(secure, expected_clients=5.0).mechanism(Poisson(rate=0.25), 20)
    assert some.trusted == "the server, whoever knows run.seed"


class _ByBattery(Participation, kind="by_battery"):
    def sample(self, num_clients, context):
        return torch.arange(num_clients)

    def largest(self, num_clients):
        return num_clients


def test_a_participation_of_which_nothing_is_proved_is_refused():
    with pytest.raises(ConfigError, match=r"cannot count how by_battery chooses clients; set participation.kind to poisson"):
        CentralDP(1.0, noise_multiplier=1.0, expected_clients=20.0).mechanism(_ByBattery(), 20)


@pytest.mark.parametrize("expected, fits", [(5.0, True), (4.6, True), (2.5, True), (10.0, False), (1.0, False)])
def test_a_denominator_far_from_the_cohort_is_refused(expected, fits):
    rule = CentralDP(1.0, noise_multiplier=1.0, expected_clients=expected)
    if fits:
        assert rule.mechanism(Poisson(rate=0.25, dropout=0.5), 20)
        return
    with pytest.raises(ConfigError, match=r"a round samples 5 of the 20 clients.*Set expected_clients = 5"):
        rule.mechanism(Poisson(rate=0.25, dropout=0.5), 20)


def test_without_noise_nothing_is_claimed():
    assert CentralDP(1.0, noise_multiplier=0.0, expected_clients=20.0).mechanism(AllClients(), 20) is None
    assert Mean().mechanism(AllClients(), 20) is None


@pytest.mark.parametrize("before", [NearestNeighborMixing(1), ClipNorm(1.0)])
def test_a_private_rule_behind_anything_has_no_proof_and_is_refused(before):
    rule = CentralDP(1.0, noise_multiplier=1.0, expected_clients=20.0)
    assert Pipeline((rule,)).mechanism(AllClients(), 20) == rule.mechanism(AllClients(), 20)
    with pytest.raises(ConfigError, match=f"central_dp behind {before.kind} has no privacy proof"):
        Pipeline((before, rule)).mechanism(AllClients(), 20)


def test_a_model_whose_statistics_would_travel_without_noise_is_refused():
    with pytest.raises(ConfigError, match=r"float buffers \(1.running_mean\).*GroupNorm"):
        QUIET.check(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    QUIET.check(nn.Sequential(nn.Linear(2, 4), nn.GroupNorm(2, 4)))


def test_a_boosted_update_breaks_the_mean_and_not_the_private_one():
    rows = 0.1 + 0.01 * torch.randn(100, 50, generator=torch.Generator().manual_seed(0))
    rows[0] *= -10_000
    assert Mean()(rows).max() < -5
    assert CentralDP(1.0, noise_multiplier=0.5, expected_clients=100.0)(rows).min() > 0.05


class _Sticky(Poisson):
    """Draws as Poisson does, in the first round alone."""

    def sample(self, num_clients, context):
        return super().sample(num_clients, dataclasses.replace(context, round=0))


class _Said(_Sticky, kind="said"):
    """Another name for it, with a claim of its own."""

    sampling = "poisson"


def test_an_heir_that_samples_otherwise_inherits_no_claim():
    rule = CentralDP(1.0, noise_multiplier=2.0, expected_clients=5.0)
    with pytest.raises(ConfigError, match="cannot count how _sticky chooses clients"):
        rule.mechanism(_Sticky(rate=0.25), 20)
    assert rule.mechanism(_Said(rate=0.25), 20).sampling == "poisson"
    assert Poisson(rate=0.25, dropout=0.5).counted_as == "poisson"
