"""Flower's own strategies behind a rule: their server step still runs, on one answer that the rule made of all."""

import random
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, FedYogi

from phalanx.aggregators import Krum, Mean, TrimmedMean
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.data import IID
from phalanx.flower import InProcessGrid, Robust
from phalanx.flower.wire import UPDATE


def rounds(world, strategy, grid=None, count=3):
    arrays = ArrayRecord(world.model().state_dict())
    return strategy.start(grid or world.grid(), arrays, num_rounds=count, timeout=1).arrays


def same(a, b):
    return all(np.array_equal(a[name].numpy(), b[name].numpy()) for name in a)


def test_around_fed_avg_it_is_the_robust_strategy(twins, small):
    world = twins(replace(small, aggregator=Krum(num_byzantine=1)))
    wrapped = Robust(FedAvg(min_available_nodes=6), aggregator=Krum(num_byzantine=1), seed=small.run.seed)
    assert same(rounds(world, wrapped), rounds(world, world.strategy()))


def whole_models(world):
    """The same clients, sending the whole model back as stock strategies expect it."""

    def grow(message, context, call_next):
        before = {name: array.numpy() for name, array in message.content["arrays"].items()}
        reply = call_next(message, context)
        update = reply.content[UPDATE]
        whole = {name: Array(before[name] + update[name].numpy()) for name in before}
        reply.content = RecordDict({"arrays": ArrayRecord(whole), "metrics": reply.content["metrics"]})
        return reply

    grid = world.grid()
    grid.apps = {node: world.app(grow) for node in grid.apps}
    return grid


def replaced(strategy):
    """The same settings without what was learnt."""
    fresh = copy(strategy)
    for name in ("m_t", "v_t", "current_arrays", "momentum_vector"):
        if hasattr(fresh, name):
            setattr(fresh, name, None)
    return fresh


@pytest.mark.parametrize("inner", [FedAdam, FedYogi, FedAvgM, FedProx])
def test_behind_the_mean_the_inner_strategy_does_what_it_does_alone(twins, small, inner):
    world = twins(replace(small, partition=IID(num_clients=6)))  # stock strategies weight by what clients claim
    options = {"proximal_mu": 0.0} if inner is FedProx else {}
    options |= {"server_learning_rate": 0.5, "server_momentum": 0.9} if inner is FedAvgM else {}
    alone = inner(fraction_evaluate=0.0, min_available_nodes=6, **options)
    # One round: FedAdam's second message alone is float64, which no client has asked for.
    expected = rounds(world, alone, whole_models(world), count=1)
    guarded = rounds(world, Robust(replaced(alone), aggregator=Mean()), whole_models(world), count=1)
    assert not same(expected, ArrayRecord(world.model().state_dict()))
    for name in expected:
        assert np.allclose(expected[name].numpy(), guarded[name].numpy(), atol=1e-5), name
    assert guarded["1.weight"].numpy().dtype == np.float32


def test_an_attacker_does_not_reach_the_inner_strategy(twins, small):
    def reverse(content):
        enlarged = {name: Array(array.numpy() * -50) for name, array in content[UPDATE].items()}
        return RecordDict({**content, UPDATE: ArrayRecord(enlarged)})

    world = twins(small)
    wrapped = Robust(FedAdam(min_available_nodes=6), aggregator=TrimmedMean(num_byzantine=1))
    clean = rounds(world, Robust(FedAdam(min_available_nodes=6), aggregator=TrimmedMean(num_byzantine=1)))
    attacked = rounds(world, wrapped, world.grid(node_6=reverse))
    assert not same(clean, ArrayRecord(world.model().state_dict()))
    assert max(np.abs(clean[name].numpy() - attacked[name].numpy()).max() for name in clean) < 0.5


def test_a_round_that_keeps_the_model_does_not_move_the_inner_strategy(twins, small):
    world = twins(small)
    inner = Robust(FedAdam(min_available_nodes=6), aggregator=Mean(), quorum=6)
    grid = world.grid(node_1=lambda content: RecordDict())
    assert same(rounds(world, inner, grid), ArrayRecord(world.model().state_dict()))
    assert inner.inner.m_t is None


def test_an_inner_step_that_is_not_finite_keeps_the_model(twins, small):
    class Broken(FedAvg):
        def aggregate_train(self, server_round, replies):
            arrays, metrics = super().aggregate_train(server_round, replies)
            return ArrayRecord({name: Array(array.numpy() * np.float32("nan")) for name, array in arrays.items()}), metrics

    world = twins(small)
    kept = rounds(world, Robust(Broken(min_available_nodes=6), aggregator=Mean()))
    assert same(kept, ArrayRecord(world.model().state_dict()))


def test_integers_stay_what_they_are():
    arrays = [np.ones(3, np.float32), np.arange(2)]
    app = ClientApp()

    @app.train()
    def train(message, context):
        first, counter = message.content["arrays"].to_numpy_ndarrays()
        content = {"arrays": ArrayRecord([first + 1, counter]), "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    strategy = Robust(FedAvg(min_available_nodes=2), aggregator=Mean())
    after = strategy.start(InProcessGrid([app, app]), ArrayRecord(arrays), num_rounds=2, timeout=1).arrays.to_numpy_ndarrays()
    assert after[0].tolist() == [3.0, 3.0, 3.0]
    assert after[1].tolist() == [0, 1]
    assert after[1].dtype == np.int64


def test_a_fraction_is_drawn_with_a_seed_and_the_given_strategy_is_not_changed(twins, small):
    world, given = twins(small), FedAvg(fraction_train=0.5, min_train_nodes=2, min_available_nodes=6)
    drawn = []
    for state in (1, 2):
        random.seed(state)  # Flower draws from here; we do not
        strategy = Robust(given, aggregator=Mean(), seed=3)
        messages = strategy.configure_train(1, ArrayRecord(world.model().state_dict()), {}, world.grid())
        drawn.append(sorted(message.metadata.dst_node_id for message in messages))
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 3
    assert (given.fraction_train, given.min_train_nodes, given.min_available_nodes) == (0.5, 2, 6)


def test_what_cannot_be_wrapped_is_refused():
    with pytest.raises(ConfigError, match="Robust wraps FedAvg and its heirs"):
        Robust("FedAvg", aggregator=Mean())
    with pytest.raises(ConfigError, match="of 10 nodes at most 2 take part"):
        Robust(FedAvg(fraction_train=0.1, min_available_nodes=10), aggregator=Mean(), quorum=3)
    with pytest.raises(PreconditionError):
        Robust(FedAvg(min_available_nodes=3), aggregator=Krum(num_byzantine=2))
