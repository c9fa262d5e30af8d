"""One experiment, two engines, the same bytes: simulator and Flower share everything from the client's row onwards."""

from dataclasses import replace

import pytest
import torch

from phalanx.aggregators import Krum, Mean, Median, MoNNA
from phalanx.core.capabilities import Capability
from phalanx.data import IID, Digits, RootSet
from phalanx.models import CNN, LogisticRegression
from phalanx.server import FedAdam, FixedSize, Poisson, Screening, ServerSGD
from phalanx.testing import AGGREGATORS
from phalanx.training import DPSGD, SGD, Adam, Flip, TriggerInversion, WorkerMomentum
from phalanx.training.hooks import FedProx

RULES = [example.rule for example in AGGREGATORS]
TRAINERS = [
    SGD(lr=0.1, epochs=1, batch_size=8, momentum=0.9),
    Adam(lr=0.01, steps=3, batch_size=8),
    SGD(lr=0.1, steps=2, batch_size=8, hooks=(FedProx(mu=0.1),)),
    WorkerMomentum(SGD(lr=0.1, steps=2, batch_size=8), beta=0.5),
]


def assert_same(twins):
    simulated = twins.simulated()
    params, buffers = twins.deployed()
    assert params.numpy().tobytes() == simulated.params.numpy().tobytes()
    assert buffers.numpy().tobytes() == simulated.buffers.numpy().tobytes()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_every_rule_ends_in_the_same_bytes(twins, small, rule):
    """Two rounds: the second one has the memory of the first. Eleven clients are enough for every example."""
    root = RootSet(size=12) if Capability.ROOT_DATA in rule.needs or rule == MoNNA(num_byzantine=2) else RootSet()
    larger = replace(small, partition=IID(num_clients=11), run=replace(small.run, rounds=2))
    assert_same(twins(replace(larger, aggregator=rule, root=root)))


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: type(trainer).__name__)
def test_every_trainer_ends_in_the_same_bytes(twins, small, trainer):
    assert_same(twins(replace(small, training=trainer)))


@pytest.mark.parametrize("server", [ServerSGD(lr=0.5, momentum=0.9), FedAdam()], ids=lambda server: server.kind)
def test_every_server_step_ends_in_the_same_bytes(twins, small, server):
    assert_same(twins(replace(small, server=server)))


@pytest.mark.parametrize("participation", [FixedSize(size=4), Poisson(rate=0.5)], ids=lambda sampler: sampler.kind)
def test_the_same_clients_are_drawn(twins, small, participation):
    assert_same(twins(replace(small, participation=participation)))


def test_the_linear_engine_ends_in_the_same_bytes(twins, small):
    assert_same(twins(replace(small, model=LogisticRegression())))


@pytest.mark.parametrize("rule", [Mean(), Median(num_byzantine=1)], ids=lambda rule: rule.kind)
def test_buffers_end_in_the_same_bytes(twins, small, rule, normalised):
    assert_same(twins(replace(small, aggregator=rule, model=normalised)))


@pytest.mark.parametrize(
    "trainer",
    [
        Flip(universal=TriggerInversion(9), pair=TriggerInversion(6), repeat=TriggerInversion(3), epochs=1, most_steps=4),
        DPSGD(lr=0.1, steps=2, batch_size=8, noise_multiplier=1.0),
    ],
    ids=lambda trainer: trainer.kind,
)
def test_trainers_on_images_end_in_the_same_bytes(twins, small, trainer):
    assert_same(twins(replace(small, data=Digits(), partition=IID(num_clients=3), training=trainer)))


def test_convolutions_end_in_the_same_bytes(twins, small):
    assert_same(
        twins(replace(small, data=Digits(), partition=IID(num_clients=6), model=CNN(), aggregator=Krum(num_byzantine=1)))
    )


def test_weights_by_samples_are_the_simulators_where_clients_are_honest(twins, small):
    assert_same(twins(replace(small, screening=Screening(weights="samples", max_samples=1000))))


def test_other_seeds_end_elsewhere(twins, small):
    other = replace(small, run=replace(small.run, seed=6))
    assert not torch.equal(twins(small).deployed()[0], twins(other).deployed()[0])
