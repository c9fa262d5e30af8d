"""`phalanx audit`: the claim with its statement, the bound, the verdict; and an exit code for scripts."""

import json
from dataclasses import replace

import pytest
import typer

from phalanx.cli import auditing
from phalanx.cli.auditing import audit_file
from phalanx.core.errors import ConfigError
from phalanx.experiments.auditing import audit
from phalanx.experiments.auditing.game import Game

PRIVATE = """
[run]
rounds = 5
[data]
kind = "synthetic"
num_samples = 600
num_features = 20
num_classes = 10
[partition]
kind = "iid"
num_clients = 200
[participation]
kind = "poisson"
rate = 0.2
[model]
kind = "logistic_regression"
[aggregator]
kind = "central_dp"
clip_norm = 1.0
noise_multiplier = 4.0
expected_clients = 40
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "private.toml"
    path.write_text(PRIVATE)
    return path


def test_the_claim_stands_with_its_statement_and_the_verdict_is_a_sentence(config, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    audit_file(config, [], 0.99, 0, as_json=False)
    shown = capsys.readouterr().out
    assert (
        "each client · add/remove · δ = 1e-05 · Poisson sampling · PLD · trusted: the server, whoever knows run.seed" in shown
    )
    assert "with confidence 99 %" in shown
    assert "200 clients, each in or out by a fair coin, 5 rounds" in shown
    assert "Nothing speaks against the claim" in shown


def test_json_holds_all_of_it_and_settings_change_what_is_audited(config, capsys):
    audit_file(config, ["run.rounds=3"], 0.95, 3, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["contradicted"], document["rounds"]) == ("audit", False, 3)
    assert document["claim"]["statement"].startswith("ε = ")
    assert document["audit"]["confidence"] == 0.95
    assert document["audit"]["lower_bound"] <= document["claim"]["epsilon"]
    assert 0 <= document["membership"]["by_likelihood"] <= 1


def test_members_are_shown_if_asked_for(config, capsys):
    audit_file(config, ["run.rounds=1"], 0.99, 3, as_json=False)
    shown = capsys.readouterr().out
    assert "members by loss" in shown
    assert "members by likelihood" in shown


def test_a_false_claim_ends_in_exit_code_1(config, capsys, monkeypatch):
    def faulty(experiment, **options):
        report = audit(experiment, **options)
        return replace(report, shown=replace(report.shown, lower_bound=4.0))

    monkeypatch.setattr(auditing, "audit", faulty)
    with pytest.raises(typer.Exit) as exit:
        audit_file(config, [], 0.99, 0, as_json=False)
    assert exit.value.exit_code == 1
    assert "The claim is false: with confidence 99 %, ε is at least 4.00" in " ".join(capsys.readouterr().out.split())


def test_what_claims_nothing_is_refused(config):
    with pytest.raises(ConfigError, match="is differentially private"):
        audit_file(config, ["aggregator.kind=mean"], 0.99, 0, as_json=False)


LEAKING = """
[run]
rounds = 2
[data]
kind = "digits"
[partition]
kind = "iid"
num_clients = 200
[participation]
kind = "poisson"
rate = 0.2
[model]
kind = "logistic_regression"
[training]
kind = "sgd"
lr = 0.1
batch_size = 1
steps = 1
[aggregator]
kind = "central_dp"
clip_norm = 1.0
noise_multiplier = 4.0
expected_clients = 40
[evaluation.inversion]
attack = { kind = "linear_recovery" }
client = 3
rounds = [0, 1]
"""


def test_what_the_trusted_server_finds_of_a_clients_image_stands_beside_the_bound(tmp_path, capsys):
    path = tmp_path / "leaking.toml"
    path.write_text(LEAKING)
    audit_file(path, ["participation.rate=1.0", "aggregator.expected_clients=200"], 0.99, 0, as_json=True)
    found = json.loads(capsys.readouterr().out)["reconstruction"]
    assert found["client"] == 3
    assert found["psnr"] > 40 > found["baseline"]
    audit_file(path, ["participation.rate=1.0", "aggregator.expected_clients=200"], 0.99, 0, as_json=False)
    assert "in an update of client 3" in capsys.readouterr().out


def test_an_inversion_that_cannot_be_is_refused_before_the_game(tmp_path, monkeypatch):
    path = tmp_path / "leaking.toml"
    path.write_text(LEAKING)
    monkeypatch.setattr(Game, "play", lambda self, confidence: pytest.fail("The game was played."))
    with pytest.raises(ConfigError, match="got an update of 2"):
        audit_file(path, ["training.batch_size=2"], 0.99, 0, as_json=True)


def test_where_the_client_was_not_there_the_audit_says_so(tmp_path, capsys):
    path = tmp_path / "absent.toml"
    path.write_text(LEAKING)
    audit_file(path, ["participation.rate=0.005", "aggregator.expected_clients=1"], 0.99, 0, as_json=False)
    assert "client 3 could not be attacked" in capsys.readouterr().out
