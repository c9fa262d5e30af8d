"""Audits of mechanisms that keep their claim, and of the four planted faults, each at both levels where there is one."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from phalanx.config import Experiment, PrivacySettings, RunSettings
from phalanx.core import linalg
from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.privacy import Mechanism, Spending, added
from phalanx.core.types import Aggregate, Status
from phalanx.data import IID, Synthetic
from phalanx.experiments.auditing import audit
from phalanx.experiments.auditing.game import added_up
from phalanx.models import MLP, LogisticRegression
from phalanx.privacy import AdaptiveCentralDP, CentralDP, LocalDP, accounting
from phalanx.server import AllClients, FixedSize, Poisson, Screening
from phalanx.training import DPSGD, SGD, FlatClipping

RATE, ROUNDS = 0.1, 40
Z = accounting.noise_multiplier(1.0, RATE, ROUNDS, 1e-5)
"""With so much noise, a claim of ε = 1."""
EXAMPLE_RATE, EPOCHS = 0.02, 4
EXAMPLE_Z = accounting.noise_multiplier(1.0, EXAMPLE_RATE, EPOCHS * 50, 1e-5)
SPENDING = Spending(EXAMPLE_Z, EXAMPLE_RATE, 50)

CLIENTS = Experiment(
    run=RunSettings(rounds=ROUNDS),
    data=Synthetic(num_samples=1000, num_features=100, num_classes=10),
    partition=IID(num_clients=1000),
    participation=Poisson(rate=RATE),
    model=LogisticRegression(),
    aggregator=CentralDP(10.0, noise_multiplier=Z, expected_clients=1000 * RATE),
)
EXAMPLES = Experiment(
    run=RunSettings(rounds=EPOCHS),
    data=Synthetic(num_samples=2000, num_features=100, num_classes=10),
    partition=IID(num_clients=1),
    model=LogisticRegression(),
    training=DPSGD(0.01, epochs=1, sample_rate=EXAMPLE_RATE, noise_multiplier=EXAMPLE_Z, clipping=FlatClipping(1.0)),
)


class NoiseNotScaled(CentralDP):
    """z is the noise, not z C."""

    def noise(self, like, std, purpose, context):
        return super().noise(like, std / self.clip_norm, purpose, context)


class ClipAfterTheSum(CentralDP):
    """The mean of the rows is clipped, not each row."""

    def combine(self, updates, state, context):
        mean = updates.weighted_sum(torch.full((len(updates),), 1 / self.expected_clients, dtype=torch.float64))
        mean = linalg.scale_rows(mean[None], linalg.clip_factors(linalg.norms(mean[None]), self.clip_norm))[0]
        std = self.noise_multiplier * self.clip_norm / self.expected_clients
        return Aggregate(mean + self.noise(mean, std, "fault", context)), {**state, "noised": state["noised"] + 1}


class ClipTheSum(CentralDP):
    """The sum of all rows is clipped to C: one client can move it by 2 C, but only where it is nearly alone."""

    def combine(self, updates, state, context):
        total = updates.weighted_sum(torch.ones(len(updates), dtype=torch.float64))
        total = linalg.scale_rows(total[None], linalg.clip_factors(linalg.norms(total[None]), self.clip_norm))[0]
        total += self.noise(total, self.noise_multiplier * self.clip_norm, "fault", context)
        return Aggregate(total / self.expected_clients), {**state, "noised": state["noised"] + 1}


class NoiseOncePerEpoch(CentralDP):
    """Of ten rounds only the first is noised."""

    def noise(self, like, std, purpose, context):
        return super().noise(like, std if context.round % 10 == 0 else 0.0, purpose, context)


class WeightsFromClients(CentralDP):
    """A clipped row counts as often as its client says that it has samples."""

    def combine(self, updates, state, context):
        total = updates.weighted_sum(linalg.clip_factors(updates.norms, self.clip_norm) * updates.weights)
        total += self.noise(total, self.noise_multiplier * self.clip_norm, "fault", context)
        return Aggregate(total / self.expected_clients), {**state, "noised": state["noised"] + 1}


class SlowDPSGD(Trainer):
    """DP-SGD of softmax regression, one example after the other, with a fault planted in it."""

    fault: str
    clip_norm: float

    def mechanism(self, num_samples):
        return Mechanism("example", "add/remove", "poisson", SPENDING, "the client that holds it")

    def train(self, cohort, state, context, out):
        [client], [index], samples = cohort.ids, cohort.index, cohort.samples
        weight, bias = (slot.view(context.global_params).clone() for slot in context.layout.parameters)
        sampling, noising = (context.generator(purpose, client) for purpose in ("batches", "noise"))
        for step in range(SPENDING.steps):
            batch = index[torch.rand(len(index), generator=sampling) < EXAMPLE_RATE]
            images, labels = samples.pixels(batch)
            back = (images @ weight.T + bias).softmax(1) - one_hot(labels, samples.num_classes)
            gradients = torch.cat([(back[:, :, None] * images[:, None]).flatten(1), back], dim=1)
            expected = EXAMPLE_RATE * len(index)
            std = EXAMPLE_Z * self.clip_norm
            if self.fault == "clip after the sum":
                total = gradients.sum(0)
                total *= min(1.0, expected * self.clip_norm / float(total.norm()))
            else:
                total = (gradients * (self.clip_norm / gradients.norm(dim=1)).clamp(max=1)[:, None]).sum(0)
            if self.fault == "noise not scaled":
                std = EXAMPLE_Z
            if self.fault != "noise once per epoch" or step == 0:
                total = total + std * torch.randn(total.shape, generator=noising)
            weight -= 0.01 * total[:-10].view(10, -1) / expected
            bias -= 0.01 * total[-10:] / expected
        out.matrix[0] = torch.cat([weight.flatten(), bias]) - context.global_params
        out.loss[0], out.steps[0], out.status[0] = math.nan, SPENDING.steps, int(Status.SENT)
        return {f"{client}.spent": added(state.get(f"{client}.spent"), SPENDING)}


def with_rule(kind):
    rule = CLIENTS.aggregator
    return replace(CLIENTS, aggregator=kind(rule.clip_norm, noise_multiplier=Z, expected_clients=rule.expected_clients))


SOUND = {
    "central_dp": CLIENTS,
    "adaptive_central_dp": replace(
        CLIENTS, aggregator=AdaptiveCentralDP(noise_multiplier=Z, expected_clients=1000 * RATE, initial_clip_norm=1.0)
    ),
    "local_dp": replace(
        CLIENTS,
        run=RunSettings(rounds=2),
        participation=AllClients(),
        training=LocalDP(SGD(0.1, steps=1), clip_norm=1.0, noise_multiplier=12.0),
        aggregator=Experiment().aggregator,
    ),
    "dpsgd": EXAMPLES,
    "the slow one": replace(EXAMPLES, training=SlowDPSGD("none", 1.0)),
}
FAULTY = {
    "a client, noise not scaled": with_rule(NoiseNotScaled),
    "a client, clip after the sum": with_rule(ClipAfterTheSum),
    "a client, noise once per epoch": with_rule(NoiseOncePerEpoch),
    "a client, weights from clients": with_rule(WeightsFromClients),
    "an example, noise not scaled": replace(EXAMPLES, training=SlowDPSGD("noise not scaled", 8.0)),
    "an example, clip after the sum": replace(EXAMPLES, training=SlowDPSGD("clip after the sum", 1.0)),
    "an example, noise once per epoch": replace(EXAMPLES, training=SlowDPSGD("noise once per epoch", 1.0)),
}


def seeded(experiment, seed):
    return replace(experiment, run=replace(experiment.run, seed=seed))


@pytest.fixture(autouse=True)
def believed_counts(monkeypatch):
    """The server believes how many samples a client says that it has: half of the last fault; the rule's half is above."""
    monkeypatch.setattr(Screening, "_weights", lambda self, samples: samples.double())


@pytest.mark.parametrize("name", SOUND)
def test_what_keeps_its_claim_passes(name):
    report = audit(seeded(SOUND[name], 1))
    assert report.claim.epsilon < 1.001
    assert report.shown.canaries == 1000
    assert not report.is_contradicted
    assert report.shown.lower_bound < 0.4
    assert report.verdict.startswith("Nothing speaks against the claim: ε is at least 0.")


@pytest.mark.parametrize("name", FAULTY)
def test_a_planted_fault_is_caught(name):
    report = audit(seeded(FAULTY[name], 1))
    assert report.claim.epsilon < 1.001
    assert report.is_contradicted
    assert report.verdict.startswith("The claim is false: with confidence 99 %, ε is at least 1.") or name.startswith(
        "a client"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_of_a_hundred_audits_at_most_five_are_false_alarms(name):
    alarms = sum(audit(seeded(SOUND[name], seed)).is_contradicted for seed in range(100))
    print(f"{name}: {alarms} of 100")
    assert alarms <= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTY)
def test_of_a_hundred_audits_at_least_ninety_catch_a_planted_fault(name):
    caught = sum(audit(seeded(FAULTY[name], seed)).is_contradicted for seed in range(100))
    print(f"{name}: {caught} of 100")
    assert caught >= 90


@pytest.mark.parametrize(
    "loud",
    [
        replace(CLIENTS, aggregator=replace(CLIENTS.aggregator, noise_multiplier=0.4)),
        replace(EXAMPLES, training=replace(EXAMPLES.training, noise_multiplier=0.2)),
    ],
)
def test_the_canaries_of_little_noise_are_told_apart_and_a_claim_too_large_to_see_is_not_judged(loud):
    report = audit(loud)
    assert report.shown.auc > 0.75
    assert 1 < report.shown.lower_bound < 5.02 < report.claim.epsilon
    assert "No verdict: with 1000 canaries no audit shows more than ε = 5.02" in report.verdict


def test_canaries_of_participation_of_fixed_size_are_replaced_not_left_out():
    """Then a sum moves by 2 C, and the claim is as much larger."""
    fixed = replace(
        CLIENTS,
        participation=FixedSize(100),
        privacy=PrivacySettings(accountant="rdp"),
        aggregator=replace(CLIENTS.aggregator, noise_multiplier=2 * Z),
    )
    report = audit(fixed)
    assert (report.claim.neighbours, report.claim.accountant) == ("replace-one", "rdp")
    assert not report.is_contradicted
    assert audit(
        replace(fixed, aggregator=replace(with_rule(NoiseNotScaled).aggregator, noise_multiplier=2 * Z))
    ).is_contradicted


def test_a_sum_that_is_clipped_as_a_whole_is_a_fault_that_no_crowd_of_canaries_sees():
    """Told in the guide: what is not found need not be right."""
    assert not audit(with_rule(ClipTheSum)).is_contradicted


def test_an_audit_ends_where_the_budget_does():
    limited = replace(CLIENTS, privacy=PrivacySettings(max_epsilon=0.7))
    report = audit(limited)
    assert 0 < report.rounds < ROUNDS
    assert report.claim.epsilon <= 0.7


def test_an_audit_has_as_many_canaries_as_there_are_clients_coordinates_and_samples():
    few = replace(CLIENTS, partition=IID(num_clients=60), aggregator=replace(CLIENTS.aggregator, expected_clients=6))
    assert audit(few).shown.canaries == 60
    narrow = replace(CLIENTS, data=Synthetic(num_samples=1000, num_features=4, num_classes=2))
    assert audit(narrow).shown.canaries == 10
    assert audit(replace(EXAMPLES, partition=IID(num_clients=20))).shown.canaries == 200


def test_a_model_of_several_layers_is_audited_by_its_examples_gradients():
    deep = replace(EXAMPLES, model=MLP(hidden=(64,)), run=RunSettings(rounds=2))
    assert not audit(deep).is_contradicted
    assert audit(replace(deep, training=replace(deep.training, noise_multiplier=0.05))).shown.auc > 0.75


def test_attackers_trackers_and_tests_are_left_out():
    attacked = Experiment.from_table(
        {**CLIENTS.to_table(), "adversary": {"who": {"kind": "first_clients", "count": 3}, "update": {"kind": "sign_flip"}}}
    )
    assert audit(attacked) == audit(CLIENTS)


def test_the_same_seed_gives_the_same_audit_and_another_one_other_coins():
    assert audit(EXAMPLES) == audit(EXAMPLES)
    assert audit(EXAMPLES) != audit(seeded(EXAMPLES, 5))


def test_an_audit_with_less_confidence_shows_no_less():
    assert audit(CLIENTS, confidence=0.8).shown.lower_bound >= audit(CLIENTS).shown.lower_bound


def test_a_round_without_noise_decides_alone():
    generator = torch.Generator().manual_seed(0)
    rounds = 100 * torch.randn(5, 40, dtype=torch.float64, generator=generator)
    rounds[3] = torch.rand(40, dtype=torch.float64, generator=generator).round()
    assert added_up(rounds)[rounds[3] == 1].min() > added_up(rounds)[rounds[3] == 0].max()


def test_under_the_same_noise_all_rounds_count_alike_and_an_empty_one_nothing():
    rounds = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 4.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.equal(added_up(rounds), rounds.sum(0))
    assert torch.equal(added_up(torch.zeros(2, 3, dtype=torch.float64)), torch.zeros(3, dtype=torch.float64))


class NoisyRows(SGD):
    """A trainer of somebody's own that says it hides clients."""

    def mechanism(self, num_samples):
        return Mechanism("client", "replace-one", "none", Spending(5.0, 1.0, 1), None)


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        (Experiment(), "is differentially private"),
        (replace(Experiment(), training=NoisyRows(0.1, steps=1)), "An audit knows no canary for noisy_rows"),
        (replace(CLIENTS, training=EXAMPLES.training), "would both make a privacy claim"),
    ],
)
def test_what_claims_nothing_or_has_no_canary_is_refused(experiment, sentence):
    with pytest.raises(ConfigError, match=sentence):
        audit(experiment)
