"""Private runs from config to result: the forecast, the budget's end, and books that survive a crash."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from phalanx.aggregators import Mean
from phalanx.cli.running import run_file
from phalanx.cli.showing import show_folder
from phalanx.config import EvaluationSettings, Experiment, PrivacySettings, RunSettings
from phalanx.core.errors import CheckpointError, PrivacyBudgetExhausted
from phalanx.data import IID, Synthetic
from phalanx.experiments import RunRecord, resume, run
from phalanx.experiments.privacy import stated
from phalanx.experiments.run import prepare
from phalanx.models import LogisticRegression
from phalanx.privacy import CentralDP, LocalDP, accounting
from phalanx.server import AllClients, Poisson
from phalanx.server.ledger import Ledger
from phalanx.simulation import Simulation
from phalanx.training import SGD

PRIVATE = Experiment(
    run=RunSettings(rounds=6, seed=3, checkpoint_seconds=0.0),
    data=Synthetic(num_samples=240, num_features=6, num_classes=3),
    partition=IID(num_clients=20),
    participation=Poisson(rate=0.25),
    model=LogisticRegression(),
    training=SGD(lr=0.1, steps=1, batch_size=4),
    aggregator=CentralDP(0.5, noise_multiplier=2.0, expected_clients=5.0),
    evaluation=EvaluationSettings(every=0),
)
LOCAL = replace(
    PRIVATE,
    participation=AllClients(),
    training=LocalDP(SGD(lr=0.1, steps=1, batch_size=4), clip_norm=0.5, noise_multiplier=20.0, secure_rng=True),
    aggregator=Mean(),
)
SECURE = replace(PRIVATE, aggregator=replace(PRIVATE.aggregator, secure_rng=True))
BUDGET = accounting.epsilon(2.0, 0.25, 4, 1e-5) * 1.0001
LIMITED = replace(PRIVATE, privacy=PrivacySettings(max_epsilon=BUDGET))


class Crash(Exception):
    """What stands for kill -9: nothing is saved on the way out."""


class CrashesAt:
    """A sink that ends a run in the round that it is told of."""

    def __init__(self, round):
        self.round = round
        self.seen = []

    def emit(self, event):
        self.seen.append(event)
        if event.kind == "round" and event.round == self.round:
            raise Crash


def crashed(experiment, folder, round):
    with pytest.raises(Crash):
        run(experiment, out=folder, sinks=[CrashesAt(round)])


def lasting(folder):
    """Everything that a run leaves but for seconds, and for the ledger, which holds repeated rounds twice."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        event.pop("seconds", None)
    return events, (folder / "result.json").read_bytes(), (folder / "model.safetensors").read_bytes()


def test_a_run_says_at_the_beginning_what_it_will_have_spent_in_the_end(tmp_path):
    listener = CrashesAt(None)
    result = run(PRIVATE, out=tmp_path / "run", sinks=[listener])
    assert [event.kind for event in listener.seen][:2] == ["privacy", "round"]
    at_end = listener.seen[0].values["at_end"]
    assert result.summary["privacy"]["epsilon"] == at_end == result.metrics[-1]["epsilon"]
    assert result.summary["privacy"]["statement"] == listener.seen[0].values["statement"]
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["privacy"] == result.summary["privacy"]
    assert "stopped" not in written


def test_the_budget_ends_a_run_with_the_last_model_that_it_pays_for(tmp_path):
    result = run(LIMITED, out=tmp_path / "run")
    assert result.metrics[-1]["round"] == 3
    assert result.summary["privacy"]["epsilon"] <= BUDGET
    assert result.summary["stopped"].startswith("The privacy budget is spent after round 4 of 6")
    federation, module = prepare(LIMITED, None, LIMITED.data.load())
    with Simulation(LIMITED, federation, module) as engine:
        state = engine.initial_state()
        for _ in range(4):
            state, _ = engine.step(state)
        expected = engine.load(state).state_dict()
    for name, tensor in load_file(tmp_path / "run" / "model.safetensors").items():
        assert torch.equal(tensor, expected[name])
    in_memory = run(LIMITED)
    assert in_memory.summary == result.summary
    assert run(LIMITED, out=tmp_path / "run").summary == result.summary  # read back, nothing is spent again


@pytest.mark.parametrize("experiment", [PRIVATE, LIMITED], ids=["all rounds", "to the budget"])
@pytest.mark.parametrize("every", [0, 1, 2])
def test_a_run_that_crashed_goes_on_to_the_same_bytes_and_the_same_epsilon(experiment, every, tmp_path):
    experiment = replace(experiment, evaluation=EvaluationSettings(every=every))
    run(experiment, out=tmp_path / "whole")
    crashed(experiment, tmp_path / "broken", 2)
    resume(tmp_path / "broken")
    assert lasting(tmp_path / "broken") == lasting(tmp_path / "whole")


def test_workers_keep_the_same_books_and_make_the_same_noise(tmp_path):
    seeded = replace(LOCAL, training=replace(LOCAL.training, secure_rng=False))
    one = run(seeded)
    two = run(replace(seeded, run=replace(seeded.run, workers=2)))
    assert one.summary == two.summary


@pytest.mark.parametrize("experiment", [PRIVATE, replace(LOCAL, training=replace(LOCAL.training, secure_rng=False))])
def test_two_experiments_of_one_seed_share_no_noise(experiment):
    """Who subtracts one result from another of the same clients would else be left with their sum, without noise."""

    def first_update(change):
        other = replace(experiment, privacy=PrivacySettings(delta=change))
        federation, module = prepare(other, None, other.data.load())
        with Simulation(other, federation, module) as engine:
            return engine.step(engine.initial_state())[0].previous_update

    one, same, another = (first_update(delta) for delta in (1e-6, 1e-6, 1e-7))
    assert torch.equal(one, same)
    noise = 2.0 * 0.5 / 5 if experiment is PRIVATE else 20.0 * 0.5 / 20**0.5
    # The difference of independent noises is √2 as large; of the same it would be rounding.
    assert 0.5 * noise < float((one - another).std()) < 3 * noise


def test_a_receipt_is_on_the_disk_before_anyone_hears_of_the_round(tmp_path):
    crashed(PRIVATE, tmp_path / "run", 2)
    assert [json.loads(line) for line in (tmp_path / "run" / "privacy.jsonl").read_text().splitlines()] == [
        {"round": 0},
        {"round": 1},
        {"round": 2},
    ]


@pytest.mark.parametrize("experiment", [SECURE, LOCAL], ids=["central", "local"])
def test_noise_that_was_given_away_before_a_crash_is_paid_again(experiment, tmp_path):
    """Other noise is drawn the second time: who saw both rounds knows more than one round gives away."""
    whole = run(experiment, out=tmp_path / "whole").summary["privacy"]
    for _ in range(2):
        crashed(experiment, tmp_path / "broken", 3)
    broken = resume(tmp_path / "broken").summary["privacy"]
    assert broken["epsilon"] > whole["epsilon"]
    assert broken["trusted"] == ("the server, whoever knows run.seed" if experiment is SECURE else "nobody")
    if experiment is SECURE:
        assert broken["epsilon"] == pytest.approx(accounting.epsilon(2.0, 0.25, 8, 1e-5), rel=1e-5)
    # Whoever reads the folder is told the same, and so is whoever watches the run that goes on, and reads its events after it.
    record = RunRecord.read(tmp_path / "broken")
    assert stated(record) == broken
    assert record.events[-1]["event"] == "evaluation"
    again = [event for event in record.events if event["event"] == "privacy"]
    assert len(again) > 1
    assert again[-1]["at_end"] == broken["epsilon"]


def test_a_stopped_run_that_paid_twice_is_shown_with_all_that_it_paid(tmp_path):
    crashed(SECURE, tmp_path / "run", 3)
    crashed(SECURE, tmp_path / "run", 3)
    spent = stated(RunRecord.read(tmp_path / "run"))
    assert spent["epsilon"] == pytest.approx(accounting.epsilon(2.0, 0.25, 5, 1e-5), rel=1e-5)


def test_seeded_noise_is_paid_again_where_the_last_bits_may_be_others(tmp_path):
    crashed(PRIVATE, tmp_path / "run", 3)
    manifest = tmp_path / "run" / "manifest.json"
    written = json.loads(manifest.read_text())
    written["device"] = "another"
    manifest.write_text(json.dumps(written))
    resumed = resume(tmp_path / "run").summary["privacy"]
    assert resumed["epsilon"] == pytest.approx(accounting.epsilon(2.0, 0.25, 7, 1e-5), rel=1e-5)


def test_who_starts_again_after_losing_the_checkpoints_has_not_forgotten(tmp_path):
    crashed(SECURE, tmp_path / "run", 3)
    for file in (tmp_path / "run" / "checkpoint").iterdir():
        file.unlink()
    resumed = resume(tmp_path / "run").summary["privacy"]
    assert resumed["epsilon"] == pytest.approx(accounting.epsilon(2.0, 0.25, 10, 1e-5), rel=1e-5)


def test_a_ledger_that_was_cut_short_is_no_ledger(tmp_path):
    crashed(SECURE, tmp_path / "run", 3)
    (tmp_path / "run" / "privacy.jsonl").write_text('{"round": 0}\n')
    with pytest.raises(CheckpointError, match="what was spent cannot be known any more"):
        resume(tmp_path / "run")


def test_a_torn_line_was_never_released_and_goes(tmp_path):
    ledger = Ledger(tmp_path / "privacy.jsonl")
    ledger.write({"round": 0})
    with ledger.path.open("a") as file:
        file.write('{"rou')
    assert ledger.since(0) == [{"round": 0}]
    ledger.write({"round": 1})
    assert ledger.since(0) == [{"round": 0}, {"round": 1}]


def test_the_terminal_states_it_before_and_after_and_says_how_a_budget_ended(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    often = replace(LIMITED, evaluation=EvaluationSettings(every=1))
    (tmp_path / "limited.toml").write_text(often.to_toml())
    with pytest.raises(PrivacyBudgetExhausted, match=r"The privacy budget is spent .* The last model is in "):
        run_file(tmp_path / "limited.toml", [], tmp_path / "run")
    shown = capsys.readouterr().out
    assert shown.startswith("Privacy in the end, at most: ε = ")
    assert "The run ends before a round that would pass privacy.max_epsilon." in shown
    assert re.search(r"round 4/6  accuracy [\d.]+ %  privacy spent (99\.\d|100\.0) %", shown)
    assert "Privacy: ε = " in shown
    show_folder(tmp_path / "run", as_json=False)
    shown = capsys.readouterr().out
    assert "each client · add/remove · δ = 1e-05 · Poisson sampling · PLD · trusted: the server" in shown
    assert "The privacy budget is spent after round 4 of 6" in shown
    show_folder(tmp_path / "run", as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["privacy"]["epsilon"] == pytest.approx(BUDGET, rel=1e-3)
    assert document["privacy"]["statement"].startswith("ε = ")


def test_a_stopped_run_is_shown_with_what_it_has_spent_so_far(tmp_path):
    crashed(PRIVATE, tmp_path / "run", 1)
    spent = stated(RunRecord.read(tmp_path / "run"))
    assert spent["epsilon"] == pytest.approx(accounting.epsilon(2.0, 0.25, 2, 1e-5), rel=1e-5)


def test_the_section_at_its_defaults_changes_no_digest_and_other_values_do():
    assert PRIVATE.digest() != replace(PRIVATE, privacy=PrivacySettings(delta=1e-6)).digest()
    table = PRIVATE.to_table()
    assert table.pop("privacy") == {"delta": 1e-5, "accountant": "pld"}
    assert Experiment.from_table(table).digest() == PRIVATE.digest()


def test_a_ledger_that_is_a_link_is_neither_read_nor_written(tmp_path):
    (tmp_path / "thesis.tex").write_text("{}\nno newline")
    (tmp_path / "privacy.jsonl").symlink_to(tmp_path / "thesis.tex")
    ledger = Ledger(tmp_path / "privacy.jsonl")
    for use in (lambda: ledger.since(0), lambda: ledger.write({"round": 0})):
        with pytest.raises(CheckpointError, match=r"privacy\.jsonl is a symbolic link"):
            use()
    assert (tmp_path / "thesis.tex").read_text() == "{}\nno newline"
