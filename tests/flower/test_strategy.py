"""Who takes part, how long a round waits, what is refused before round 1, and how a stopped federation goes on."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from phalanx.aggregators import DnC, FLDetector, FLTrust, Krum, Mean, Median, SkyMask, TrimmedMean
from phalanx.attacks import SignFlip
from phalanx.core.errors import CapabilityError, CheckpointError, ConfigError, FederationError, PreconditionError
from phalanx.core.types import Samples
from phalanx.flower import InProcessGrid, RobustStrategy, attacking, attendance, client_app, exchange
from phalanx.flower.roster import Roster
from phalanx.privacy import CentralDP
from phalanx.server import FedAdam, FixedSize, Poisson, Screening
from phalanx.training import DPSGD, SGD, WorkerMomentum

PRIVATE = CentralDP(clip_norm=1.0, noise_multiplier=1.0, expected_clients=3)


class Log:
    """A sink that keeps what it is told, and stops the run after some round."""

    def __init__(self, stop_after=None):
        self.events, self.stop_after = [], stop_after

    def emit(self, event):
        self.events.append(event)
        if event.round == self.stop_after:
            raise Killed


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"aggregator": Krum(num_byzantine=2), "min_nodes": 4}, PreconditionError, "n >="),
        ({"aggregator": FLTrust()}, CapabilityError, "trusted root data"),
        ({"aggregator": SkyMask()}, CapabilityError, "this federation does not have it"),
        ({"aggregator": Mean(), "screening": Screening(weights="samples")}, ConfigError, "max_samples"),
        (
            {"aggregator": Median(), "screening": Screening(weights="samples", max_samples=9)},
            ConfigError,
            "would change nothing",
        ),
        ({"aggregator": Mean(), "min_nodes": 2, "quorum": 3}, ConfigError, "min_nodes >= quorum >= 1"),
        (
            {"aggregator": Mean(), "min_nodes": 6, "quorum": 3, "participation": FixedSize(size=2)},
            ConfigError,
            "at most 2 take",
        ),
        ({"aggregator": Mean(), "min_nodes": 3, "participation": FixedSize(size=5)}, ConfigError, "size=5, 3 clients"),
        ({"aggregator": PRIVATE, "min_nodes": 5}, ConfigError, "expected_clients = 3, but a round samples 5"),
        ({"aggregator": PRIVATE, "min_nodes": 3}, ConfigError, "noise of central_dp would follow from seed=0.*secure_rng"),
        (
            {"aggregator": replace(PRIVATE, secure_rng=True), "min_nodes": 3, "screening": Screening(norm_cap=10.0)},
            ConfigError,
            "central_dp clips every row alone",
        ),
        ({"aggregator": Mean(), "root_trainer": SGD(lr=0.1, steps=1)}, ConfigError, "root_trainer"),
    ],
)
def test_a_combination_that_cannot_work_is_refused_at_once(options, error, sentence):
    with pytest.raises(error, match=sentence):
        RobustStrategy(**options)


@pytest.mark.parametrize(
    "numbers",
    [
        {"min_nodes": math.nan},
        {"min_nodes": 2.0},
        {"quorum": 1.5},
        {"quorum": True},
        {"quorum": "1"},
        {"quorum": 0},
        {"wait_seconds": math.nan},
        {"wait_seconds": -1.0},
        {"wait_seconds": "300"},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused_by_name(numbers):
    [(name, number)] = numbers.items()
    with pytest.raises(ConfigError, match=f"whole numbers min_nodes >= quorum >= 1 .*{name}={number!r}"):
        RobustStrategy(aggregator=Mean(), **numbers)


@pytest.mark.parametrize("timeout", [math.nan, math.inf, 0, -1.0, "600", None])
def test_a_round_without_an_end_is_refused(twins, small, timeout):
    world = twins(small)
    with pytest.raises(ConfigError, match=f"a finite number of seconds above 0; got {timeout!r}"):
        world.strategy().start(world.grid(), ArrayRecord(world.model().state_dict()), 1, timeout)


def test_a_federation_may_wait_for_its_nodes_for_ever(twins, small):
    world = twins(small)
    assert torch.equal(world.deployed(strategy=world.strategy(wait_seconds=math.inf))[0], world.deployed()[0])


def test_a_model_that_is_not_the_initial_one_is_refused(twins, small):
    strategy = RobustStrategy(aggregator=Mean(), model=nn.Linear(3, 2))
    with pytest.raises(ConfigError, match="not the state of `model`"):
        strategy.start(twins(small).grid(), ArrayRecord(twins(small).model().state_dict()), 1)


@pytest.mark.parametrize("arrays", [[np.zeros(3, np.int64)], [np.zeros(3, np.float16)], [np.zeros(2, complex)], []])
def test_a_model_that_cannot_be_trained_is_refused(arrays):
    grid = InProcessGrid([ClientApp(), ClientApp()])
    with pytest.raises(ConfigError, match=r"nothing to train|float32 or float64"):
        RobustStrategy(aggregator=Mean()).start(grid, ArrayRecord(arrays), 1)


def test_too_few_nodes_end_the_run_in_a_sentence(twins, small):
    world = twins(small)
    grid = world.grid()
    grid.offline = {1, 2}
    strategy = world.strategy(wait_seconds=0)
    with pytest.raises(FederationError, match=r"4 nodes are there after 0 s, 6 are needed"):
        world.deployed(grid, strategy)


def test_the_first_round_waits_until_enough_nodes_are_there(twins, small, monkeypatch):
    world = twins(small)
    grid = world.grid()
    grid.offline = {1}
    monkeypatch.setattr(attendance.time, "sleep", lambda seconds: grid.offline.clear())
    assert torch.equal(world.deployed(grid)[0], world.deployed()[0])


def test_a_round_below_the_quorum_keeps_the_model_and_says_so(twins, small):
    world = twins(replace(small, run=replace(small.run, rounds=1)))
    log, grid = Log(), world.grid(node_1=lambda content: RecordDict(), node_2=lambda content: RecordDict())
    strategy = world.strategy(quorum=5, sinks=[log])
    params, _ = world.deployed(grid, strategy)
    assert torch.equal(params, torch.cat([p.detach().reshape(-1) for p in world.model().parameters()]))
    assert log.events[0].values["kept_model"] == "4 updates are fewer than the quorum of 5."


def test_a_private_rule_answers_to_nobody_as_to_many(twins, small):
    """Without noise in an empty round everyone would know that nobody was there."""
    private = CentralDP(clip_norm=1.0, noise_multiplier=1.0, expected_clients=6, secure_rng=True)
    world, log = twins(replace(small, aggregator=private, run=replace(small.run, rounds=1))), Log()
    grid = world.grid()
    grid.silent = set(grid.apps)
    params, _ = world.deployed(grid, world.strategy(quorum=5, sinks=[log]))
    assert "kept_model" not in log.events[0].values
    assert float((params - torch.cat([p.detach().reshape(-1) for p in world.model().parameters()])).std()) > 0.1


def test_a_rule_left_with_too_few_rows_keeps_the_model_and_goes_on_next_round(twins, small):
    log = Log()
    world = twins(replace(small, aggregator=Krum(num_byzantine=1)))
    grid = world.grid()
    strategy = world.strategy(sinks=[log])
    grid.silent = {2, 3, 4}
    log.emit = lambda event: (log.events.append(event), grid.silent.clear())
    world.deployed(grid, strategy)
    assert ["kept_model" in event.values for event in log.events] == [True, False, False]


def test_a_round_ends_when_time_is_up(twins, small):
    world = twins(replace(small, run=replace(small.run, rounds=1)))
    grid = world.grid()
    grid.silent = {1}
    messages = world.strategy().configure_train(1, ArrayRecord(world.model().state_dict()), {}, grid)
    assert len(exchange.exchange(grid, messages, timeout=0.5, most_bytes=10**6)) == 5


def test_sampling_is_seeded_and_leaves_global_streams_alone(twins, small, untouched_rng):
    world = twins(replace(small, participation=FixedSize(size=3)))
    drawn = []
    for _ in (0, 1):
        log = Log()
        world.deployed(strategy=world.strategy(sinks=[log]))
        drawn.append([event.values["clients"] for event in log.events])
    assert drawn[0] == drawn[1]
    assert len({tuple(clients) for clients in drawn[0]}) > 1


@pytest.mark.parametrize(
    ("sampler", "sizes"), [(FixedSize(size=5), {4}), (FixedSize(size=3), {3}), (Poisson(rate=0.4), {0, 1, 2, 3})]
)
def test_of_fewer_nodes_fewer_are_drawn_and_each_as_likely_as_before(twins, small, sampler, sizes):
    world, log = twins(replace(small, participation=sampler, run=replace(small.run, rounds=8))), Log()
    grid = world.grid()
    log.emit = lambda event: (log.events.append(event), grid.offline.update({1, 2}))
    world.deployed(grid, world.strategy(sinks=[log]))
    drawn = [event.values["sampled"] for event in log.events[1:]]
    assert set(drawn) <= sizes
    assert sampler.kind != "poisson" or 0.5 < sum(drawn) / len(drawn) < 2.7


def test_a_node_is_known_by_its_key():
    grid = InProcessGrid([ClientApp()] * 3, keys={1: b"alice", 2: b"bob"})
    roster = Roster()
    assert roster.online(grid) == {0: 1, 1: 2, 2: 3}
    again = InProcessGrid([ClientApp()] * 3, keys={3: b"alice", 1: b"bob", 2: b"carol"})
    assert Roster(roster.ids).online(again) == {0: 3, 1: 1, 3: 2}


def test_a_client_that_claims_privacy_says_nothing_without_noise(twins, small):
    answers = []

    def see(content):
        answers.append(content)
        return content

    for trainer in (SGD(lr=0.1, steps=2, batch_size=8), DPSGD(lr=0.1, steps=2, batch_size=8, noise_multiplier=1.0)):
        world = twins(replace(small, training=trainer, run=replace(small.run, rounds=1)))
        world.deployed(world.grid(node_1=see))
    assert [sorted(content) for content in answers] == [["metrics", "phalanx.update"], ["phalanx.update"]]


def test_node_ids_are_unsigned_64_bit_numbers():
    class Far(InProcessGrid):
        def get_node_ids(self):
            return [2**64 - 1]

    assert Roster().online(Far([ClientApp()])) == {0: 2**64 - 1}


def test_memory_is_by_client_though_others_come_and_go(twins, small):
    """FLDetector judges each client by its own history: a node that is away for a round is the same one when it is back."""
    world, log = twins(replace(small, aggregator=FLDetector(), run=replace(small.run, rounds=4))), Log()
    grid = world.grid()
    strategy = world.strategy(sinks=[log])
    log.emit = lambda event: (log.events.append(event), setattr(grid, "offline", {2} if event.round == 0 else set()))
    world.deployed(grid, strategy)
    assert [event.values["clients"] for event in log.events] == [[*range(6)], [0, 2, 3, 4, 5], [*range(6)], [*range(6)]]
    assert strategy.offences == {}


def quickstart(samples, *mods):
    """A client as stock Flower apps are: plain torch trains, and the whole model is sent back. It knows nothing of Phalanx."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context):
        model = net()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        images, labels = samples(context)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        arrays, metrics = ArrayRecord(model.state_dict()), MetricRecord({"train_loss": 0.1, "num-examples": len(labels)})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def line(context):
    generator = torch.Generator().manual_seed(context.node_config["partition-id"])
    images = torch.randn(40, 4, generator=generator)
    return images, (images.sum(1) > 0).long()


def accuracy(arrays):
    model = net().eval()
    model.load_state_dict(arrays.to_torch_state_dict())
    images = torch.randn(500, 4, generator=torch.Generator().manual_seed(99))
    return float((model(images).argmax(1) == (images.sum(1) > 0)).float().mean())


@pytest.mark.parametrize("model", [None, net], ids=["without the module", "with the module"])
def test_a_stock_app_with_an_attacker_learns_behind_a_rule_and_not_without(model, small):
    def final(rule):
        apps = [quickstart(line) for _ in range(4)] + [quickstart(line, attacking(SignFlip(scale=20.0)))]
        strategy = RobustStrategy(aggregator=rule, model=model and model(), min_nodes=5)
        result = strategy.start(InProcessGrid(apps), ArrayRecord(net().state_dict()), num_rounds=8, timeout=1)
        return result.arrays

    defended, undefended = final(TrimmedMean(num_byzantine=1)), final(Mean())
    assert accuracy(defended) > 0.9
    assert accuracy(undefended) < 0.75
    assert list(defended) == list(net().state_dict())
    assert defended["1.num_batches_tracked"].numpy() == 0  # integers are the server's own, and stay integers


def test_an_app_of_bare_numpy_in_float64_works():
    app = ClientApp()

    @app.train()
    def train(message, context):
        [weights] = message.content["arrays"].to_numpy_ndarrays()
        target = np.arange(6, dtype=np.float64).reshape(2, 3)
        arrays = ArrayRecord([np.asfortranarray(weights + 0.5 * (target - weights))])
        return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 3})}), reply_to=message)

    result = RobustStrategy(aggregator=Median(), min_nodes=3).start(
        InProcessGrid([app] * 3), ArrayRecord([np.zeros((2, 3))]), num_rounds=20, timeout=1
    )
    [weights] = result.arrays.to_numpy_ndarrays()
    assert weights.dtype == np.float64
    assert np.allclose(weights, np.arange(6).reshape(2, 3), atol=1e-4)


def test_tied_and_frozen_parameters_stay_so():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.frozen, self.second = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.second(self.frozen(self.first(x)))

    def make():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Tied()

    samples = Samples(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3, 3)
    app = client_app(SGD(lr=0.5, steps=3, batch_size=4), model=make, data=lambda context: samples)
    strategy = RobustStrategy(aggregator=Mean(), model=make(), min_nodes=2)
    before = ArrayRecord(make().state_dict())
    after = strategy.start(InProcessGrid([app, app]), before, num_rounds=2, timeout=1).arrays
    assert np.array_equal(after["first.weight"].numpy(), after["second.weight"].numpy())
    assert not np.array_equal(after["first.weight"].numpy(), before["first.weight"].numpy())
    assert np.array_equal(after["frozen.weight"].numpy(), before["frozen.weight"].numpy())


def test_what_the_server_says_of_a_round_is_its_own_count(twins, small):
    world = twins(small)
    grid = world.grid(node_6=lambda content: RecordDict())
    result = world.strategy().start(
        grid,
        ArrayRecord(world.model().state_dict()),
        num_rounds=1,
        evaluate_fn=lambda round, arrays: MetricRecord({"r": round}),
    )
    assert dict(result.train_metrics_clientapp[1]) == {
        "sampled": 6,
        "received": 6,
        "no-answer": 0,
        "rejected": 1,
        "kept-model": 0,
    }
    assert {round: dict(record) for round, record in result.evaluate_metrics_serverapp.items()} == {0: {"r": 0}, 1: {"r": 1}}


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_killed_server_goes_on_to_the_same_bytes(twins, small, tmp_path, stop_after):
    world = twins(
        replace(
            small,
            run=replace(small.run, rounds=5),
            aggregator=FLDetector(),
            server=FedAdam(),
            training=WorkerMomentum(SGD(lr=0.1, steps=2, batch_size=8)),
        )
    )
    grid = world.grid(node_6=lambda content: RecordDict())
    # Killed after a round's event and before its checkpoint: that round is made again.
    with pytest.raises(Killed):
        world.deployed(grid, world.strategy(folder=tmp_path, sinks=[Log(stop_after)]))
    grid.contexts = contexts_after(world, stop_after)
    strategy = world.strategy(folder=tmp_path)
    resumed = world.deployed(grid, strategy)
    straight = world.deployed(world.grid(node_6=lambda content: RecordDict()))
    assert resumed[0].numpy().tobytes() == straight[0].numpy().tobytes()
    assert strategy.offences == {"node-6": {"wrong records": 5}}
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 5


def test_a_resumed_federation_goes_on_with_whoever_is_there(twins, small, tmp_path):
    """Of the node that died, the server's death must not make one that is waited for."""
    world, log = twins(small), Log()
    with pytest.raises(Killed):
        world.deployed(strategy=world.strategy(folder=tmp_path, sinks=[Log(stop_after=1)]))
    grid = world.grid()
    grid.offline = {6}
    world.deployed(grid, world.strategy(folder=tmp_path, sinks=[log], wait_seconds=0))
    assert [event.values["sampled"] for event in log.events] == [5, 5]


def contexts_after(world, rounds):
    """What the clients remember after so many rounds: it is theirs, and no checkpoint of the server's holds it."""
    grid = world.grid(node_6=lambda content: RecordDict())
    if rounds:
        type(world)(replace(world.experiment, run=replace(world.experiment.run, rounds=rounds))).deployed(grid)
    return grid.contexts


def test_a_finished_run_is_read_back(twins, small, tmp_path):
    world = twins(small)
    first = world.deployed(strategy=world.strategy(folder=tmp_path))
    grid = world.grid()
    grid.silent = set(grid.apps)  # nobody is asked again
    assert torch.equal(world.deployed(grid, world.strategy(folder=tmp_path))[0], first[0])


def test_events_that_are_shorter_than_the_checkpoint_says_are_refused_at_once_and_never_filled_up(twins, small, tmp_path):
    world, events = twins(small), tmp_path / "events.jsonl"
    world.deployed(strategy=world.strategy(folder=tmp_path))
    events.write_bytes(events.read_bytes()[:-9])
    before = events.read_bytes()
    with pytest.raises(CheckpointError, match=r"events\.jsonl is shorter than its checkpoint says; delete .* to start again"):
        world.deployed(strategy=world.strategy(folder=tmp_path))
    assert events.read_bytes() == before


def test_events_of_something_else_are_not_emptied(twins, small, tmp_path):
    world = twins(small)
    (tmp_path / "events.jsonl").write_text("of a run\n")
    with pytest.raises(CheckpointError, match="holds events, but there is no checkpoint of this federation"):
        world.deployed(strategy=world.strategy(folder=tmp_path))
    assert (tmp_path / "events.jsonl").read_text() == "of a run\n"
    (tmp_path / "federation.json").write_text('{"federation": "another"}')
    with pytest.raises(CheckpointError, match="there is no checkpoint of this federation"):
        world.deployed(strategy=world.strategy(folder=tmp_path))


def test_a_server_killed_between_the_first_event_and_the_first_checkpoint_begins_again(twins, small, tmp_path):
    world, rounds = twins(small), small.run.rounds

    def die(server_round, arrays):
        if server_round == 1:
            raise Killed

    with pytest.raises(Killed):
        world.strategy(folder=tmp_path).start(
            world.grid(), ArrayRecord(world.model().state_dict()), rounds, timeout=1, evaluate_fn=die
        )
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1
    resumed = world.deployed(strategy=world.strategy(folder=tmp_path))
    assert torch.equal(resumed[0], world.deployed()[0])
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == rounds


def test_a_federations_folder_with_a_link_is_refused(twins, small, tmp_path):
    world = twins(small)
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "events.jsonl").symlink_to(tmp_path / "thesis.tex")
    for _ in range(2):  # it has let go of the lock
        with pytest.raises(CheckpointError, match=r"events\.jsonl is a symbolic link"):
            world.deployed(strategy=world.strategy(folder=tmp_path / "folder"))
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_two_servers_cannot_run_one_folder(twins, small, tmp_path):
    world = twins(small)

    class Second:
        def emit(self, event):
            with pytest.raises(CheckpointError, match="another process is running it"):
                world.deployed(strategy=world.strategy(folder=tmp_path))

    world.deployed(strategy=world.strategy(folder=tmp_path, sinks=[Second()]))
    world.deployed(strategy=world.strategy(folder=tmp_path))


def test_another_federations_checkpoint_is_refused(twins, small, tmp_path):
    world = twins(small)
    world.deployed(strategy=world.strategy(folder=tmp_path))
    other = twins(replace(small, aggregator=DnC(num_byzantine=1)))
    with pytest.raises(CheckpointError, match="belongs to another run"):
        other.deployed(strategy=other.strategy(folder=tmp_path))


def test_a_damaged_checkpoint_is_passed_over(twins, small, tmp_path):
    world = twins(small)
    expected = world.deployed(strategy=world.strategy(folder=tmp_path))
    newest = max((tmp_path / "checkpoint").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"\0")
    assert torch.equal(world.deployed(strategy=world.strategy(folder=tmp_path))[0], expected[0])


@pytest.mark.parametrize("noisy", [{"noise_multiplier": 1.0}, {"noise_multiplier": 1.0, "secure_rng": True}])
def test_a_client_whose_noise_the_server_could_draw_again_is_refused(noisy):
    trainer = DPSGD(lr=0.1, steps=2, batch_size=8, **noisy)
    if "secure_rng" in noisy:
        assert client_app(trainer, model=net, data=lambda context: None)
    else:
        with pytest.raises(ConfigError, match=r"noise of dpsgd would follow from seed=0.*secure_rng = true"):
            client_app(trainer, model=net, data=lambda context: None)
