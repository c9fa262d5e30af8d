"""LayerReplacement: the mixture by hand, the critical layers as loops over whole modules find them, and what it gets past."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import phalanx
from phalanx.aggregators import MultiKrum
from phalanx.attacks import (
    Adversary,
    Backdoor,
    FirstClients,
    LabelFlip,
    LabelFlipAll,
    LayerReplacement,
    Patch,
    ProjectedGradient,
)
from phalanx.attacks.client.layer_replacement import critical_layers, replaced
from phalanx.config import RunSettings
from phalanx.core import params as flat
from phalanx.core.errors import ConfigError
from phalanx.core.families import ClientAttack, Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status
from phalanx.data import IID
from phalanx.models import CNN, MLP, LogisticRegression
from phalanx.training import SGD

BACKDOOR = Backdoor(Patch(2), target=1, share=0.5)


class _Sends(Trainer):
    """Writes one row where there is no poison and another where there is."""

    honest: tuple[float, ...]
    poisoned: tuple[float, ...]

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        out.matrix[list(cohort.places)] = torch.tensor(self.honest if cohort.poison is None else self.poisoned)
        out.status[list(cohort.places)] = int(Status.SENT)
        return {f"{client}.kind": torch.tensor(cohort.poison is not None) for client in cohort.ids}


def scene(model: nn.Module, labels: list[int], shape: tuple[int, ...]) -> tuple[Cohort, RoundContext, Rows]:
    """One attacker, with black images."""
    params, buffers = flat.flatten(model)
    context = RoundContext(0, 0, Layout.of(model), params, buffers, model=model)
    samples = Samples(torch.zeros(len(labels), *shape), torch.tensor(labels), 2)
    cohort = Cohort((5,), (0,), samples, (torch.arange(len(labels)),), BACKDOOR, (0,))
    return cohort, context, Rows.empty(1, context.layout)


def test_the_mixture_by_hand() -> None:
    honest, poisoned = torch.tensor([3.0, 4.0, 7.0, 1.0]), torch.tensor([0.0, 1.0, 9.0, 9.0])
    layers = [slice(0, 2)]
    assert replaced(honest, poisoned, layers, 1.0).tolist() == [0, 1, 7, 1]
    assert replaced(honest, poisoned, layers, 0.5).tolist() == [1.5, 2.5, 7, 1]
    assert replaced(honest, poisoned, layers, 20.0).tolist() == [0, 5, 7, 1], "20 is cut to the honest layer's norm, 5"
    assert replaced(honest, poisoned, [], 1.0).tolist() == honest.tolist()


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 999), count=st.integers(0, 3))
def test_what_is_sent_is_never_longer_than_the_honest_update_and_honest_elsewhere(scale: float, seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    honest, poisoned = (torch.randn(12, generator=generator) for _ in range(2))
    sent = replaced(honest, 5 * poisoned, [slice(4 * i, 4 * i + 4) for i in range(count)], scale)
    assert sent.norm() <= honest.norm() * (1 + 1e-6)
    assert torch.equal(sent[4 * count :], honest[4 * count :])


def test_only_the_layer_that_carries_the_backdoor_is_replaced() -> None:
    # The weights are alike for both classes, so whatever the image is, only the bias decides.
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    cohort, context, out = scene(model, [0, 0, 0], (1, 3, 3))
    honest, poisoned = (0.1,) * 18 + (2.0, 1.0), (0.2,) * 18 + (0.0, 1.0)
    trainer = LayerReplacement().training(_Sends(honest, poisoned))
    state = trainer.train(cohort, {}, context, out)
    assert out.matrix[0].tolist() == pytest.approx([0.1] * 18 + [0.0, 1.0])
    assert not state["5.kind"], "the client remembers its honest training"
    assert model.training, "the model is in the mode it was in"


def test_without_a_sample_of_another_class_or_without_success_the_honest_update_is_sent() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    honest, succeeds, fails = (0.1,) * 20, (0.2,) * 18 + (0.0, 9.0), (0.2,) * 18 + (9.0, 0.0)
    for labels, poisoned in (([1, 1], succeeds), ([0, 0], fails)):
        cohort, context, out = scene(model, labels, (1, 3, 3))
        LayerReplacement().training(_Sends(honest, poisoned)).train(cohort, {}, context, out)
        assert out.matrix[0].tolist() == pytest.approx(honest)


def slow_critical_layers(model: nn.Module, good: Tensor, bad: Tensor, inputs: Tensor, tau: float) -> list[str]:
    """The paper's two substitutions on copies of whole modules, named parameter by named parameter."""

    def module(params: Tensor) -> nn.Module:
        made = copy.deepcopy(model)
        nn.utils.vector_to_parameters(params, made.parameters())
        return made.eval()

    def success(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network(inputs).argmax(1) == 1).double().mean())

    honest, poisoned = module(good), module(bad)
    goal, falls = success(poisoned), {}
    for name, value in honest.named_parameters():
        mixed = copy.deepcopy(poisoned)
        mixed.get_parameter(name).data = value.data.clone()
        falls[name] = goal - success(mixed)
    chosen: list[str] = []
    mixed = copy.deepcopy(honest)
    for name in sorted(falls, key=lambda name: -falls[name]):
        chosen.append(name)
        mixed.get_parameter(name).data = poisoned.get_parameter(name).data.clone()
        if success(mixed) >= tau * goal:
            break
    return chosen if goal else []


@given(seed=st.integers(0, 999), tau=st.floats(0.1, 1))
def test_the_critical_layers_are_those_of_whole_modules(seed: int, tau: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    layout, inputs = Layout.of(model), torch.randn(40, 4, generator=generator)
    good, bad = (torch.randn(layout.d, generator=generator) for _ in range(2))
    context = dataclasses.replace(RoundContext.for_matrix(good[None]), layout=layout)

    def success(update: Tensor, buffers: Tensor) -> float:
        flat.load(model, update, buffers)
        with torch.no_grad():
            return float((model(inputs).argmax(1) == 1).double().mean())

    nothing = torch.zeros(0)
    found = critical_layers(success, (good, nothing), (bad, nothing), context, tau)
    names = {slot.start: slot.name for slot in layout.parameters}
    assert [names[layer.start] for layer in found] == slow_critical_layers(model, good, bad, inputs, tau)


@pytest.mark.parametrize("data", [None, LabelFlipAll()], ids=repr)
def test_it_is_refused_without_a_targeted_data_attack(data: LabelFlipAll | None) -> None:
    with pytest.raises(ConfigError, match="LayerReplacement needs a targeted data attack"):
        Adversary(who=FirstClients(count=1), data=data, client=LayerReplacement())
    Adversary(who=FirstClients(count=1), data=LabelFlip(0, target=1), client=LayerReplacement())
    Adversary(who=FirstClients(count=1), client=ProjectedGradient(1.0))


def test_both_trainers_are_asked_whether_they_suit_the_model() -> None:
    attack = LayerReplacement(trainer=SGD(0.1, epochs=1, engine="linear"))
    samples = Samples(torch.zeros(2, 1, 3, 3), torch.tensor([0, 1]), 2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ConfigError, match="engine"):
        attack.training(SGD(0.1, epochs=1)).check(network, samples)


def test_it_comes_from_a_table() -> None:
    assert ClientAttack.from_table({"kind": "layer_replacement", "tau": 0.9, "scale": 0.5}) == LayerReplacement(0.9, scale=0.5)


def run(rule: object = None, client: ClientAttack | None = None, **fields: object) -> phalanx.RunResult:
    experiment = phalanx.Experiment(
        run=RunSettings(rounds=2, workers=fields.pop("workers", 1)),
        partition=IID(num_clients=6),
        training=SGD(lr=0.1, epochs=1, batch_size=16),
        adversary=Adversary(who=FirstClients(count=2), data=BACKDOOR, client=client),
    )
    changed = {"aggregator": rule} if rule else {}
    return phalanx.run(dataclasses.replace(experiment, **changed, **fields))


@pytest.mark.parametrize("model", [LogisticRegression(), CNN()], ids=lambda model: model.kind)
def test_workers_make_the_same_rows(model: object) -> None:
    alone, together = (run(client=LayerReplacement(), model=model, workers=workers) for workers in (1, 2))
    assert alone.summary["final"] == together.summary["final"]
    assert torch.equal(flat.flatten(alone.model)[0], flat.flatten(together.model)[0])


def test_it_passes_a_rule_that_stops_the_same_backdoor_alone() -> None:
    def last(client: LayerReplacement | None) -> dict[str, float]:
        adversary = Adversary(who=FirstClients(count=3), data=Backdoor(Patch(3), target=0, share=0.5), client=client)
        training = SGD(lr=0.1, epochs=2, batch_size=16)
        fields = {"partition": IID(num_clients=12), "model": MLP(hidden=(32,)), "training": training, "adversary": adversary}
        return run(MultiKrum(3), run=RunSettings(rounds=12), **fields).metrics[-1]

    replacing, alone = last(LayerReplacement(scale=0.5)), last(None)
    assert replacing["attack_success"] > 0.4 > 0.1 > alone["attack_success"]
    assert replacing["accuracy"] > 0.9
