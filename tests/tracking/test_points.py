"""A run's points in each real tracker: all of its events, each once, whatever cut the run off."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from phalanx.aggregators import TrimmedMean
from phalanx.attacks import Adversary, FirstClients, SignFlip
from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import Stopped
from phalanx.core.events import Event
from phalanx.core.families import Tracker
from phalanx.data import IID, Synthetic
from phalanx.experiments import resume, run
from phalanx.models import MLP
from phalanx.tracking.scalars import scalars
from phalanx.training import SGD

KINDS = ("tensorboard", "mlflow", "wandb")
SMALL = Experiment(
    run=RunSettings(rounds=6, seed=3, checkpoint_seconds=1000.0),
    data=Synthetic(num_samples=300, num_features=8, num_classes=3),
    partition=IID(num_clients=10),
    model=MLP(hidden=(8,)),
    training=SGD(lr=0.1, steps=2, batch_size=8),
    aggregator=TrimmedMean(2),
    adversary=Adversary(who=FirstClients(count=2), update=SignFlip()),
)


def tracked(*kinds: str) -> Experiment:
    return replace(SMALL, tracking=tuple(Tracker.from_table({"kind": kind}) for kind in kinds))


def events_of(folder) -> list[Event]:
    return [Event.from_dict(json.loads(line)) for line in (folder / "events.jsonl").read_text().splitlines()]


def check(found, folder):
    """Every number of events.jsonl is a point, there is no other, and none is there twice."""
    found = [point for point in found if not point[0].startswith("final/")]
    expected = {(name, event.round): value for event in events_of(folder) for name, value in scalars(event).items()}
    assert set(Counter((name, step) for name, step, _ in found).values()) == {1}
    assert {(name, step) for name, step, _ in found} == set(expected)
    for name, step, value in found:
        # A round that was done again has its times from one of the two.
        assert name.startswith("seconds/") or value == pytest.approx(expected[name, step], rel=1e-6), (name, step)
    assert {"round/loss", "evaluation/accuracy", "round/honest_norm", "round/rejected", "seconds/train"} <= {
        name for name, *_ in found
    }


@pytest.fixture(scope="module")
def straight(tmp_path_factory, with_tables):
    """A run with all trackers that was never cut off."""
    folder = tmp_path_factory.mktemp("straight") / "my-run"
    return run(tracked(*KINDS), out=with_tables(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_every_event_is_one_point_at_its_round(straight, points, kind):
    check(points[kind](straight.folder), straight.folder)


def test_a_finished_run_is_read_back_without_a_tracker(straight, points):
    before = {kind: points[kind](straight.folder) for kind in KINDS}
    files = sorted(path for path in straight.folder.rglob("*"))
    resume(straight.folder)
    assert sorted(path for path in straight.folder.rglob("*")) == files
    assert {kind: points[kind](straight.folder) for kind in KINDS} == before


def test_trackers_change_neither_the_result_nor_the_digest(straight, tmp_path):
    assert tracked(*KINDS).digest() == SMALL.digest()
    alone = run(SMALL, out=tmp_path / "alone")
    for name in ("result.json", "model.safetensors"):
        assert (alone.folder / name).read_bytes() == (straight.folder / name).read_bytes()
    assert not {"tracking", "tensorboard", "mlflow.db", "wandb"} & {path.name for path in alone.folder.iterdir()}


class StopAfter:
    """Asks the run to stop in the middle of what it tells of round 3: trackers have its round, and not its evaluation."""

    def emit(self, event):
        if event.kind == "evaluation" and event.round == 3:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_in_the_same_tracker_run_without_double_points(points, with_tables, tmp_path, kind):
    with_tables(tmp_path / "a")
    with pytest.raises(Stopped):
        run(tracked(kind), out=tmp_path / "a", sinks=[StopAfter()])
    assert {step for _, step, _ in points[kind](tmp_path / "a")} == {0, 1, 2, 3}
    resume(tmp_path / "a")
    check(points[kind](tmp_path / "a"), tmp_path / "a")


KILLED = """
import os, sys
from phalanx.config import Experiment
from phalanx.experiments import run
class Kill:
    def emit(self, event):
        if event.kind == "round" and event.round == 4:
            os.kill(os.getpid(), 9)
run(Experiment.load(sys.argv[1]), out=sys.argv[2], sinks=[Kill()])
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory, with_tables):
    """A run with all trackers that was killed, and began again."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "e.toml").write_text(tracked(*KINDS).to_toml())
    process = subprocess.run([sys.executable, "-c", KILLED, str(folder / "e.toml"), str(with_tables(folder / "a"))])
    assert process.returncode == -signal.SIGKILL
    assert not list((folder / "a" / "checkpoint").iterdir())
    return resume(folder / "a")


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_that_begins_again_leaves_neither_double_nor_contradicting_points(points, killed, kind):
    check(points[kind](killed.folder), killed.folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tracker_that_is_switched_on_later_is_told_all_that_was(points, with_tables, tmp_path, kind):
    with_tables(tmp_path / "a")
    with pytest.raises(Stopped):
        run(SMALL, out=tmp_path / "a", sinks=[StopAfter()])
    run(tracked(kind), out=tmp_path / "a")
    check(points[kind](tmp_path / "a"), tmp_path / "a")
