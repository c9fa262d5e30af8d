"""A run with a threshold and an undefended run to compare with: what its events, its end and its page say."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

import phalanx
from phalanx.attacks import Adversary, Backdoor, FirstClients, LabelFlipAll, Patch
from phalanx.cli.running import summary
from phalanx.config import EvaluationSettings, RunSettings
from phalanx.core.errors import ConfigError
from phalanx.data import IID, Digits
from phalanx.experiments import RunRecord
from phalanx.models import MLP
from phalanx.report.group import of_runs
from phalanx.report.panel import Grid, Plot, Text
from phalanx.report.panels import Refusals
from phalanx.training import SGD

PLAIN = phalanx.Experiment(
    run=RunSettings(rounds=2, seed=1),
    data=Digits(),
    partition=IID(num_clients=4),
    model=MLP(hidden=(8,)),
    training=SGD(lr=0.1, epochs=2),
    adversary=Adversary(who=FirstClients(count=2), data=Backdoor(Patch(3), target=3, share=0.5)),
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folders of an undefended run and of one that is tested beside it."""
    folder = tmp_path_factory.mktemp("runs")
    phalanx.run(PLAIN, out=folder / "plain")
    told = EvaluationSettings(tau=0.4, undefended=str(folder / "plain"))
    return folder, phalanx.run(replace(PLAIN, training=SGD(lr=0.02, epochs=1), evaluation=told), out=folder / "defended")


def test_events_hold_both_thresholds_the_curve_and_the_bound(both):
    folder, result = both
    events = [json.loads(line) for line in (folder / "defended" / "events.jsonl").read_text().splitlines()]
    tested = [event for event in events if event["event"] == "evaluation"]
    assert len(tested) == 2
    for event in tested:
        assert event["tau"] == 0.4
        assert event["gated_accuracy"] <= event["accuracy"]
        assert event["gated_attack_success"] <= min(event["attack_success"], event["success_bound"])
        assert event["over_tau"]["tau"] == [*(step / 20 for step in range(20)), 0.99, 1.0]
        assert event["over_tau"]["accuracy"][0] == pytest.approx(event["accuracy"], abs=1e-3)
        assert event["over_tau"]["attack_success"][8] == pytest.approx(event["gated_attack_success"], abs=1e-3)
    assert "over_tau" not in result.summary["final"]


def test_the_end_of_a_run_says_the_bound_with_what_it_is_not(both):
    console = Console(width=120, record=True)
    console.print(summary(both[1]))
    text = " ".join(console.export_text().split())
    assert "refusing below tau = 0.4" in text
    assert "bound on attack success" in text
    assert "certificate" in text


def test_the_page_has_a_table_the_sentence_and_a_curve(both):
    folder, _ = both
    grid, text, plot = Refusals().show(of_runs([RunRecord.read(folder / "defended")]))
    assert isinstance(grid, Grid)
    assert isinstance(text, Text)
    assert isinstance(plot, Plot)
    assert grid.head[:2] == ["experiment", "tau"]
    assert "bound at tau" in grid.head
    assert "not a certificate" in text.text
    assert plot.alt.startswith("Accuracy and attack success over the threshold tau. At 0: accuracy ")
    assert Refusals().show(of_runs([RunRecord.read(folder / "plain")])) is None


def test_settings_that_are_not_asked_for_leave_digest_and_events_alone(both):
    events = (both[0] / "plain" / "events.jsonl").read_text()
    assert "tau" not in events
    assert "tau" not in PLAIN.to_toml()


def test_a_comparison_without_a_target_or_without_a_run_is_refused_before_round_0(tmp_path):
    settings = EvaluationSettings(undefended=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="There is no finished run in"):
        phalanx.run(replace(PLAIN, evaluation=settings))
    untargeted = Adversary(who=FirstClients(count=1), data=LabelFlipAll())
    with pytest.raises(ConfigError, match=r"set adversary.data to one with a target"):
        phalanx.run(replace(PLAIN, adversary=untargeted, evaluation=settings))
    with pytest.raises(ConfigError, match="tau"):
        EvaluationSettings(tau=1.5)
