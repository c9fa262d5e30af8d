"""Flower's own strategies behind a rule: their server step still runs, on one answer that the rule made of all."""

import json
import random
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedMedian, FedProx, FedTrimmedAvg, FedYogi, QFedAvg

from phalanx.aggregators import Krum, Mean, TrimmedMean
from phalanx.core.errors import CheckpointError, ConfigError, PreconditionError
from phalanx.data import IID
from phalanx.flower import InProcessGrid, Robust
from phalanx.flower.inner_memory import give_back, taken
from phalanx.flower.wire import UPDATE
from phalanx.privacy import CentralDP


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
    """Behind the mean the attacker moves the model; behind the rule by less than a twentieth of that."""

    def reverse(content):
        enlarged = {name: Array(array.numpy() * -50) for name, array in content[UPDATE].items()}
        return RecordDict({**content, UPDATE: ArrayRecord(enlarged)})

    def moved(rule):
        clean, attacked = (
            rounds(world, Robust(FedAvgM(min_available_nodes=6, server_momentum=0.5), aggregator=rule), grid)
            for grid in (world.grid(), world.grid(node_6=reverse))
        )
        return max(np.abs(clean[name].numpy() - attacked[name].numpy()).max() for name in clean)

    world = twins(small)
    assert moved(TrimmedMean(num_byzantine=1)) < 0.05 * moved(Mean())


def test_buffers_are_the_rules_and_not_the_inner_strategys(twins, small, normalised):
    """FedAdam would step BatchNorm's running variance by its sign, below zero in a few rounds."""
    world = twins(replace(small, model=normalised))
    inner = FedAdam(min_available_nodes=6, eta=0.5)
    stepped = rounds(world, Robust(inner, aggregator=Mean(), model=world.model(), seed=small.run.seed), count=1)
    averaged = rounds(world, world.strategy(), count=1)
    assert not same({"0.weight": stepped["0.weight"]}, averaged)
    for name in ("0.running_mean", "0.running_var"):
        assert np.array_equal(stepped[name].numpy(), averaged[name].numpy())


def test_a_round_that_keeps_the_model_does_not_move_the_inner_strategy(twins, small):
    world = twins(small)
    inner = Robust(FedAdam(min_available_nodes=6), aggregator=Mean(), quorum=6)
    grid = world.grid(node_1=lambda content: RecordDict())
    assert same(rounds(world, inner, grid), ArrayRecord(world.model().state_dict()))
    assert inner.inner.m_t is None


def test_an_inner_step_that_is_not_finite_is_taken_back_and_said(twins, small):
    """Adam's moments would stay NaN, and the federation stand still for ever."""

    class Once(FedAdam):
        def aggregate_train(self, server_round, replies):
            arrays, metrics = super().aggregate_train(server_round, replies)
            if server_round > 1:
                return arrays, metrics
            self.m_t = {name: moment * np.nan for name, moment in self.m_t.items()}
            return ArrayRecord({name: Array(array.numpy() * np.float32("nan")) for name, array in arrays.items()}), metrics

    class Log(list):
        def emit(self, event):
            self.append(event.values.get("kept_model"))

    world, log = twins(small), Log()
    first = ArrayRecord(world.model().state_dict())
    strategy = Robust(Once(min_available_nodes=6), aggregator=Mean(), sinks=[log])
    after = rounds(world, strategy, count=2)
    assert log == ["The inner strategy's step is not finite.", None]
    assert not same(after, first)
    assert all(np.isfinite(moment).all() for moment in strategy.inner.m_t.values())


def test_a_second_start_begins_anew(twins, small):
    world = twins(small)
    for strategy in (Robust(FedAdam(min_available_nodes=6), aggregator=Mean()), world.strategy()):
        assert same(rounds(world, strategy), rounds(world, strategy))


class Killed(BaseException):
    pass


class Killing:
    """The server dies after a round's event and before its checkpoint."""

    def __init__(self, after):
        self.after = after

    def emit(self, event):
        if event.round == self.after:
            raise Killed


INNER = {
    "FedAvg": FedAvg(min_available_nodes=6),
    "FedAvgM": FedAvgM(min_available_nodes=6, server_momentum=0.5, server_learning_rate=0.7),
    "FedAdam": FedAdam(min_available_nodes=6, fraction_train=0.5),
    "FedYogi": FedYogi(min_available_nodes=6),
    "FedAdagrad": FedAdagrad(min_available_nodes=6),
}


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_server_goes_on_to_the_same_bytes(twins, small, tmp_path, name, after):
    """Rounds, moments and settings: the inner strategy's attributes are in the checkpoint, bit by bit."""
    world = twins(small)

    def guarded(**options):
        return Robust(INNER[name], aggregator=TrimmedMean(num_byzantine=1), seed=3, **options)

    with pytest.raises(Killed):
        rounds(world, guarded(folder=tmp_path, sinks=[Killing(after)]), count=4)
    strategy = guarded(folder=tmp_path)
    resumed = rounds(world, strategy, count=4)
    straight_strategy = guarded()
    straight = rounds(world, straight_strategy, count=4)
    assert all(resumed[name].data == straight[name].data for name in straight)
    assert told_of(strategy.inner) == told_of(straight_strategy.inner)


def told_of(inner):
    told, tensors = taken(inner)
    return told, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def test_whatever_an_inner_strategy_keeps_comes_back_as_it_was():
    kept = FedAvg()
    kept.step, kept.name, kept.nothing, kept.rate = 3, "m", None, float("nan")
    kept.nested = {"a/b": [np.arange(3), (np.float64(0.1), True)], "a": {"b": np.zeros((2, 0), np.float16)}}
    kept.record = ArrayRecord({"w": Array(np.ones((2, 2)))})
    fresh = FedAvg()
    told, tensors = taken(kept)
    give_back(fresh, json.loads(json.dumps(told)), tensors)
    assert (fresh.step, fresh.name, fresh.nothing, fresh.rate != fresh.rate) == (3, "m", None, True)
    first, (second, third) = fresh.nested["a/b"]
    assert (first.tolist(), type(second), float(second), third) == ([0, 1, 2], np.float64, 0.1, True)
    assert (fresh.nested["a"]["b"].shape, fresh.nested["a"]["b"].dtype) == ((2, 0), np.float16)
    assert fresh.record["w"].numpy().tolist() == [[1, 1], [1, 1]]


def test_an_inner_strategy_that_cannot_be_saved_is_refused_before_round_1(tmp_path):
    class Keeping(FedAvg):
        def __init__(self):
            super().__init__()
            self.seen = {1, 2}

    assert Robust(Keeping(), aggregator=Mean())
    with pytest.raises(ConfigError, match="Keeping keeps seen, of type set, which no checkpoint can hold"):
        Robust(Keeping(), aggregator=Mean(), folder=tmp_path)


@pytest.mark.parametrize("other", [FedAdam(min_available_nodes=6, eta=0.3), FedYogi(min_available_nodes=6)])
def test_another_inner_strategys_checkpoint_is_refused(twins, small, tmp_path, other):
    world = twins(small)
    rounds(world, Robust(FedAdam(min_available_nodes=6), aggregator=Mean(), folder=tmp_path), count=1)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        rounds(world, Robust(other, aggregator=Mean(), folder=tmp_path), count=2)


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
    for inner in ("FedAvg", QFedAvg(0.1), FedMedian(), FedTrimmedAvg()):
        with pytest.raises(ConfigError, match=r"Robust wraps FedAvg, FedAvgM.*one average"):
            Robust(inner, aggregator=Mean())
    private = CentralDP(clip_norm=1.0, noise_multiplier=1.0, expected_clients=2, secure_rng=True)
    with pytest.raises(ConfigError, match="use RobustStrategy"):
        Robust(FedAvg(min_available_nodes=2), aggregator=private)
    with pytest.raises(ConfigError, match="of 10 nodes at most 2 take part"):
        Robust(FedAvg(fraction_train=0.1, min_available_nodes=10), aggregator=Mean(), quorum=3)
    with pytest.raises(PreconditionError):
        Robust(FedAvg(min_available_nodes=3), aggregator=Krum(num_byzantine=2))
