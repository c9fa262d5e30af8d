import json
import tomllib
from dataclasses import replace

import pytest
import tomli_w

from phalanx.config import EvaluationSettings, Experiment, RunSettings
from phalanx.core.errors import CheckpointError
from phalanx.data import IID, Synthetic
from phalanx.experiments import RunRecord, run
from phalanx.models import LogisticRegression

SMALL = Experiment(
    run=RunSettings(rounds=4),
    data=Synthetic(num_samples=100, num_features=4, num_classes=2),
    partition=IID(num_clients=4),
    model=LogisticRegression(),
    evaluation=EvaluationSettings(every=2),
)


@pytest.fixture
def folder(tmp_path):
    return run(SMALL, out=tmp_path / "run").folder


def test_a_finished_run_is_read_back_as_it_was(folder):
    result, record = run(SMALL, out=folder), RunRecord.read(folder)
    assert record.is_finished
    assert record.experiment == SMALL
    assert record.final == result.summary["final"]
    assert [event["round"] for event in record.rounds] == [0, 1, 2, 3]
    assert [event["accuracy"] for event in record.evaluations] == [row["accuracy"] for row in result.metrics]
    assert record.version == record.manifest["versions"]["phalanx"] != "unknown"


def test_an_unfinished_run_ends_where_its_events_end_and_a_line_still_being_written_is_left_out(folder):
    (folder / "result.json").unlink()
    events = folder / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:4]) + lines[4][:10])
    record = RunRecord.read(folder)
    assert not record.is_finished
    assert [event["event"] for event in record.events] == ["round", "round", "evaluation", "round"]
    assert record.final["round"] == 1


def test_a_run_that_has_only_its_config_has_no_events_yet(folder):
    for name in ("result.json", "manifest.json", "events.jsonl"):
        (folder / name).unlink()
    record = RunRecord.read(folder)
    assert (record.events, record.final, record.version, record.is_finished) == ((), {}, "unknown", False)


def test_no_run_folder_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"^.* is not a run folder: it has no config\.toml\.$"):
        RunRecord.read(tmp_path)


@pytest.mark.parametrize("line", [b"garbage\n", b"[]\n", b'{"event": "round"}\n', b'{"round": 1}\n', b"\xff\n"])
def test_a_damaged_line_of_events_is_one_sentence(folder, line):
    events = folder / "events.jsonl"
    events.write_bytes(line + events.read_bytes())
    with pytest.raises(CheckpointError, match=r"events\.jsonl is damaged; delete .* to run it again\.$"):
        _ = RunRecord.read(folder).events


@pytest.mark.parametrize("name", ["result.json", "manifest.json"])
def test_damaged_json_is_one_sentence(folder, name):
    (folder / name).write_text("{")
    with pytest.raises(CheckpointError, match=rf"{name} is damaged; delete it, or the run folder to start again\.$"):
        RunRecord.read(folder)


@pytest.mark.parametrize("change", [{"experiment": "0123456789"}, {"final": None}])
def test_another_run_s_result_is_refused(folder, change):
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | change))
    with pytest.raises(CheckpointError, match=r"is not this run's; delete result\.json and resume the run\.$"):
        RunRecord.read(folder)


def test_a_config_of_another_version_names_both_versions_and_a_damaged_one_of_this_version_does_not(folder):
    table = tomllib.loads((folder / "config.toml").read_text())
    (folder / "config.toml").write_text(tomli_w.dumps(table | {"telepathy": {"range": 3}}))
    with pytest.raises(CheckpointError, match=r"^The config of a run is damaged: .*telepathy: unknown field"):
        RunRecord.read(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["phalanx"] = "99.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"^.* was made by Phalanx 99\.0, this is 0\..*telepathy: unknown field"):
        RunRecord.read(folder)


def test_a_config_that_was_changed_by_hand_no_longer_fits_its_result(folder):
    changed = replace(SMALL, run=replace(SMALL.run, seed=5))
    (folder / "config.toml").write_text(changed.to_toml())
    with pytest.raises(CheckpointError, match="is not this run's"):
        RunRecord.read(folder)


def test_events_that_end_before_the_run_did_are_remarked_on(folder):
    assert RunRecord.read(folder).gap is None
    events = folder / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:3]))
    record = RunRecord.read(folder)
    assert record.gap == f"{events} ends at round 2 of 4; the final numbers are from result.json."
    assert record.final["round"] == 3
    events.unlink()
    assert "ends at round 0 of 4" in RunRecord.read(folder).gap


def test_what_is_no_run_folder_is_called_what_it_is(tmp_path):
    (tmp_path / "file.toml").write_text("")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.toml").write_text("")
    for name, said in (
        ("nothing", "There is no folder"),
        ("file.toml", "is a file, not a run folder; an experiment's file is run with: phalanx run"),
        ("sweep", "is a sweep's folder; go on with: phalanx sweep"),
    ):
        with pytest.raises(CheckpointError, match=said):
            RunRecord.read(tmp_path / name)
