"""`phalanx sweep` as a user meets it; what the processes do is tested in tests/experiments/test_run_sweep.py."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from phalanx.cli.sweep_progress import SweepProgress
from phalanx.cli.sweeping import default_folder, sweep_file
from phalanx.core.errors import PhalanxError, Stopped
from phalanx.core.events import Event
from phalanx.experiments import Sweep

CONFIG = """
[run]
rounds = 3
[data]
kind = "synthetic"
num_samples = 200
num_features = 6
num_classes = 2
[partition]
kind = "iid"
num_clients = 8
[model]
kind = "logistic_regression"
[training]
kind = "sgd"
lr = 0.1
steps = 2
[sweep]
seeds = [1, 2]
[sweep.rule]
mean = {}
krum = { aggregator = { kind = "krum", num_byzantine = 2 } }
[sweep.attack]
none = {}
flip = { adversary = { who = { kind = "first_clients", count = 2 }, update.kind = "sign_flip" } }
"""
COMMAND = [sys.executable, "-c", "from phalanx.cli.main import main; main()", "sweep"]
TOO_MANY = ["--set", "sweep.rule.krum.aggregator.num_byzantine=4"]


def phalanx_sweep(*arguments, cwd) -> subprocess.CompletedProcess:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160"}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, env=environment)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def test_a_sweep_ends_in_leaderboards_and_files_and_again_it_only_says_so(file, tmp_path):
    done = phalanx_sweep(str(file), "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[8/8] " in done.stdout
    assert "Accuracy in percent, higher is better" in done.stdout
    assert "runs/small: leaderboard.csv, leaderboard.md, leaderboard.tex" in done.stdout
    folder = tmp_path / "runs" / "small"
    assert (folder / "leaderboard.tex").read_text().startswith(r"\begin{table}")
    again = phalanx_sweep(str(file), "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert (found["num_cells"], found["num_finished"], found["failures"]) == (8, 8, [])
    (board,) = found["leaderboards"]
    assert [(score["row"], score["column"], list(score["values"])) for score in board["scores"]] == [
        (row, column, ["1", "2"]) for row in ("mean", "krum") for column in ("none", "flip")
    ]


def test_failed_cells_are_named_with_their_reason_and_the_exit_code_is_1(file, tmp_path):
    done = phalanx_sweep(str(file), *TOO_MANY, "--json", cwd=tmp_path)
    assert done.returncode == 1
    said = "failed: 4 cells, the first of them rule krum, attack none, seed 1: Krum needs n >= 2f + 3 updates; got n=8, f=4."
    assert sum(line.startswith("failed: ") for line in done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert done.stderr.strip().endswith("phalanx: 4 of 8 cells failed; the same command tries them again.")
    found = json.loads(done.stdout)
    assert (found["num_finished"], len(found["failures"])) == (4, 4)


def test_a_typing_mistake_in_a_variant_is_one_sentence_and_nothing_has_started(file, tmp_path):
    file.write_text(CONFIG.replace("num_byzantine = 2", "num_byzantin = 2"))
    done = phalanx_sweep(str(file), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cell (rule krum, attack none): aggregator.num_byzantin: unknown field; did you mean 'num_byzantine'?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_data_set_that_cannot_be_loaded_is_one_sentence_and_nothing_has_started(file, tmp_path, monkeypatch):
    place = tmp_path / "data" / "MNIST"
    place.mkdir(parents=True)
    for part in ("train", "t10k"):
        (place / f"{part}-images-idx3-ubyte.gz").write_bytes(b"garbage")
        (place / f"{part}-labels-idx1-ubyte.gz").write_bytes(b"garbage")
    monkeypatch.setenv("PHALANX_DATA_DIR", str(tmp_path / "data"))
    done = phalanx_sweep(str(file), "--set", "data={kind='mnist'}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"phalanx: {place / 'train-images-idx3-ubyte.gz'} is damaged")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_is_one_sentence_that_says_how_to_go_on(file, tmp_path):
    file.write_text(CONFIG.replace("rounds = 3", "rounds = 100000\n[evaluation]\nevery = 0"))
    process = subprocess.Popen(
        [*COMMAND, str(file), "--jobs", "2"], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    while len(list(tmp_path.glob("runs/small/cells/*/manifest.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone is told
    _, message = process.communicate()
    assert process.returncode == 130
    assert message.strip() == "phalanx: Stopped; 0 of 8 cells are finished; go on with: phalanx sweep runs/small/sweep.toml"


def test_a_dry_run_counts_and_runs_nothing(file, tmp_path, capsys):
    folder = tmp_path / "out"

    def dry_run(*settings) -> dict:
        sweep_file(file, list(settings), folder, jobs=2, dry_run=True, as_json=True)
        found = json.loads(capsys.readouterr().out)
        return {name: found[f"num_{name}"] for name in ("cells", "finished", "failed_before", "to_go_on", "to_run")}

    assert dry_run() == {"cells": 8, "finished": 0, "failed_before": 0, "to_go_on": 0, "to_run": 8}
    assert not folder.exists()
    setting = TOO_MANY[1]
    with pytest.raises(PhalanxError, match=r"^4 of 8 cells failed; the same command tries them again\.$"):
        sweep_file(file, [setting], folder, jobs=2, dry_run=False)
    next((folder / "cells").glob("mean-none-1-*/result.json")).unlink()
    capsys.readouterr()
    assert dry_run(setting) == {"cells": 8, "finished": 3, "failed_before": 4, "to_go_on": 1, "to_run": 0}
    assert dry_run() == {"cells": 8, "finished": 3, "failed_before": 0, "to_go_on": 1, "to_run": 4}
    sweep_file(file, [], folder, jobs=2, dry_run=True)
    counted = f"8 cells in {folder}: 3 finished, 0 failed before, 1 to go on, 4 to run."
    assert capsys.readouterr().out == f"{counted} The fields of every cell are valid; nothing was run.\n"


def test_another_sweep_in_the_same_folder_is_told_and_leaves_no_leaderboard_of_the_last(file, tmp_path, capsys):
    folder = tmp_path / "out"
    sweep_file(file, ["sweep.attack={none={}}", "sweep.seeds=[1]"], folder, jobs=2, dry_run=False)
    assert (folder / "leaderboard.csv").exists()
    assert "held another sweep" not in capsys.readouterr().err
    with pytest.raises(PhalanxError, match=r"^2 of 2 cells failed"):
        sweep_file(file, ["sweep.attack={none={}}", "sweep.rule={krum={aggregator={kind='krum', num_byzantine=4}}}"], folder,
                   jobs=2, dry_run=False)  # fmt: skip
    assert f"{folder} held another sweep, of which it keeps 2 cells.\n" in capsys.readouterr().err
    assert not list(folder.glob("leaderboard.*"))


def test_a_stopped_sweep_leaves_the_leaderboards_of_what_is_finished(file, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    sweep_file(file, ["sweep.seeds=[1]"], folder, jobs=2, dry_run=False)

    def stopped(sweep, **_):
        raise Stopped("Stopped.", exit_code=130)

    monkeypatch.setattr("phalanx.cli.sweeping.run_sweep", stopped)
    with pytest.raises(Stopped):
        sweep_file(file, ["sweep.rule={mean={}}"], folder, jobs=2, dry_run=False)
    lines = (folder / "leaderboard.csv").read_text().splitlines()
    assert len(lines) > 1
    assert not [line for line in lines if "krum" in line]
    with pytest.raises(Stopped):
        sweep_file(file, ["run.rounds=9"], folder, jobs=2, dry_run=False)
    assert not list(folder.glob("leaderboard.*"))


def test_the_default_folder_is_the_file_s_name_and_a_sweep_s_own_file_goes_on_where_it_lies(tmp_path):
    assert str(default_folder(tmp_path / "some.toml")) == "runs/some"
    assert str(default_folder(tmp_path / "sweep.toml")) == "runs/sweep"
    (tmp_path / "cells").mkdir()
    assert default_folder(tmp_path / "sweep.toml") == tmp_path


def test_the_live_table_shows_scores_marks_bars_and_what_is_left(file):
    sweep = Sweep.load(file)
    shown = Console(file=io.StringIO(), width=120, height=40, force_terminal=True, no_color=True, record=True)
    progress = SweepProgress(sweep, shown)
    cells = sweep.cells
    progress.emit(cells[0], Event("found", 3, {"accuracy": 0.5, "attack_success": 0.25}))
    progress.emit(cells[1], Event("started", 0, {}))
    progress.emit(cells[1], Event("finished", 3, {"accuracy": 0.7, "attack_success": 0.75}))
    progress.emit(cells[2], Event("started", 0, {}))
    progress.emit(cells[2], Event("round", 0, {}))
    progress.emit(cells[4], Event("started", 0, {}))
    progress.emit(cells[4], Event("failed", 0, {"reason": "no reason"}))
    shown.print(progress.view())
    text = shown.export_text()
    assert "1 of 8 cells are finished already." in text
    assert "│ mean │ 60.0 / 50.0 │   ▸· │" in text
    assert "│ krum │          ×· │   ·· │" in text
    assert "rule mean, attack flip, seed 1" in text
    assert "round 1/3" in text
    assert "2 of 8 cells finished, 1 failed" in text
    assert "left" in text


def test_a_table_that_is_taller_than_the_screen_is_left_out(file):
    shown = Console(file=io.StringIO(), width=120, height=8, force_terminal=True, no_color=True, record=True)
    shown.print(SweepProgress(Sweep.load(file), shown).view())
    assert shown.export_text().strip() == "0 of 8 cells finished   0:00:00"


def test_elsewhere_a_line_is_printed_for_every_cell_that_ends(file):
    sweep, text = Sweep.load(file), io.StringIO()
    with SweepProgress(sweep, Console(file=text, width=200)) as progress:
        progress.emit(sweep.cells[0], Event("started", 0, {}))
        progress.emit(sweep.cells[0], Event("evaluation", 1, {"accuracy": 0.5}))
        progress.tick()
        progress.emit(sweep.cells[0], Event("finished", 3, {"accuracy": 0.7, "attack_success": 0.75}))
        progress.emit(sweep.cells[1], Event("started", 0, {}))
        progress.emit(sweep.cells[1], Event("failed", 0, {"reason": "No [room]."}))
    assert text.getvalue().splitlines() == [
        "[1/8] rule mean, attack none, seed 1  accuracy 70.0 %  attack success 75.0 %  0:00:00",
        "[2/8] rule mean, attack none, seed 2  failed: No [room].  0:00:00",
    ]
