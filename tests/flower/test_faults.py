"""What nodes have been seen to send. Each costs its node the round: the model is, to the last bit, what it is without it."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from phalanx.aggregators import FLTrust, Mean, TrimmedMean
from phalanx.attacks import Adversary, ALittleIsEnough, FirstClients, ModelReplacement, Scaling, SignFlip
from phalanx.core.errors import CapabilityError
from phalanx.data import RootSet
from phalanx.flower import InProcessGrid, RobustStrategy, attacking, exchange, faulty
from phalanx.flower.answers import believed
from phalanx.flower.faulty import FAULTS, hanging, stale
from phalanx.flower.inflation import MOST_WORDS, inflated_to
from phalanx.flower.wire import UPDATE
from phalanx.server import Screening, ServerSGD

LAST = 6  # the node that misbehaves


def _without(world):
    grid = world.grid()
    grid.offline = {LAST}
    return world.deployed(grid, _patient(world))


def _patient(world):
    strategy = world.strategy()
    strategy.attendance.min_nodes = LAST - 1
    return strategy


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_its_node_the_round_and_nobody_else(twins, small, name):
    world, fault = twins(small), FAULTS[name]
    grid, strategy = world.grid(), world.strategy()
    grid.apps[LAST] = world.app(fault)
    params, _ = world.deployed(grid, strategy)
    assert torch.equal(params, _without(world)[0])
    assert {node: dict(count) for node, count in strategy.offences.items()} == {"node-6": {fault.reason: 3}}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_stock_app_costs_its_node_the_round_and_nobody_else(name):
    """It sends whole models, and its arrays have other names, shapes and dtypes."""
    arrays = ArrayRecord({"w": Array(np.ones((4, 3), np.float32)), "count": Array(np.array(3))})

    def final(*mods):
        apps = [growing(number) for number in range(4)] + [growing(9, *mod) for mod in mods]
        strategy = RobustStrategy(aggregator=Mean(), min_nodes=len(apps))
        after = strategy.start(InProcessGrid(apps), arrays, num_rounds=1, timeout=1).arrays
        return after["w"].numpy(), strategy.offences

    fault = FAULTS[name]
    spoilt, offences = final([fault])
    assert np.array_equal(spoilt, final()[0])
    assert offences == {"node-5": {fault.reason: 1}}


def growing(by, *mods):
    """A stock app of bare numpy."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context):
        arrays = dict(message.content["arrays"].items())
        arrays["w"] = Array(arrays["w"].numpy() + np.float32(by) / 7)
        content = {"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 10})}
        return Message(RecordDict(content), reply_to=message)

    return app


@pytest.mark.parametrize("attack", [SignFlip(scale=5.0), ModelReplacement()], ids=lambda attack: attack.kind)
def test_an_app_behind_the_attacking_mod_attacks_as_in_the_simulator(twins, small, attack):
    world = twins(replace(small, adversary=Adversary(who=FirstClients(count=1), update=attack), aggregator=Mean()))
    grid = world.grid()
    grid.apps[1] = world.app(attacking(attack, num_updates=6, seed=small.run.seed))
    assert torch.equal(world.deployed(grid)[0], world.simulated().params)
    assert not torch.equal(world.deployed(grid)[0], world.deployed()[0])


def test_statistics_are_enlarged_behind_the_mod_too(twins, small, normalised):
    attack = Scaling(4.0)
    adversary = Adversary(who=FirstClients(count=1), update=attack)
    world = twins(replace(small, model=normalised, adversary=adversary, server=ServerSGD(lr=0.5), aggregator=Mean()))
    grid = world.grid()
    grid.apps[1] = world.app(attacking(attack, model=world.model(), num_updates=6, seed=small.run.seed))
    assert torch.equal(world.deployed(grid)[1], world.simulated().buffers)
    assert not torch.equal(world.deployed(grid)[1], world.deployed()[1])


def test_an_attack_on_ones_own_is_no_attack_of_many():
    with pytest.raises(CapabilityError, match="see each other's updates"):
        attacking(ALittleIsEnough())


def test_a_stale_answer_is_the_first_one_for_ever_and_the_rule_withstands_it(twins, small):
    sent = []

    def see(message, context, call_next):
        reply = call_next(message, context)
        sent.append(reply.content[UPDATE]["1.weight"].numpy())
        return reply

    def final(rule):
        world = twins(replace(small, aggregator=rule))
        grid = world.grid()
        grid.apps[LAST] = world.app(see, stale)
        return world.deployed(grid)[0], _without(world)[0]

    stood, honest = final(TrimmedMean(num_byzantine=1))
    assert len(sent) == 3
    assert all(np.array_equal(sent[0], update) for update in sent)
    assert (stood - honest).norm() < 0.1 * honest.norm()


def test_a_node_that_hangs_costs_the_timeout_and_no_more(twins, small, monkeypatch):
    world, over = twins(replace(small, run=replace(small.run, rounds=1))), Event()
    monkeypatch.setattr(faulty.time, "sleep", over.wait)

    class Apart(InProcessGrid):
        """Node 6 trains while its answer is fetched, not when it is asked."""

        def _answer(self, node, message):
            return message if node == LAST else super()._answer(node, message)

        def pull_messages(self, message_ids):
            found = list(super().pull_messages(message_ids))
            return [super(Apart, self)._answer(LAST, one) if str(LAST) in message_ids else one for one in found]

    strategy = world.strategy()
    params, _ = world.deployed(Apart([world.app() for _ in range(5)] + [world.app(hanging(3600))]), strategy)
    assert not over.is_set()
    over.set()
    assert torch.equal(params, _without(world)[0])
    assert strategy.offences == {"node-6": {"no answer": 1}}


@pytest.mark.parametrize("claim", [-1, 0, 10**12, 2**62, math.nan, math.inf, 1e300])
def test_a_lie_about_examples_changes_nothing(twins, small, claim):
    world = twins(replace(small, aggregator=Mean()))

    def lie(content):
        return RecordDict({**content, "metrics": MetricRecord({"num-examples": claim, "num-steps": claim, "loss": claim})})

    assert torch.equal(world.deployed(world.grid(node_6=lie))[0], world.deployed()[0])


@pytest.mark.parametrize("claim", [10**9, math.inf, math.nan, -5])
def test_whoever_is_believed_is_believed_up_to_the_cap(twins, small, claim):
    """Weights by claims: 1e9 examples weigh as much as the cap, and nonsense as one example."""
    world = twins(replace(small, screening=Screening(weights="samples", max_samples=50)))

    def saying(number):
        return lambda content: RecordDict({**content, "metrics": MetricRecord({"num-examples": number})})

    believed = 50 if claim == 10**9 else 1
    lying, honest = (world.deployed(world.grid(node_6=saying(number)))[0] for number in (claim, believed))
    assert torch.equal(lying, honest)


@pytest.mark.parametrize(
    "metrics",
    [{}, {"a": MetricRecord({"num-examples": [1, 2]})}, {f"m{i}": MetricRecord({"num-examples": 5}) for i in range(3)}],
    ids=["none", "a list", "three"],
)
def test_metrics_of_any_form_cost_nothing(twins, small, metrics):
    world = twins(small)

    def spoil(content):
        return RecordDict({UPDATE: content[UPDATE], **metrics, "config": ConfigRecord({"x": b"y" * 1000})})

    assert torch.equal(world.deployed(world.grid(node_6=spoil))[0], world.deployed()[0])


@pytest.fixture
def trusting(twins, small):
    """A federation whose server trains in as many steps as clients claim."""
    return twins(replace(small, aggregator=FLTrust(), root=RootSet(size=12), run=replace(small.run, rounds=1)))


def saying_steps(steps, *, is_finite=True):
    def say(content):
        metrics = MetricRecord({"num-examples": 9, **({} if steps is None else {"num-steps": steps})})
        changed = RecordDict({**content, "metrics": metrics})
        return changed if is_finite else FAULTS["NaN"].spoil(changed)

    return say


def test_a_lone_claim_does_not_decide_how_long_the_server_trains(trusting):
    """Stock apps say nothing of their steps: the only one that does is not the median."""
    silent = {f"node_{node}": saying_steps(None) for node in range(1, 7)}
    alone = trusting.grid(**{**silent, "node_6": saying_steps(7)})
    assert torch.equal(trusting.deployed(alone)[0], trusting.deployed(trusting.grid(**silent))[0])


def test_what_is_rejected_does_not_decide_how_long_the_server_trains(trusting):
    def final(steps):
        return trusting.deployed(
            trusting.grid(**{f"node_{node}": saying_steps(steps, is_finite=False) for node in (3, 4, 5, 6)})
        )

    assert torch.equal(final(9)[0], final(2)[0])


def test_claims_are_believed_when_most_make_them():
    assert believed({1: 5.0, 2: 7.0, 3: 6.0, 9: 1e4}, accepted=[1, 2, 3, 4, 5]) == 6.0
    assert believed({1: 5.0, 2: 7.0}, accepted=[1, 2, 3, 4]) is None
    assert believed({}, accepted=[]) is None


def test_a_node_that_never_answers_costs_the_timeout_and_no_more(twins, small):
    world = twins(replace(small, run=replace(small.run, rounds=1)))
    grid, strategy = world.grid(), world.strategy()
    grid.silent = {LAST}
    params, _ = world.deployed(grid, strategy)
    assert torch.equal(params, _without(world)[0])
    assert strategy.offences["node-6"] == {"no answer": 1}


def test_a_node_that_goes_away_is_not_waited_for(twins, small):
    """Stock Flower waits for its return for ever; here the next round goes on with those that are there."""
    world = twins(small)
    grid, strategy = world.grid(), world.strategy()
    strategy.sinks = (Leaving(grid),)
    world.deployed(grid, strategy)
    assert [event.values["sampled"] for event in strategy.sinks[0].events] == [6, 5, 5]


class Leaving:
    """Takes node 6 away after the first round."""

    def __init__(self, grid):
        self.grid, self.events = grid, []

    def emit(self, event):
        self.grid.offline = {LAST}
        self.events.append(event)


def test_an_answer_twice_counts_once(twins, small):
    world = twins(small)

    class Doubling(InProcessGrid):
        def pull_messages(self, message_ids):
            return [reply for reply in super().pull_messages(message_ids) for _ in (0, 1)]

    grid, strategy = Doubling([world.app() for _ in range(6)]), world.strategy()
    assert torch.equal(world.deployed(grid, strategy)[0], world.deployed()[0])
    assert strategy.offences["node-1"] == {"duplicate": 3}


def test_a_second_answer_is_not_one_more_that_was_received(twins, small):
    world = twins(replace(small, run=replace(small.run, rounds=1)))

    class Doubling(InProcessGrid):
        def pull_messages(self, message_ids):
            return [reply for reply in super().pull_messages(message_ids) for _ in (0, 1)]

    strategy = world.strategy()
    strategy.sinks = (Leaving(grid := Doubling([world.app() for _ in range(6)])),)
    world.deployed(grid, strategy)
    assert strategy.sinks[0].events[0].values["received"] == 6


@pytest.mark.parametrize("failing", [False, True], ids=["an answer", "an error"])
def test_an_answer_in_anothers_name_is_its_senders(twins, small, failing):
    """Node 1 comes first and says that it is node 6, with node 6's message or with none: node 6's own answer counts."""
    for about in ("", "6"):
        world = twins(replace(small, run=replace(small.run, rounds=1)))

        class Impersonating(InProcessGrid):
            def _answer(self, node, message, about=about):
                reply = super()._answer(node, message)
                if node == 1:
                    reply = Message(Error(0, "gone"), reply_to=message) if failing else reply
                    reply.metadata.__dict__["_src_node_id"] = LAST
                    reply.metadata.__dict__["_reply_to_message_id"] = about
                return reply

        strategy, missing = world.strategy(), world.grid()
        if failing:
            missing.offline = {1}
        params, _ = world.deployed(Impersonating([world.app() for _ in range(6)]), strategy)
        assert torch.equal(params, world.deployed(missing, _patient(world))[0])
        assert strategy.offences == ({"node-1": {"error": 1}} if failing else {})


def test_an_answer_that_flower_cannot_unpack_costs_its_node_the_round(twins, small):
    world = twins(small)

    class Damaged(InProcessGrid):
        def pull_messages(self, message_ids):
            found = list(super().pull_messages(message_ids))
            if any(reply.metadata.src_node_id == LAST for reply in found):
                raise ValueError("Unexpected set of `children`.")
            return found

    strategy = world.strategy()
    params, _ = world.deployed(Damaged([world.app() for _ in range(6)]), strategy)
    assert torch.equal(params, _without(world)[0])
    assert strategy.offences["node-6"] == {"error": 3}


def test_a_small_message_that_unpacks_into_gigabytes_costs_its_node_the_round(twins, small):
    """Two megabytes travel; a thousand arrays name them two thousand times each, which would be four terabytes."""
    world = twins(replace(small, run=replace(small.run, rounds=1)))
    contents, record = bomb(times=2000, arrays=1000)

    class Bomb(InProcessGrid):
        def pull_messages(self, message_ids):
            if list(message_ids) == [str(LAST)]:
                return [inflate_object_from_contents(record, contents)]
            return super().pull_messages(message_ids)

    strategy = world.strategy()
    params, _ = world.deployed(Bomb([world.app() for _ in range(6)]), strategy)
    assert torch.equal(params, _without(world)[0])
    assert strategy.offences["node-6"] == {"error": 1}


def bomb(times, arrays):
    """As it lies at the SuperLink: what each object is, by id, and the id of the whole."""
    chunk = bytes(2 * 10**6)
    objects = {"chunk": b"ArrayChunk  %d\0" % len(chunk) + chunk}
    for number in range(arrays):
        shown = {"dtype": "float32", "shape": [number], "stype": "numpy.ndarray", "arraychunk_ids": [0] * times}
        body = json.dumps(shown).encode()
        objects[f"array{number}"] = b"Array chunk %d\0" % len(body) + body
    names = [f"array{number}" for number in range(arrays)]
    body = json.dumps(dict(zip(names, names))).encode()
    objects["record"] = b"ArrayRecord %s %d\0" % (",".join(names).encode(), len(body)) + body
    return objects, "record"


@pytest.mark.parametrize(
    "wordy",
    [
        RecordDict({"config": ConfigRecord({"x": bytes(MOST_WORDS)})}),
        RecordDict({"config": ConfigRecord({"x": list(range(MOST_WORDS))})}),
        RecordDict({"metrics": MetricRecord({"num-examples": [0.5] * (MOST_WORDS // 8)})}),
        RecordDict({f"metrics{number}": MetricRecord({"loss": [float(number)] * 256}) for number in range(32)}),
        RecordDict({"x" * MOST_WORDS: ArrayRecord()}),
    ],
    ids=["bytes", "integers", "metrics", "many records", "a name"],
)
def test_an_answer_of_many_words_costs_its_node_the_round(twins, small, wordy):
    """Three numbers are read beside the arrays; anything else would be unpacked and kept until the round ends."""
    world = twins(replace(small, run=replace(small.run, rounds=1)))

    def adding(message, context, call_next):
        reply = call_next(message, context)
        reply.content = RecordDict({**reply.content, **wordy})
        return reply

    strategy = world.strategy()
    params, _ = world.deployed(Packed([world.app()] * 5 + [world.app(adding)]), strategy)
    assert torch.equal(params, _without(world)[0])
    assert strategy.offences["node-6"] == {"error": 1}


class Packed(InProcessGrid):
    """Its answers lie there in parts, as at the SuperLink, and are unpacked while they are fetched."""

    def _answer(self, node, message):
        reply = super()._answer(node, message)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        return reply.object_id, {name: part.deflate() for name, part in get_all_nested_objects(reply).items()}

    def pull_messages(self, message_ids):
        return [inflate_object_from_contents(*packed) for packed in super().pull_messages(message_ids)]


def test_an_honest_answer_is_unpacked_within_its_room(twins, small, normalised):
    world = twins(replace(small, model=normalised))
    strategy = world.strategy()
    assert torch.equal(world.deployed(Packed([world.app()] * 6), strategy)[0], world.deployed()[0])
    assert not strategy.offences


def test_what_nobody_reads_of_an_answer_is_not_kept(twins, small):
    def adding(content):
        return RecordDict({**content, "config": ConfigRecord({"x": b"y"})})

    def failing(message, context, call_next):
        return Message(Error(0, "y" * MOST_WORDS), reply_to=message)

    world = twins(small)
    content = RecordDict({"arrays": ArrayRecord(world.model().state_dict()), "config": ConfigRecord({"server-round": 1})})
    messages = [Message(content, node, "train") for node in (5, 6)]
    grid = Packed(world.grid(node_5=adding).apps.values())
    grid.apps[LAST] = world.app(failing)
    good, bad = exchange.exchange(grid, messages, timeout=5.0, most_bytes=10**6)
    assert good.content.keys() == {UPDATE, "metrics"}
    assert bad.error.reason == "The answer cannot be unpacked: ValueError."


def test_what_is_as_large_as_it_may_be_is_unpacked():
    sent = Array(np.arange(10**6, dtype=np.float32))
    contents = {"array": sent.deflate(), **{name: chunk.deflate() for name, chunk in sent.slice_array()}}
    size = len(contents["array"]) + len(sent.data)
    for room, fits in ((size, True), (size - 1, False)):
        with inflated_to(room), nullcontext() if fits else pytest.raises(ValueError, match="larger than any"):
            assert np.array_equal(inflate_object_from_contents("array", dict(contents)).numpy(), sent.numpy())
    assert np.array_equal(inflate_object_from_contents("array", dict(contents)).numpy(), sent.numpy())
    contents, record = bomb(times=3, arrays=2)
    with inflated_to(11 * 10**6), pytest.raises(ValueError, match="larger than any"):
        inflate_object_from_contents(record, contents)


def test_nodes_whose_answers_take_for_ever_to_fetch_cost_the_timeout_and_nobody_else(twins, small, monkeypatch):
    """More of them than there are fetches at a time, and they come first."""
    monkeypatch.setattr(exchange, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "STALL_SECONDS", 0.02)
    over, world = Event(), twins(small)

    class Slow(InProcessGrid):
        def pull_messages(self, message_ids):
            if int(message_ids[0]) < len(self.apps):
                over.wait(60)
            return super().pull_messages(message_ids)

    grid = Slow([world.app()] * (exchange.PULLERS + 3))
    messages = [Message(RecordDict(), node, "train") for node in grid.apps]
    answers = exchange.exchange(grid, messages, timeout=1.0, most_bytes=10**9)
    assert not over.is_set()
    over.set()
    assert [reply.metadata.src_node_id for reply in answers] == [len(grid.apps)]


def test_a_connection_that_breaks_ends_the_round(twins, small):
    class Broken(InProcessGrid):
        def pull_messages(self, message_ids):
            raise ConnectionError("gone")

    world = twins(small)
    with pytest.raises(ConnectionError, match="gone"):
        world.deployed(Broken([world.app()] * 6))


def test_an_error_that_flower_reports_itself_finds_its_node(twins, small):
    """Of a node that is gone, Flower's own message says src_node_id = 1; what it answers tells whose it is."""
    world = twins(small)

    class Reporting(InProcessGrid):
        def pull_messages(self, message_ids):
            found = list(super().pull_messages(message_ids))
            for reply in found:
                if reply.has_error():
                    reply.metadata.__dict__["_src_node_id"] = 1
                    reply.metadata.__dict__["_message_id"] = ""
            return found

    def fail(content):
        raise RuntimeError

    strategy, apps = world.strategy(), [world.app() for _ in range(5)]
    params, _ = world.deployed(Reporting([*apps, broken()]), strategy)
    assert torch.equal(params, _without(world)[0])
    assert strategy.offences == {"node-6": {"error": 3}}


def broken():
    """An app whose process dies before it can answer."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context):
        raise SystemError("killed")

    return app
