"""What a private run promises, spends and refuses, and where it ends."""

from dataclasses import replace

import pytest
import torch

from phalanx.accounts import Accounts
from phalanx.aggregators import Krum, Mean, NearestNeighborMixing, NormClippingWithNoise, Pipeline
from phalanx.attacks import Adversary, FirstClients, ShareOfRound, SignFlip
from phalanx.attacks.client import OwnTraining
from phalanx.attacks.data import EdgeCase
from phalanx.attacks.update import Mimic
from phalanx.config import EvaluationSettings, Experiment, PrivacySettings, RunSettings
from phalanx.core.errors import ConfigError, PrivacyBudgetExhausted
from phalanx.core.families import UpdateAttack
from phalanx.core.types import Crafted
from phalanx.data import IID, Digits, Federation, Synthetic
from phalanx.models import MLP, LogisticRegression, ResNet18
from phalanx.privacy import AdaptiveCentralDP, CentralDP, LocalDP, accounting
from phalanx.server import AllClients, FixedSize, Poisson, Screening
from phalanx.simulation import Simulation
from phalanx.training import DPSGD, SGD

PRIVATE = Experiment(
    run=RunSettings(rounds=5, seed=3),
    data=Synthetic(num_samples=240, num_features=6, num_classes=3),
    partition=IID(num_clients=20),
    participation=Poisson(rate=0.25),
    model=LogisticRegression(),
    training=SGD(lr=0.1, steps=1, batch_size=4),
    aggregator=CentralDP(0.5, noise_multiplier=2.0, expected_clients=5.0),
    evaluation=EvaluationSettings(every=0),
)
LOCAL = replace(
    PRIVATE, training=LocalDP(SGD(lr=0.1, steps=1, batch_size=4), clip_norm=0.5, noise_multiplier=20.0), aggregator=Krum(0)
)
EXAMPLE = replace(PRIVATE, training=DPSGD(0.1, steps=2, batch_size=4, noise_multiplier=2.0), aggregator=Mean())
SIZES = torch.full((20,), 9)


def simulation(experiment):
    federation = Federation.build(experiment.data.load(), experiment.partition, experiment.root, experiment.run.seed)
    generator = torch.Generator().manual_seed(0)
    return Simulation(experiment, federation, experiment.model.build(federation.input_shape, federation.num_classes, generator))


def rounds(experiment, count):
    """The states and events of so many rounds."""
    with simulation(experiment) as engine:
        state = engine.initial_state()
        for _ in range(count):
            state, event = engine.step(state)
            yield state, event


def test_every_round_says_what_has_been_spent_and_it_is_what_was_forecast():
    events = [event.values for _, event in rounds(PRIVATE, 5)]
    assert [event["epsilon"] for event in events] == [
        pytest.approx(accounting.epsilon(2.0, 0.25, count, 1e-5), rel=1e-5) for count in range(1, 6)
    ]
    accounts = Accounts.of(PRIVATE, SIZES)
    begun = simulation(PRIVATE).initial_state()
    assert accounts.at_end(begun) == pytest.approx(events[-1]["epsilon"], rel=1e-5)
    assert "each client · add/remove · δ = 1e-05 · Poisson sampling · PLD" in accounts.event(begun)["statement"]


def test_nobody_but_who_took_part_is_charged_where_the_trainer_is_private():
    [(state, event), *_, (last, _)] = list(rounds(LOCAL, 4))
    names = {int(name.partition(".")[0]) for name in state.clients}
    assert names == {client for client, _ in event.values["client_epsilons_rdp"]}
    assert 0 < len(names) < 20
    most = max(int(spent[0, 2]) for spent in last.clients.values())
    accounts = Accounts.of(LOCAL, SIZES)
    expected = accounting.epsilon(20.0, 1.0, most, 1e-5, sampling="none", neighbours="replace-one")
    assert accounts.epsilon(last) == pytest.approx(expected)
    assert accounts.epsilon(last) <= accounts.at_end(simulation(LOCAL).initial_state())


def test_example_level_privacy_is_counted_by_each_clients_own_rate():
    *_, (state, event) = rounds(replace(EXAMPLE, participation=AllClients()), 3)
    accounts = Accounts.of(EXAMPLE, simulation(EXAMPLE).sample_counts)
    assert accounts.mechanism.unit == "example"
    spending = {client: one.sample_rate for client, one in accounts.books.clients.items()}
    expected = max(accounting.epsilon(2.0, rate, 6, 1e-5) for rate in set(spending.values()))
    assert accounts.epsilon(state) == pytest.approx(expected)
    assert len(event.values["client_epsilons_rdp"]) == 20


def test_a_run_without_anything_private_has_no_accounts_and_no_epsilon():
    plain = replace(PRIVATE, aggregator=Mean())
    assert Accounts.of(plain, SIZES) is None
    assert all("epsilon" not in event.values for _, event in rounds(plain, 1))


def test_the_budget_ends_a_run_before_the_round_that_would_pass_it():
    limit = accounting.epsilon(2.0, 0.25, 3, 1e-5) * 1.0001
    limited = replace(PRIVATE, privacy=PrivacySettings(max_epsilon=limit))
    with simulation(limited) as engine:
        state = engine.initial_state()
        for _ in range(3):
            state, _ = engine.step(state)
        before = state.params.clone()
        with pytest.raises(PrivacyBudgetExhausted, match=r"spent after round 3 of 5: another would pass privacy.max_epsilon"):
            engine.step(state)
        assert torch.equal(state.params, before)


def test_one_clients_row_cannot_decide_whether_another_is_in_the_sum():
    """The norm cap compares rows with their median; in a private sum a row a million times as long as the others counts."""
    attacked = replace(PRIVATE, participation=AllClients(), adversary=Adversary(who=FirstClients(count=1), update=_Endless()))
    attacked = replace(attacked, aggregator=replace(PRIVATE.aggregator, expected_clients=20.0))
    [(_, event)] = rounds(attacked, 1)
    assert event.values["rejected"] == {}
    [(_, event)] = rounds(replace(attacked, aggregator=Mean()), 1)
    assert event.values["rejected"] == {"norm over the cap": [0]}


class _Endless(UpdateAttack):
    """Rows that are absurdly long."""

    def craft(self, view, state, context):
        return Crafted(torch.full_like(view.own, 1e12)), {}


def test_attackers_with_a_training_of_their_own_are_on_no_books():
    """They train twenty steps a round where the others train two; what is promised to the others does not grow by it."""
    attackers = Adversary(who=FirstClients(count=5), client=OwnTraining(replace(EXAMPLE.training, steps=20)))
    attacked = replace(EXAMPLE, participation=AllClients(), adversary=attackers)
    [*_, (state, event)] = rounds(attacked, 3)
    assert {name for name in state.clients if name.endswith(".spent")} == {f"{client}.spent" for client in range(5, 20)}
    assert [client for client, _ in event.values["client_epsilons_rdp"]] == list(range(5, 20))
    with simulation(attacked) as engine:
        begun = engine.initial_state()
        limit = engine.accounts.epsilon(state)
        assert limit <= engine.accounts.at_end(replace(begun, round=attacked.run.rounds - 3))
    limited = replace(attacked, privacy=PrivacySettings(max_epsilon=limit * 1.0001))
    assert len(list(rounds(limited, 3))) == 3


def test_what_is_announced_when_a_run_goes_on_counts_what_was_paid_twice():
    for experiment in (PRIVATE, LOCAL):
        accounts = Accounts.of(experiment, SIZES)
        *_, (state, _) = rounds(experiment, 2)
        again = accounts.charged(state, [{"clients": list(range(20))}] * 3)
        assert accounts.at_end(state) < accounts.at_end(again)
    *_, (last, _) = rounds(replace(PRIVATE, run=replace(PRIVATE.run, rounds=5)), 5)
    accounts = Accounts.of(PRIVATE, SIZES)
    assert accounts.at_end(last) == accounts.epsilon(last)


REFUSED = {
    "noise behind a rule that chooses": (
        {"aggregator": NormClippingWithNoise(max_norm=1.0), "privacy": PrivacySettings(max_epsilon=3.0)},
        r"\[privacy\] is set, but neither the rule norm_clipping_with_noise nor the training sgd is differentially private",
    ),
    "krum": ({"aggregator": Krum(2), "privacy": PrivacySettings(delta=1e-6)}, "noise after a rule that chooses or weighs rows"),
    "no noise": (
        {"aggregator": CentralDP(0.5, noise_multiplier=0.0, expected_clients=5.0), "privacy": PrivacySettings(max_epsilon=3.0)},
        "with noise_multiplier > 0",
    ),
    "mixing in front": (
        {"aggregator": Pipeline((NearestNeighborMixing(1), PRIVATE.aggregator))},
        "central_dp behind nearest_neighbor_mixing has no privacy proof",
    ),
    "weights": ({"screening": Screening(weights="samples")}, "central_dp counts every client alike, for a weight would raise"),
    "norm cap": ({"screening": Screening(norm_cap=10.0)}, "norm_cap compares a row with the others"),
    "fixed size by PLD": (
        {"participation": FixedSize(5)},
        'PLD accountant cannot count fixed-size sampling; set accountant = "rdp"',
    ),
    "delta": ({"privacy": PrivacySettings(delta=0.06)}, "allows to give away one client of 20 altogether; set it below 0.05"),
    "first round": ({"privacy": PrivacySettings(max_epsilon=0.1)}, "The first round alone would spend more than ε = 0.1: ε = "),
    "hardly any noise": (
        {"aggregator": CentralDP(0.5, noise_multiplier=0.001, expected_clients=5.0)},
        "The first round alone would spend more than ε = 10000",
    ),
    "two claims": ({"training": LOCAL.training}, "central_dp and the training local_dp would both make a privacy claim"),
    "batch norm": ({"model": ResNet18(norm="batch", width=8), "data": Digits()}, r"float buffers \("),
    "omniscient attackers": (
        {"adversary": Adversary(who=FirstClients(count=2), update=Mimic())},
        "mimic sends what it makes of the honest rows, so one client can move the sum by more than the clip norm",
    ),
    "attackers drawn among those who came": (
        {"adversary": Adversary(who=ShareOfRound(0.2), update=SignFlip())},
        "share_of_round draws attackers among a round's clients, so one client more changes who attacks",
    ),
    "attackers who were shown everybody's samples": (
        {"adversary": Adversary(who=FirstClients(count=2), data=EdgeCase(source=0, target=1))},
        "edge_case is fitted to everyone's training samples",
    ),
    "denominator": ({"participation": AllClients()}, "Set expected_clients = 20"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_claim_without_a_proof_is_refused_before_round_0(change, message):
    with pytest.raises(ConfigError, match=message):
        simulation(replace(PRIVATE, **change))


def test_fixed_size_sampling_is_counted_by_rdp_for_replaced_clients():
    fixed = replace(PRIVATE, participation=FixedSize(5), privacy=PrivacySettings(accountant="rdp"))
    accounts = Accounts.of(fixed, SIZES)
    assert accounts.mechanism.neighbours == "replace-one"
    at_end = accounts.at_end(simulation(fixed).initial_state())
    assert at_end == pytest.approx(accounting.epsilon(2.0, 0.25, 5, 1e-5, sampling="fixed_size", accountant="rdp"))


def test_receipts_put_what_was_forgotten_back_on_the_books():
    for experiment in (PRIVATE, LOCAL):
        accounts = Accounts.of(experiment, SIZES)
        states = [state for state, _ in rounds(experiment, 2)]
        receipt = accounts.receipt(states[0], states[1])
        charged = accounts.charged(states[0], [receipt])
        assert accounts.epsilon(charged) == accounts.epsilon(states[1])
        assert accounts.epsilon(accounts.charged(charged, [receipt])) > accounts.epsilon(states[1])


def test_an_adaptive_clip_norm_costs_the_same_and_is_in_the_events():
    adaptive = replace(PRIVATE, aggregator=AdaptiveCentralDP(noise_multiplier=2.0, expected_clients=5.0))
    *_, (_, event) = rounds(adaptive, 2)
    assert event.values["epsilon"] == pytest.approx(accounting.epsilon(2.0, 0.25, 2, 1e-5), rel=1e-5)
    assert event.values["rule"]["clip_norm"] > 0


def test_a_model_without_batch_norm_is_welcome():
    assert simulation(replace(PRIVATE, model=MLP(hidden=(4,)))).accounts is not None
