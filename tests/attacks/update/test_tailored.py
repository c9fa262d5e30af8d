"""AGRTailored and Adaptive: attacks that search for what hurts this very rule most."""

import dataclasses

import pytest
import torch

import phalanx
from phalanx.aggregators import (
    ARC,
    CAF,
    MDA,
    SMEA,
    Bulyan,
    CenteredClipping,
    DnC,
    Flame,
    FLTrust,
    FoolsGold,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MoNNA,
    MultiKrum,
    NearestNeighborMixing,
    Pipeline,
    TrimmedMean,
)
from phalanx.attacks import Adversary, FirstClients
from phalanx.attacks.update import Adaptive, AGRTailored, MinMax
from phalanx.attacks.update.damage import Damage
from phalanx.attacks.update.line import Line
from phalanx.core import rng
from phalanx.core.errors import CapabilityError, ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, AttackView, RoundContext, Samples, Updates

RULES = (
    Median(3),
    TrimmedMean(3),
    Krum(3),
    MultiKrum(3),
    Bulyan(3),
    DnC(3),
    Pipeline((NearestNeighborMixing(3), TrimmedMean(3))),
)
HONEST = torch.randn(13, 60, generator=torch.Generator().manual_seed(0)) + 0.5


def deviation(rule: Aggregator, malicious: torch.Tensor, honest: torch.Tensor = HONEST) -> float:
    return float((rule(torch.cat([malicious, honest])) - honest.mean(0)).norm())


def craft(attack, rule):
    view = AttackView(own=HONEST[:3], own_clean=lambda: HONEST, num_updates=16, honest=HONEST, aggregator=rule)
    return attack.craft(view, {}, RoundContext.for_matrix(HONEST))[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("direction", ["unit", "sign", "std"])
def test_it_reaches_what_a_fine_grid_reaches_along_its_direction(rule: Aggregator, direction: str) -> None:
    crafted = craft(AGRTailored(direction, evaluations=48), rule)
    mean = HONEST.mean(0)
    step = (crafted.rows[0] - mean) / crafted.metrics["gamma"]
    grid = [deviation(rule, (mean + gamma * step).repeat(3, 1)) for gamma in torch.logspace(-3, 3, 200).tolist()]
    assert deviation(rule, crafted.rows) > 0.9 * max(grid)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_the_metric_says_what_the_rule_then_does_and_adaptive_does_no_less(rule: Aggregator) -> None:
    tailored, adaptive = craft(AGRTailored(), rule), craft(Adaptive(), rule)
    spread = float((HONEST - HONEST.mean(0)).square().sum(1).mean().sqrt())
    for crafted in (tailored, adaptive):
        assert deviation(rule, crafted.rows) == pytest.approx(crafted.metrics["deviation"] * spread, rel=1e-4)
    assert adaptive.metrics["deviation"] > 0.95 * tailored.metrics["deviation"]
    assert deviation(rule, adaptive.rows) > 0.9 * deviation(rule, MinMax()(HONEST, num_byzantine=3))


def test_a_mean_has_no_bound() -> None:
    assert craft(Adaptive(), Mean()).metrics["deviation"] > 10 * craft(Adaptive(), Median(3)).metrics["deviation"]


def test_the_objective_against_turns_the_step() -> None:
    crafted = craft(Adaptive(objective="against"), Mean())
    assert Mean()(torch.cat([crafted.rows, HONEST])) @ HONEST.mean(0) < 0


class _Sum(Aggregator):
    """A third party's rule: the sum."""

    def combine(self, updates, state, context):
        return Aggregate(updates.matrix.sum(dim=0)), state


def test_it_works_against_a_rule_that_nobody_foresaw_and_against_a_guess() -> None:
    assert craft(AGRTailored(), _Sum()).metrics["deviation"] > 10
    guessed = craft(AGRTailored(aggregator=Median(3)), _Sum())
    assert torch.equal(guessed.rows, craft(AGRTailored(), Median(3)).rows)


def test_outside_of_a_federation_the_rule_must_be_given() -> None:
    with pytest.raises(ConfigError, match="the attack needs the rule that it is made for: give `aggregator`"):
        AGRTailored()(HONEST, num_byzantine=3)


def test_attackers_with_samples_put_them_in_the_servers_place() -> None:
    """They expect FLTrust to compare with their mean clean row, and find the γ that does most to it."""
    own = HONEST[:3] + 0.1
    samples = Samples(torch.zeros(200, 1), torch.arange(200) % 2, 2)
    view = AttackView(own, lambda: own, 3 + len(HONEST), HONEST, FLTrust(), own_samples=lambda: samples)
    damage = Damage(FLTrust(), view, RoundContext.for_matrix(HONEST), "distance")
    assert len(damage._context.root.samples) == 100
    assert torch.equal(damage._context.root.update(), own.mean(dim=0))
    crafted, _ = AGRTailored().craft(view, {}, RoundContext.for_matrix(HONEST))
    assert crafted.metrics["refused"] < 1
    assert crafted.metrics["deviation"] > 0
    assert not torch.equal(crafted.rows, craft(AGRTailored(), Mean()).rows)


def test_without_samples_a_rule_that_needs_the_servers_data_cannot_be_asked() -> None:
    with pytest.raises(CapabilityError, match="An attack made for MoNNA needs a trusted root data set"):
        craft(AGRTailored(), MoNNA(num_byzantine=3))


def test_in_a_federation_it_knows_the_servers_rule_and_reports_what_it_reached() -> None:
    class Seen:
        def __init__(self):
            self.metrics = []

        def emit(self, event):
            if event.kind == "round":
                self.metrics.append(event.values["attack"])

    experiment = phalanx.Experiment(
        aggregator=TrimmedMean(2), adversary=Adversary(who=FirstClients(count=2), update=AGRTailored(evaluations=16))
    )
    short = dataclasses.replace(experiment, run=dataclasses.replace(experiment.run, rounds=2))
    seen = Seen()
    phalanx.run(short, sinks=[seen])
    assert [set(metrics) for metrics in seen.metrics] == [{"gamma", "deviation", "refused"}] * 2
    assert all(metrics["deviation"] > 0 for metrics in seen.metrics)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_attackers_who_see_their_own_rows_alone_try_the_rule_with_as_many_rows_as_it_will_get(rule: Aggregator) -> None:
    view = AttackView(own=HONEST[:3], own_clean=lambda: HONEST[:3], num_updates=16, aggregator=rule)
    crafted, _ = AGRTailored(knowledge="own").craft(view, {}, RoundContext.for_matrix(HONEST))
    assert crafted.metrics["refused"] == 0
    if not isinstance(rule, DnC):  # which tells made-up rows from real ones
        assert deviation(rule, crafted.rows) > 0.2 * deviation(rule, craft(AGRTailored(), rule).rows)


def test_a_rule_that_refuses_every_try_is_reported() -> None:
    view = AttackView(own=HONEST[:3], own_clean=lambda: HONEST, num_updates=7, honest=HONEST[:4], aggregator=Bulyan(3))
    crafted, _ = AGRTailored().craft(view, {}, RoundContext.for_matrix(HONEST))
    assert crafted.metrics["refused"] == 1


def test_the_servers_random_choices_are_not_the_attackers() -> None:
    seeds = set[int]()

    class Noted(Mean):
        def combine(self, updates, state, context):
            seeds.add(context.seed)
            return super().combine(updates, state, context)

    craft(AGRTailored(), Noted())
    assert len(seeds) == 1
    assert RoundContext.for_matrix(HONEST).seed not in seeds


def test_a_rule_that_trusts_a_client_is_tried_under_the_clients_own_ids() -> None:
    rule = MoNNA(num_byzantine=3, trusted_client=5)  # an honest one
    ids = {"own_ids": torch.tensor([0, 1, 2]), "honest_ids": torch.arange(3, 16)}
    view = AttackView(own=HONEST[:3], own_clean=lambda: HONEST, num_updates=16, honest=HONEST, aggregator=rule, **ids)
    crafted, _ = AGRTailored().craft(view, {}, RoundContext.for_matrix(HONEST))
    assert crafted.metrics["deviation"] < 2


@pytest.mark.parametrize(
    "rule",
    [
        *RULES,
        GeometricMedian(3),
        CAF(3),
        MDA(3),
        SMEA(3),
        Flame(),
        FoolsGold(),
        CenteredClipping(5.0, num_iterations=3),
        Pipeline((ARC(3), GeometricMedian(3))),
        Pipeline((NearestNeighborMixing(3), Krum(3))),
    ],
    ids=lambda rule: rule.kind,
)
@pytest.mark.parametrize("kind", ["plain", "beside a common part", "beside a client that diverged"])
def test_what_is_known_of_the_honest_rows_changes_no_try(rule: Aggregator, kind: str) -> None:
    honest = HONEST + 100 if kind == "beside a common part" else HONEST.clone()
    if kind == "beside a client that diverged":
        honest[4] *= 1e4
    view = AttackView(own=honest[:3], own_clean=lambda: honest, num_updates=16, honest=honest)
    damage = Damage(rule, view, context := RoundContext.for_matrix(honest), "distance")
    guess = dataclasses.replace(context, seed=rng.derive(0, "the attackers' guess of the server's choices", 0))
    for deviation in ("unit", "std"):
        line = Line.away_from(honest, deviation)
        for gamma in (0.3, 1.0, 30.0):
            rows = torch.cat([line.at(gamma).repeat(3, 1), honest])
            expected = float((rule(rows, context=guess) - honest.mean(0)).norm())
            assert damage(line, gamma) == pytest.approx(expected, rel=1e-3, abs=1e-4 * damage.spread)


@pytest.mark.parametrize("rule", [CenteredClipping(1.0), Pipeline((NearestNeighborMixing(3), CenteredClipping(1.0)))])
def test_a_centre_that_everyone_has_seen_is_known_to_the_attackers(rule: Aggregator) -> None:
    published = HONEST.mean(0) + 0.1
    known = dataclasses.replace(RoundContext.for_matrix(HONEST), previous_update=published)
    view = AttackView(own=HONEST[:3], own_clean=lambda: HONEST, num_updates=16, honest=HONEST, previous_update=published)
    crafted, _ = AGRTailored(aggregator=rule).craft(view, {}, known)
    updates = Updates.of(torch.cat([crafted.rows, HONEST]))
    result = rule.aggregate(updates, {"centre": published}, known)[0].update
    spread = float((HONEST - HONEST.mean(0)).square().sum(1).mean().sqrt())
    assert float((result - HONEST.mean(0)).norm()) == pytest.approx(crafted.metrics["deviation"] * spread, rel=1e-4)


def test_the_memory_of_others_stays_unknown() -> None:
    context = dataclasses.replace(RoundContext.for_matrix(HONEST), previous_update=HONEST[0])
    assert FoolsGold().public_state(context) == {}


def test_a_rule_that_searches_in_vain_is_asked_three_times_a_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.aggregators.mda.MOST_STEPS", 3)
    asked = []

    class Counted(MDA, kind="counted_mda"):
        def combine(self, updates, state, context):
            asked.append(len(updates))
            return super().combine(updates, state, context)

    assert craft(Adaptive(), Counted(3)).metrics["refused"] == 1
    assert len(asked) == 18


def test_refusals_in_one_direction_do_not_end_the_others() -> None:
    calls = []

    class Moody(Median, kind="moody"):
        def combine(self, updates, state, context):
            calls.append(len(updates))
            if len(calls) <= 3:
                raise PreconditionError("Not now.")
            return super().combine(updates, state, context)

    metrics = craft(Adaptive(evaluations=24), Moody()).metrics
    assert len(calls) == 3 + 5 * 24
    assert metrics["refused"] == pytest.approx(3 / len(calls))


@pytest.mark.parametrize("scale", [2.0**66, 2.0**-80])
def test_the_search_ends_and_finds_the_same_at_any_scale(scale: float) -> None:
    rule = TrimmedMean(3)
    view = AttackView(own=HONEST[:3], own_clean=lambda: HONEST, num_updates=16, honest=HONEST * scale, aggregator=rule)
    crafted, _ = AGRTailored().craft(view, {}, RoundContext.for_matrix(HONEST))
    expected = craft(AGRTailored(), rule)
    assert crafted.metrics["gamma"] == pytest.approx(expected.metrics["gamma"], rel=1e-3)
    torch.testing.assert_close(crafted.rows / scale, expected.rows, rtol=1e-3, atol=1e-3)
