import json

import pytest

from phalanx.core.errors import CheckpointError
from phalanx.experiments import Sweep, SweepRecord, is_sweep, leaderboards, run, run_sweep
from phalanx.experiments.sweep_record import FAILURES, FILE


@pytest.fixture
def out(sweep_file, tmp_path):
    run_sweep(sweep_file, out=tmp_path / "out", jobs=2)
    return tmp_path / "out"


def test_a_sweep_s_folder_is_read_back_with_every_run(out, sweep_file):
    record = SweepRecord.read(out)
    assert is_sweep(out)
    assert [cell.experiment for cell in record.sweep.cells] == [cell.experiment for cell in Sweep.load(sweep_file).cells]
    assert len(record.runs) == 8
    for cell, found in record.runs.items():
        assert found.experiment.digest() == cell.experiment.digest()
        assert record.final(cell) == found.final
        assert record.failure(cell) is None


def test_a_cell_that_has_not_begun_is_in_no_account(sweep_file, tmp_path):
    sweep = Sweep.load(sweep_file)
    record = SweepRecord.of(tmp_path / "nowhere", sweep)
    assert not record.runs
    assert (record.failure(sweep.cells[0]), record.final(sweep.cells[0])) == (None, None)


def test_damaged_cells_have_a_reason_and_no_score_and_the_others_count(out):
    whole = SweepRecord.read(out)
    garbage, config, foreign, other = whole.sweep.cells[:4]
    (whole.folder_of(garbage) / "result.json").write_text("garbage")
    (whole.folder_of(config) / "config.toml").write_text("[run\n")
    result = json.loads((whole.folder_of(foreign) / "result.json").read_text())
    (whole.folder_of(foreign) / "result.json").write_text(json.dumps(result | {"experiment": "0123456789"}))
    record = SweepRecord.read(out)
    assert record.failure(record.sweep.cells[0]).endswith(
        "result.json is damaged; delete it, or the run folder to start again."
    )
    assert "config.toml is not valid TOML" in record.failure(record.sweep.cells[1])
    assert "is not this run's" in record.failure(record.sweep.cells[2])
    assert record.failure(record.sweep.cells[3]) is None
    assert [record.final(cell) is None for cell in record.sweep.cells[:4]] == [True, False, True, False]
    assert len(record.runs) == 5
    (board,) = leaderboards(record)
    seeds = {place: len(score.values) for place, score in board.scores.items()}
    assert seeds == {("krum", "none"): 2, ("mean", "flip"): 1, ("krum", "flip"): 2}  # of mean without attack both are damaged
    assert other.name == "rule mean, attack flip, seed 2"


def test_failures_of_cells_that_the_sweep_no_longer_has_are_left_out(out):
    record = SweepRecord.read(out)
    name = record.sweep.cells[1].folder_name
    (out / FAILURES).write_text(json.dumps({"gone-0123456789": "old", name: "new"}))
    assert SweepRecord.read(out).failures == {name: "new"}


def test_a_cell_that_failed_is_named_until_it_is_finished_by_whatever_command(out):
    before = SweepRecord.read(out)
    first, second, third = before.sweep.cells[:3]
    (out / FAILURES).write_text(json.dumps({cell.folder_name: "no room" for cell in (first, second, third)}))
    result = before.folder_of(first) / "result.json"
    content = result.read_bytes()
    for cell in (first, second):
        (before.folder_of(cell) / "result.json").unlink()
    record = SweepRecord.read(out)
    assert [record.failure(cell) for cell in record.sweep.cells[:3]] == ["no room", "no room", None]
    assert record.cells_by_reason == {"no room": list(record.sweep.cells[:2])}
    result.write_bytes(content)
    record = SweepRecord.read(out)
    assert record.cells_by_reason == {"no room": [record.sweep.cells[1]]}


@pytest.mark.parametrize(
    "text",
    ["[run\n", "[run]\nrounds = 0\n[sweep.a.b]\n", "[run]\nrounds = 1\n", "[sweep.a.b.aggregator]\nkind = 'x'\n"],
)
def test_a_damaged_sweep_is_one_sentence(out, text):
    (out / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"^The sweep in .* is damaged, or another version's: "):
        SweepRecord.read(out)


def test_a_damaged_account_of_failures_is_one_sentence(out):
    (out / FAILURES).write_text("[]")
    with pytest.raises(CheckpointError, match=r"failures\.json is damaged; delete it"):
        SweepRecord.read(out)


def test_no_sweep_is_one_sentence(tmp_path, sweep_file):
    with pytest.raises(CheckpointError, match=r"^.* is not a sweep's folder: it has no sweep\.toml\.$"):
        SweepRecord.read(tmp_path)
    folder = run(Sweep.load(sweep_file).cells[0].experiment, out=tmp_path / "run").folder
    assert not is_sweep(folder)
