from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from phalanx.aggregators import ClipNorm, DeepSight, FLTrust, Mean, Pipeline, SkyMask, TrimmedMean
from phalanx.attacks import (
    Adaptive,
    Adversary,
    AGRTailored,
    ALittleIsEnough,
    Backdoor,
    FirstClients,
    FixedClients,
    LabelFlipAll,
    Neurotoxin,
    OwnTraining,
    Patch,
    Rounds,
    SignFlip,
)
from phalanx.config import Experiment, RunSettings
from phalanx.core import rng
from phalanx.core.capabilities import Capability
from phalanx.core.errors import CapabilityError, ConfigError
from phalanx.core.families import Aggregator, Architecture, UpdateAttack
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, Crafted, RoundContext, Rows, Updates
from phalanx.data import IID, Digits, Federation, RootSet, Synthetic
from phalanx.models import CNN, MLP, ResNet18
from phalanx.privacy import CentralDP
from phalanx.server import FixedSize, Poisson, Screening
from phalanx.simulation import Simulation
from phalanx.simulation.attack import attack, finite, take
from phalanx.testing import AGGREGATORS
from phalanx.testing.scenes import context_for
from phalanx.training import SGD

SMALL = Experiment(
    run=RunSettings(rounds=3, seed=5),
    data=Synthetic(200, num_features=6, num_classes=3),
    partition=IID(num_clients=6),
    model=MLP(hidden=(5,)),
    training=SGD(lr=0.1, steps=2, batch_size=8),
)


def simulate(experiment: Experiment) -> Simulation:
    federation = Federation.build(experiment.data.load(), experiment.partition, experiment.root, experiment.run.seed)
    generator = rng.generator(experiment.run.seed, "model")
    return Simulation(experiment, federation, experiment.model.build(federation.input_shape, federation.num_classes, generator))


def rows_after_a_round(experiment: Experiment) -> torch.Tensor:
    """The rows that reached the rule in round 0, kept by a rule that writes them down."""
    with simulate(replace(experiment, aggregator=Keep())) as simulation:
        simulation.step(simulation.initial_state())
    return Keep.seen.clone()


class Keep(Aggregator):
    """A mean that shows what it saw."""

    seen: ClassVar[torch.Tensor]
    ids: ClassVar[list[int]]

    def combine(self, updates, state, context):
        Keep.seen, Keep.ids = updates.matrix.clone(), updates.ids.tolist()
        return Aggregate(updates.matrix.mean(dim=0)), state


class Spy(UpdateAttack):
    """Sends zeros and shows what it may know."""

    omniscient: bool = False
    view: ClassVar[object]

    @property
    def is_omniscient(self):
        return self.omniscient

    def craft(self, view, state, context):
        Spy.view, Spy.clean = view, view.own_clean().clone()
        return Crafted(torch.zeros_like(view.own)), {"rounds": state.get("rounds", torch.zeros(())) + 1}


def test_a_round_changes_nothing_of_the_state_it_came_from():
    attacked = replace(SMALL, adversary=Adversary(who=FirstClients(count=2), update=Spy()))
    with simulate(attacked) as simulation:
        start = simulation.initial_state()
        before = {name: tensor.clone() for name, tensor in start.tensors().items()}
        first, _ = simulation.step(start)
        again, _ = simulation.step(start)
        assert all(torch.equal(before[name], tensor) for name, tensor in start.tensors().items())
    assert torch.equal(first.params, again.params)
    assert first.round == 1
    assert first.adversary["rounds"] == 1


def test_the_mean_of_the_rows_is_the_step():
    with simulate(replace(SMALL, aggregator=Keep())) as simulation:
        start = simulation.initial_state()
        following, _ = simulation.step(start)
    torch.testing.assert_close(following.params, start.params + Keep.seen.mean(dim=0))
    assert torch.equal(following.previous_update, Keep.seen.mean(dim=0))


def test_a_clients_row_does_not_depend_on_who_else_takes_part():
    everyone = rows_after_a_round(SMALL)
    some = rows_after_a_round(replace(SMALL, participation=FixedSize(3)))
    assert torch.equal(everyone[Keep.ids], some)


def test_honest_rows_do_not_depend_on_the_attack():
    honest = rows_after_a_round(SMALL)
    for adversary in (
        Adversary(who=FirstClients(count=2), update=SignFlip()),
        Adversary(who=FirstClients(count=2), data=LabelFlipAll()),
        Adversary(who=FirstClients(count=2), client=OwnTraining(SGD(lr=9.0, epochs=1))),
    ):
        attacked = rows_after_a_round(replace(SMALL, adversary=adversary))
        assert torch.equal(attacked[2:], honest[2:])
        assert not torch.equal(attacked[:2], honest[:2])


def test_attackers_see_their_own_rows_and_not_the_others_unless_they_may():
    honest = rows_after_a_round(SMALL)
    blind = Adversary(who=FixedClients((1, 4)), data=LabelFlipAll(), update=Spy())
    rows = rows_after_a_round(replace(SMALL, adversary=blind))
    assert Spy.view.honest is None
    assert Spy.view.aggregator is None
    assert not torch.equal(Spy.view.own, honest[[1, 4]])
    assert torch.equal(Spy.clean, honest[[1, 4]])
    assert Spy.view.num_updates == 6
    assert not rows[[1, 4]].any()
    rows_after_a_round(replace(SMALL, adversary=replace(blind, update=Spy(omniscient=True))))
    assert torch.equal(Spy.view.honest, honest[[0, 2, 3, 5]])


def test_attackers_are_not_told_how_many_clients_a_private_rule_had():
    """What they made of it would move the sum by more than the one client that is counted."""
    rule = CentralDP(clip_norm=1.0, noise_multiplier=1.0, expected_clients=3.0)
    adversary = Adversary(who=FirstClients(count=1), update=Spy())
    private = replace(SMALL, aggregator=rule, participation=Poisson(0.5), adversary=adversary)
    seen, received = set(), set()
    with simulate(private) as simulation:
        state = simulation.initial_state()
        for _ in range(12):
            state, event = simulation.step(state)
            if event.values["malicious"]:
                seen.add(Spy.view.num_updates)
                received.add(event.values["received"])
    assert len(received) > 1
    assert seen == {3}


def test_an_attacker_whose_update_never_came_did_not_attack():
    adversary = Adversary(who=FirstClients(count=3), update=SignFlip())
    with simulate(replace(SMALL, participation=FixedSize(6, dropout=0.5), adversary=adversary)) as simulation:
        state = simulation.initial_state()
        for _ in range(6):
            state, event = simulation.step(state)
            assert len(event.values["malicious"]) <= event.values["received"]
            assert set(event.values["malicious"]) <= set(event.values["clients"])


def test_attackers_outside_their_schedule_are_honest():
    sometimes = Adversary(who=FirstClients(count=2), when=Rounds((1,)), update=Spy())
    with simulate(replace(SMALL, adversary=sometimes)) as simulation, simulate(SMALL) as honest:
        state, event = simulation.step(simulation.initial_state())
        expected, _ = honest.step(honest.initial_state())
        assert torch.equal(state.params, expected.params)
        assert event.values["malicious"] == []
        _, event = simulation.step(state)
    assert event.values["malicious"] == [0, 1]


def test_a_round_without_clients_keeps_the_model_and_says_so():
    with simulate(replace(SMALL, participation=Poisson(1e-9))) as simulation:
        start = simulation.initial_state()
        following, event = simulation.step(start)
    assert torch.equal(following.params, start.params)
    assert following.round == 1
    assert event.values["sampled"] == 0
    assert "needs n >= 1 updates; got n=0" in event.values["kept_model"]


class Rooted(Aggregator):
    """The server's own update."""

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.ROOT_DATA})

    def combine(self, updates, state, context):
        return Aggregate(context.root.update()), state


def test_a_rule_that_needs_root_data_is_refused_without_and_gets_the_servers_own_training():
    with pytest.raises(CapabilityError, match=r"Rooted needs a trusted root data set at the server \(\[root\] size > 0\)"):
        simulate(replace(SMALL, aggregator=Rooted()))
    with simulate(replace(SMALL, aggregator=Rooted(), root=RootSet(40))) as simulation:
        assert len(simulation.federation.root) == 40
        state, loss = simulation.initial_state(), []
        for _ in range(60):
            loss.append(simulation.evaluate(state).values["test_loss"])
            state, _ = simulation.step(state)
    assert loss[-1] < 0.8 * loss[0]


def test_the_server_trains_for_as_many_steps_as_its_clients():
    """The clients of 48 samples make 6 steps an epoch; 8 root samples would make one."""
    in_epochs, in_steps = (
        replace(SMALL, training=training, aggregator=Rooted(), root=RootSet(8), partition=IID(num_clients=4))
        for training in (SGD(lr=0.1, epochs=2, batch_size=8), SGD(lr=0.1, steps=12, batch_size=8))
    )
    updates = []
    for experiment in (in_epochs, in_steps):
        with simulate(experiment) as simulation:
            assert {len(index) for index in simulation.federation.clients} == {48}
            updates.append(simulation.step(simulation.initial_state())[0].previous_update)
    assert torch.equal(*updates)


class _Uncounted(SGD):
    """A trainer that does not say how many steps it made."""

    def train(self, cohort, state, context, out):
        kept = super().train(cohort, state, context, out)
        out.steps.zero_()
        return kept


def test_the_server_trains_a_step_at_least_where_clients_report_none():
    experiment = replace(SMALL, training=_Uncounted(lr=0.1, steps=2, batch_size=8), aggregator=Rooted(), root=RootSet(8))
    with simulate(experiment) as simulation:
        state, _ = simulation.step(simulation.initial_state())
    assert state.previous_update.any()


def test_what_a_rule_finds_suspicious_and_where_it_saw_each_is_in_the_events():
    class _Judge(Aggregator):
        def combine(self, updates, state, context):
            scores = torch.arange(len(updates)).double()
            scores[1] = torch.nan
            return Aggregate(updates.matrix[0], scores=scores / 3, embedding=torch.stack([scores, -scores / 3], dim=1)), state

    with simulate(replace(SMALL, aggregator=_Judge())) as simulation:
        _, event = simulation.step(simulation.initial_state())
    assert event.values["scores"] == [0, None, 0.6667, 1, 1.333, 1.667]
    assert event.values["embedding"] == [[0, 0], [None, None], [2, -0.667], [3, -1], [4, -1.33], [5, -1.67]]


@pytest.mark.parametrize("rule", [FLTrust(), SkyMask()])
def test_an_adaptive_attacker_tries_a_rule_with_a_root_set_on_his_own_samples(rule):
    adversary = Adversary(who=FirstClients(count=2), update=Adaptive(evaluations=16))
    found = []
    for tried in (rule, Mean()):
        with simulate(replace(SMALL, aggregator=tried, root=RootSet(20), adversary=adversary)) as simulation:
            _, event = simulation.step(simulation.initial_state())
            found.append(event.values["attack"])
    against_rule, against_mean = found
    assert against_rule["refused"] < 1
    assert against_rule["deviation"] > 0
    assert against_rule["gamma"] != against_mean["gamma"]


def test_workers_go_by_the_last_step_of_this_state_whatever_they_saw_before():
    adversary = Adversary(who=FirstClients(count=2), client=Neurotoxin(share=0.3))
    found = []
    for workers in (1, 2):
        with simulate(replace(SMALL, run=replace(SMALL.run, workers=workers), adversary=adversary)) as simulation:
            first, _ = simulation.step(simulation.initial_state())
            turned = replace(first, previous_update=first.previous_update.flip(0))
            found.append([simulation.step(state)[0].previous_update for state in (first, turned)])
    (one, other), (one_of_workers, other_of_workers) = found
    assert not torch.equal(one, other)
    assert torch.equal(one, one_of_workers)
    assert torch.equal(other, other_of_workers)


class OnlyFirst(Aggregator):
    """Rejects everyone but the first."""

    def combine(self, updates, state, context):
        influence = torch.zeros(len(updates))
        influence[0] = 1
        return Aggregate(updates.matrix[0], influence), state


class NotFinite(Aggregator):
    """A broken rule."""

    def combine(self, updates, state, context):
        return Aggregate(updates.matrix[0] * float("nan")), state


class First(Aggregator):
    """The first row itself, and a memory of it: views of the matrix that the next round overwrites."""

    def combine(self, updates, state, context):
        return Aggregate(updates.matrix[0]), {"seen": updates.matrix[1], "buffers": updates.buffers[0]}


def test_a_rule_that_returns_a_view_of_a_row_corrupts_no_memory():
    with simulate(replace(IMAGES, aggregator=First())) as simulation:
        first, _ = simulation.step(simulation.initial_state())
        update, memory = first.previous_update.clone(), {name: tensor.clone() for name, tensor in first.rule.items()}
        simulation.step(first)
    assert torch.equal(first.previous_update, update)
    assert all(torch.equal(first.rule[name], tensor) for name, tensor in memory.items())


class Flat(Aggregator):
    """A mistake of many: the mean with its dimension kept."""

    def combine(self, updates, state, context):
        return Aggregate(updates.matrix.mean(dim=0, keepdim=True)), state


def test_a_rule_that_returns_no_vector_is_told_so():
    with simulate(replace(SMALL, aggregator=Flat())) as simulation:
        state = simulation.initial_state()
        with pytest.raises(ConfigError, match="Flat must return an update of shape"):
            simulation.step(state)


class Misattributing(Aggregator):
    """Another mistake: an influence of the wrong length."""

    def combine(self, updates, state, context):
        return Aggregate(updates.matrix.mean(dim=0), torch.ones(2)), state


def test_a_rule_that_attributes_to_rows_that_are_not_there_is_told_so():
    with simulate(replace(SMALL, aggregator=Misattributing())) as simulation:
        state = simulation.initial_state()
        with pytest.raises(ConfigError, match=r"must return influence of shape \[6\]; got \[2\]"):
            simulation.step(state)


def test_attackers_do_not_see_the_servers_root_data():
    class Curious(Spy):
        def craft(self, view, state, context):
            assert context.root is None
            return super().craft(view, state, context)

    attacked = replace(SMALL, root=RootSet(30), adversary=Adversary(who=FirstClients(count=1), update=Curious()))
    with simulate(attacked) as simulation:
        simulation.step(simulation.initial_state())
    assert Spy.view.num_updates == 6


def test_a_client_that_diverged_does_not_spoil_what_attackers_know():
    matrix = torch.randn(5, 3)
    matrix[2, 1] = float("nan")
    some, keep = finite(matrix)
    assert torch.equal(some, matrix[[0, 1, 3, 4]])
    assert keep.tolist() == [True, True, False, True, True]
    assert finite(matrix[:2])[0].data_ptr() == matrix.data_ptr()


def test_an_attack_stays_finite_beside_clients_that_diverged():
    rows = Rows.empty(6, Layout.flat(4))
    rows.matrix.normal_(generator=torch.Generator().manual_seed(0))
    rows.matrix[1, 2] = rows.matrix[4, 0] = float("nan")
    context = RoundContext.for_matrix(rows.matrix)
    for knowledge in ("omniscient", "own"):
        malicious = Adversary(who=FirstClients(count=3), update=ALittleIsEnough(z=1.0, knowledge=knowledge))
        attack(
            malicious,
            Mean(),
            rows,
            range(len(rows.matrix)),
            [0, 1, 2],
            {},
            context,
            train_honestly=lambda places: rows.matrix[list(places)],
            samples=lambda places: pytest.fail("nobody looks at samples"),
        )
        assert rows.matrix[:3].isfinite().all()


def test_rows_that_lie_together_are_taken_without_a_copy():
    matrix = torch.randn(5, 3)
    assert take(matrix, [1, 2, 3]).data_ptr() == matrix[1].data_ptr()
    assert torch.equal(take(matrix, [1, 2, 3]), matrix[1:4])
    assert torch.equal(take(matrix, [0, 3]), matrix[[0, 3]])
    assert take(matrix, []).shape == (0, 3)


class NotAModel(nn.Module):
    """Gives a tuple."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return self.linear(x), x


@pytest.mark.parametrize(
    "model, message",
    [
        (nn.Linear(6, 3).double(), "must have float32 parameters; weight is torch.float64"),
        (nn.Linear(7, 3), r"cannot take samples of shape \[6\]: RuntimeError"),
        (NotAModel(), "got tuple"),
        (nn.Flatten(), "no trainable parameter"),
    ],
)
def test_a_users_module_that_cannot_work_is_refused_in_a_sentence(model, message):
    federation = Federation.build(SMALL.data.load(), SMALL.partition, SMALL.root, 0)
    with pytest.raises(ConfigError, match=message):
        Simulation(SMALL, federation, model)


def test_a_trainer_that_does_not_suit_the_model_is_refused_before_round_0():
    with pytest.raises(ConfigError, match='engine = "linear" needs a model'):
        simulate(replace(SMALL, training=SGD(lr=0.1, steps=1, engine="linear")))


def test_rules_that_do_not_attribute_take_the_median_of_buffers():
    with simulate(replace(IMAGES, aggregator=TrimmedMean(1))) as simulation:
        following, _ = simulation.step(simulation.initial_state())
        torch.testing.assert_close(following.buffers, simulation.clients.rows.buffers[:6].quantile(0.5, dim=0))


IMAGES = replace(SMALL, data=Digits(), model=ResNet18(width=2), training=SGD(lr=0.1, steps=1, batch_size=4))


def test_buffers_are_averaged_over_the_clients_with_influence():
    with simulate(replace(IMAGES, aggregator=OnlyFirst())) as one, simulate(replace(IMAGES, aggregator=Mean())) as all_of_them:
        first, _ = one.step(one.initial_state())
        mean, _ = all_of_them.step(all_of_them.initial_state())
        torch.testing.assert_close(first.buffers, one.clients.rows.buffers[0])
        torch.testing.assert_close(mean.buffers, all_of_them.clients.rows.buffers[:6].mean(dim=0))
    assert not torch.equal(first.buffers, mean.buffers)


def test_a_result_that_is_not_finite_keeps_the_model_and_its_buffers():
    with simulate(replace(IMAGES, aggregator=NotFinite())) as simulation:
        start = simulation.initial_state()
        following, event = simulation.step(start)
    assert torch.equal(following.params, start.params)
    assert torch.equal(following.buffers, start.buffers)
    assert event.values["kept_model"] == "The rule's result was not finite."


def test_a_round_reports_rejections_and_detection():
    huge = Adversary(who=FirstClients(count=1), update=SignFlip(scale=1e9))
    with simulate(replace(SMALL, adversary=huge)) as simulation:
        _, event = simulation.step(simulation.initial_state())
    assert event.values["rejected"] == {"norm over the cap": [0]}
    assert event.values["received"] == 6
    assert event.values["clients"] == [1, 2, 3, 4, 5]

    mild = replace(huge, update=SignFlip())
    with simulate(replace(SMALL, adversary=mild, aggregator=OnlyFirst())) as simulation:
        _, event = simulation.step(simulation.initial_state())
    assert event.values["influence"] == [1.0, 0, 0, 0, 0, 0]
    assert (event.values["tpr"], event.values["fpr"], event.values["precision"]) == (0.0, 1.0, 0.0)
    assert set(event.values["seconds"]) == {"train", "attack", "screen", "aggregate", "server"}


def test_weights_by_samples_reach_the_mean():
    with simulate(replace(SMALL, screening=Screening(weights="samples"))) as simulation:
        start = simulation.initial_state()
        following, _ = simulation.step(start)
        rows, counts = simulation.clients.rows.matrix, simulation.sample_counts.double()
        expected = ((counts / counts.sum()) @ rows.double()).float()
    torch.testing.assert_close(following.params - start.params, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rule", [example.rule for example in AGGREGATORS], ids=str)
def test_a_rule_says_truly_whether_weights_change_its_result(rule):
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(1))
    alike = Updates.of(rows)
    weighted = replace(alike, weights=torch.arange(1, 13).double())
    context = context_for(rule, rows)
    first, second = (rule.aggregate(updates, rule.init(context.layout), context)[0].update for updates in (alike, weighted))
    assert torch.equal(first, second) != rule.uses_weights


def test_weights_that_a_rule_would_ignore_are_refused():
    with pytest.raises(ConfigError, match="The rule trimmed_mean counts every client alike"):
        simulate(replace(SMALL, aggregator=TrimmedMean(1), screening=Screening(weights="samples")))


def test_an_attack_that_does_not_fit_is_refused_before_any_round():
    backdoor = Backdoor(Patch(9), target=0, share=0.5)
    with pytest.raises(ConfigError, match="Patch"):
        simulate(replace(IMAGES, adversary=Adversary(who=FirstClients(count=1), data=backdoor)))
    with pytest.raises(ConfigError, match="clients"):
        simulate(replace(SMALL, adversary=Adversary(who=FirstClients(count=7), update=SignFlip())))


class _WithoutLinear(Architecture):
    """Convolutions alone."""

    def build(self, input_shape, num_classes, generator):
        return nn.Sequential(nn.Conv2d(input_shape[0], num_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_rule_that_attackers_take_it_to_be_must_suit_the_model_before_any_round():
    for guess in (AGRTailored(aggregator=DeepSight()), Adaptive(aggregator=Pipeline((ClipNorm(1.0), DeepSight())))):
        with pytest.raises(ConfigError, match=r"DeepSight.*the last nn\.Linear"):
            simulate(replace(IMAGES, model=_WithoutLinear(), adversary=Adversary(who=FirstClients(count=1), update=guess)))


def test_the_simulation_gives_the_threads_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with simulate(SMALL):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_whose_workers_and_tests_have_devices_of_their_own_ends_in_the_same_bytes(monkeypatch, workers):
    """The device is the CPU under another name: what would go to a GPU is moved, trained, tested and copied back."""
    attacked = replace(
        SMALL,
        data=Digits(),
        model=ResNet18(width=4),
        adversary=Adversary(who=FirstClients(count=1), data=Backdoor(Patch(2), target=0, share=0.5), update=SignFlip()),
    )
    ends = []
    for devices in ((torch.device("cpu"),), (torch.device("cpu", 0),) * 2):
        monkeypatch.setattr("phalanx.simulation.simulation.choose_devices", lambda run, devices=devices: devices)
        with simulate(replace(attacked, run=RunSettings(rounds=2, workers=workers if len(devices) > 1 else 1))) as simulation:
            assert (simulation._tested is simulation.model) == (len(devices) == 1)
            state = simulation.initial_state()
            for _ in range(2):
                state, _ = simulation.step(state)
                scores = dict(simulation.evaluate(state).values)
            del scores["seconds"]
            ends.append((state, scores))
    (alone, scores), (spread, other_scores) = ends
    assert torch.equal(alone.params, spread.params)
    assert torch.equal(alone.buffers, spread.buffers)
    assert scores == other_scores


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu():
    experiment = replace(
        SMALL,
        data=Digits(),
        model=CNN(),
        aggregator=TrimmedMean(1),
        adversary=Adversary(who=FirstClients(count=1), data=Backdoor(Patch(2), target=0, share=0.5)),
    )
    ends = []
    for device in ("cpu", "cuda"):
        with simulate(replace(experiment, run=RunSettings(rounds=3, devices=(device,)))) as simulation:
            state = simulation.initial_state()
            for _ in range(3):
                state, _ = simulation.step(state)
            ends.append(state.params.cpu())
    torch.testing.assert_close(*ends, atol=1e-4, rtol=1e-3)
