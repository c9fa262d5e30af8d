"""What a run tells its trackers about itself."""

from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import pytest

from phalanx.aggregators import Median
from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import ConfigError
from phalanx.core.families import Tracker
from phalanx.experiments import run

SMALL = Experiment(run=RunSettings(rounds=2), aggregator=Median())


class Listening(Tracker):
    """Keeps what it is told; may ask for a password in its fields."""

    address: str = "https://user:password@host"
    is_refused: bool = False
    facts: ClassVar[object] = None
    events: ClassVar[list[object]] = []

    def check(self, folder):
        if self.is_refused:
            raise ConfigError("It needs the package listening.")

    @contextmanager
    def open(self, run):
        Listening.facts = run
        Listening.events.clear()
        yield self

    def emit(self, event):
        Listening.events.append((event.kind, event.round))


LISTENED = replace(SMALL, tracking=(Listening(),))


def test_a_tracker_is_told_every_event_and_the_end(tmp_path):
    result = run(LISTENED, out=tmp_path / "my-run")
    assert Listening.events == [("round", 0), ("evaluation", 0), ("round", 1), ("evaluation", 1), ("end", 1)]
    assert (Listening.facts.name, Listening.facts.folder) == ("my-run", tmp_path / "my-run")
    assert Listening.facts.tags["phalanx.experiment"] == SMALL.digest() == result.summary["experiment"]
    assert Listening.facts.config["aggregator"]["kind"] == "median"


def test_a_run_in_memory_is_named_after_its_rule_and_digest():
    run(LISTENED)
    assert (Listening.facts.name, Listening.facts.folder) == (f"median-{SMALL.digest()}", None)


def test_what_trackers_are_configured_with_is_told_to_none():
    run(LISTENED)
    assert "tracking" not in Listening.facts.config
    assert "password" not in repr(Listening.facts)


def test_a_finished_run_is_read_back_though_its_tracker_could_not_follow_it(tmp_path):
    refused = replace(SMALL, tracking=(Listening(is_refused=True),))
    with pytest.raises(ConfigError, match="needs the package listening"):
        run(refused, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    finished = run(LISTENED, out=tmp_path / "a")
    Listening.events.clear()
    assert run(refused, out=tmp_path / "a").summary == finished.summary
    assert Listening.events == []
