"""A private rule over real nodes: every round is counted, a budget ends the run, and no crash and no absence cheats it."""

import json
from dataclasses import replace

import pytest
import torch
from flwr.app import ArrayRecord

from phalanx.aggregators import Mean
from phalanx.attacks import Adversary, FirstClients
from phalanx.attacks.data import EdgeCase
from phalanx.cli import federating
from phalanx.cli.main import app as command
from phalanx.config import EvaluationSettings, PrivacySettings, RunSettings
from phalanx.core.errors import CheckpointError, ConfigError, PrivacyBudgetExhausted
from phalanx.data import IID, Digits
from phalanx.flower import InProcessGrid, RobustStrategy, experiment_client, serve
from phalanx.privacy import CentralDP, LocalDP
from phalanx.privacy.accounting import epsilon
from phalanx.server import FixedSize, Poisson
from phalanx.training import SGD

NOISE = 4.0
SECRET = CentralDP(clip_norm=1.0, noise_multiplier=NOISE, expected_clients=3.0, secure_rng=True)
HALF = Poisson(rate=0.5)


class Killed(BaseException):
    pass


class Log:
    """Keeps events, and kills the server behind the event of some round."""

    def __init__(self, kill_after=None):
        self.events, self.kill_after = [], kill_after

    def emit(self, event):
        self.events.append(event)
        if event.kind == "round" and event.round == self.kill_after:
            raise Killed

    def of(self, kind):
        return [event.values for event in self.events if event.kind == kind]


@pytest.fixture
def private(twins, small):
    """The small federation with a private rule, sampled by coins."""
    return twins(replace(small, aggregator=SECRET, participation=HALF))


def costs(count):
    return epsilon(NOISE, 0.5, count, 1e-5)


def start(world, strategy, count=6, grid=None, **options):
    return strategy.start(grid or world.grid(), ArrayRecord(world.model().state_dict()), num_rounds=count, timeout=1, **options)


def test_every_round_says_what_has_been_spent_with_all_that_it_means(private):
    log = Log()
    strategy = private.strategy(sinks=[log])
    start(private, strategy, 3)
    [begun] = log.of("privacy")
    assert begun["at_end"] == pytest.approx(costs(3), rel=1e-4)
    assert begun["statement"].endswith(
        "each client · add/remove · δ = 1e-05 · Poisson sampling · PLD · trusted: the server, whoever knows run.seed"
    )
    assert [values["epsilon"] for values in log.of("round")] == [pytest.approx(costs(n), rel=1e-4) for n in (1, 2, 3)]
    assert strategy.spent["epsilon"] == pytest.approx(costs(3), rel=1e-4)


def test_the_simulator_counts_the_same(twins, small):
    rule = replace(SECRET, secure_rng=False)
    world, log = twins(replace(small, aggregator=rule, participation=HALF)), Log()
    params, _ = world.deployed(strategy=world.strategy(sinks=[log]))
    assert torch.equal(params, world.simulated().params)
    assert log.of("round")[-1]["epsilon"] == pytest.approx(costs(3), rel=1e-4)


def test_a_budget_ends_the_run_behind_the_last_round_that_it_pays_for(private):
    log, tested = Log(), []
    strategy = private.strategy(sinks=[log], privacy=PrivacySettings(max_epsilon=costs(2) * 1.001))
    result = start(private, strategy, evaluate_fn=lambda round, arrays: tested.append((round, strategy.stopped is None)))
    assert len(log.of("round")) == 2
    assert tested == [(0, True), (1, True), (2, False)]  # whoever tests knows that this round is the last one
    assert strategy.stopped.startswith(
        "The privacy budget is spent after round 2 of 6: another would pass privacy.max_epsilon, ε = "
    )
    assert sorted(result.train_metrics_clientapp) == [1, 2]
    assert start(private, strategy, 2).arrays
    assert strategy.stopped is None


def test_a_resumed_federation_remembers_what_it_has_spent(private, tmp_path):
    settings = PrivacySettings(max_epsilon=costs(3) * 1.001)
    first = private.strategy(folder=tmp_path, privacy=settings)
    start(private, first, 2)
    log = Log()
    second = private.strategy(folder=tmp_path, privacy=settings, sinks=[log])
    start(private, second, 6)
    assert [values["epsilon"] for values in log.of("round")] == [pytest.approx(costs(3), rel=1e-4)]
    assert "spent after round 3 of 6" in second.stopped
    third = private.strategy(folder=tmp_path, privacy=settings)
    start(private, third, 6)  # and asks nobody for another
    assert third.stopped == second.stopped
    kinds = [json.loads(line)["event"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert kinds == ["privacy", "round", "round", "round"]


def test_a_federation_goes_on_at_the_rate_that_it_was_counted_at(twins, small, tmp_path):
    """3 of 6 nodes are not 3 of 7: the rounds before would be counted as cheaper than they were."""
    world, settings = (
        twins(replace(small, aggregator=SECRET, participation=FixedSize(size=3))),
        PrivacySettings(accountant="rdp"),
    )
    start(world, world.strategy(folder=tmp_path, privacy=settings), 1)
    other = RobustStrategy(
        aggregator=SECRET,
        participation=FixedSize(size=3),
        privacy=settings,
        seed=small.run.seed,
        run=world.experiment.digest(),
        model=world.model(),
        min_nodes=7,
        folder=tmp_path,
    )
    with pytest.raises(CheckpointError, match="belongs to another run"):
        start(world, other, 2)


@pytest.mark.parametrize("after", [0, 1])
def test_a_round_that_a_crash_undid_is_paid_for(private, tmp_path, after):
    """Its noise was another one, and its answers, too: what was made of them may have been seen."""
    with pytest.raises(Killed):
        start(private, private.strategy(folder=tmp_path, sinks=[Log(kill_after=after)]))
    log = Log()
    strategy = private.strategy(folder=tmp_path, sinks=[log], privacy=PrivacySettings(max_epsilon=costs(4) * 1.001))
    start(private, strategy)
    assert [event.round for event in log.events if event.kind == "round"] == list(range(after, 3))
    assert log.of("round")[-1]["epsilon"] == pytest.approx(costs(4), rel=1e-4)
    assert log.of("privacy")[0]["epsilon"] == pytest.approx(costs(after + 1), rel=1e-4)


def test_nobody_is_drawn_more_often_because_another_is_away(twins, small):
    """Fixed-size sampling is counted at 3 of 6; with two nodes away 3 of 4 would be drawn, at a rate that nobody counted."""
    world, log = twins(replace(small, aggregator=SECRET, participation=FixedSize(size=3))), Log()
    grid = world.grid()
    log.emit = lambda event: (log.events.append(event), grid.offline.update({1, 2} if event.kind == "round" else ()))
    strategy = world.strategy(sinks=[log], wait_seconds=0, privacy=PrivacySettings(accountant="rdp"))
    start(world, strategy, 12, grid)
    drawn = [values["sampled"] for values in log.of("round")][1:]
    assert max(drawn) <= 3
    assert 1.4 < sum(drawn) / len(drawn) < 2.6  # 2 of 6 × 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"aggregator": Mean(), "privacy": PrivacySettings()}, "the rule mean is not differentially private"),
        ({"privacy": PrivacySettings(max_epsilon=0.01)}, "The first round alone would spend more than ε = 0.01"),
        ({"privacy": PrivacySettings(0.5)}, "give away one client of 6 altogether"),
        ({"participation": FixedSize(size=3)}, 'set accountant = "rdp"'),
    ],
)
def test_a_claim_that_cannot_be_counted_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        RobustStrategy(**{"aggregator": SECRET, "participation": HALF, "min_nodes": 6, **options})


@pytest.fixture
def experiment(small):
    return replace(
        small,
        run=RunSettings(rounds=8, seed=1),
        data=Digits(),
        partition=IID(num_clients=6),
        aggregator=SECRET,
        participation=HALF,
        privacy=PrivacySettings(max_epsilon=costs(3) * 1.001),
        evaluation=EvaluationSettings(every=0),
    )


def test_an_experiment_with_a_budget_leaves_a_folder_that_says_so(experiment, tmp_path, capsys):
    grid = InProcessGrid([experiment_client(experiment)] * 6)
    summary = serve(experiment, grid, folder=tmp_path, round_seconds=1)
    assert "spent after round 3 of 8" in summary["stopped"]
    assert summary["privacy"]["epsilon"] == pytest.approx(costs(3), rel=1e-4)
    assert {"accuracy", "epsilon"} <= summary["final"].keys()
    command(["show", str(tmp_path), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["privacy"]["statement"] == summary["privacy"]["statement"]
    with pytest.raises(PrivacyBudgetExhausted, match=r"spent after round 3 of 8.* The last model is in"):
        federating._tell_result({"folder": str(tmp_path)})
    assert summary["privacy"]["statement"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"aggregator": Mean()}, "neither the rule mean nor the training sgd is differentially private"),
        (
            {
                "aggregator": Mean(),
                "training": LocalDP(SGD(lr=0.1, steps=1), clip_norm=1.0, noise_multiplier=1.0, secure_rng=True),
            },
            "cannot be kept for local_dp here",
        ),
        (
            {"training": LocalDP(SGD(lr=0.1, steps=1), clip_norm=1.0, noise_multiplier=1.0, secure_rng=True)},
            "would both make a privacy claim",
        ),
        (
            {"adversary": Adversary(who=FirstClients(count=1), data=EdgeCase(source=0, target=1))},
            "edge_case is fitted to everyone's training samples",
        ),
    ],
    ids=["no private rule", "private training", "both", "a fitted trigger"],
)
def test_a_claim_that_has_no_proof_is_refused_before_anything_is_written(experiment, change, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        serve(replace(experiment, **change), None, folder=tmp_path)
