import subprocess
import sys
from dataclasses import replace

import pytest

from phalanx.aggregators import TrimmedMean
from phalanx.attacks import Adversary, ALittleIsEnough, FirstClients
from phalanx.cli.reporting import report_runs
from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import CheckpointError
from phalanx.data import IID, Synthetic
from phalanx.experiments import run
from phalanx.models import MLP
from phalanx.training import SGD

SMALL = Experiment(
    run=RunSettings(rounds=3, seed=1),
    data=Synthetic(num_samples=120, num_features=8, num_classes=3),
    partition=IID(num_clients=6),
    model=MLP(hidden=(4,)),
    training=SGD(lr=0.1, steps=1, batch_size=8),
    aggregator=TrimmedMean(1),
    adversary=Adversary(who=FirstClients(count=1), update=ALittleIsEnough(z=1.5)),
)


def report(*arguments, cwd):
    command = [sys.executable, "-c", "from phalanx.cli.main import main; main()", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_report_of_a_real_run_writes_one_page_and_its_plots(tmp_path):
    run(SMALL, out=tmp_path / "run")
    done = report("run", "--plots", "plots", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Wrote report.html (")
    assert done.stderr == ""
    page = (tmp_path / "report.html").read_text()
    assert "Trimmed mean reached " in page
    assert "could not be made" not in page
    assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".png", ".svg", ".pdf"}


def test_report_of_no_run_is_one_sentence_and_an_exit_code(tmp_path):
    done = report(tmp_path / "nothing", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == f"phalanx: There is no folder {tmp_path / 'nothing'}."
    assert not (tmp_path / "report.html").exists()


def test_one_damaged_run_among_several_leaves_nothing_written(tmp_path, capsys):
    run(SMALL, out=tmp_path / "good")
    run(replace(SMALL, run=RunSettings(rounds=3, seed=2)), out=tmp_path / "bad")
    (tmp_path / "bad" / "events.jsonl").write_text("nonsense\n")
    with pytest.raises(CheckpointError, match=r"bad/events\.jsonl is damaged"):
        report_runs([tmp_path / "good", tmp_path / "bad"], tmp_path / "page.html", tmp_path / "plots")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]
    assert capsys.readouterr().out == ""


def test_a_run_of_which_there_is_only_the_config_is_reported_as_such(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(SMALL.to_toml())
    report_runs([tmp_path / "run"], tmp_path / "page.html", None)
    assert "Trimmed mean is not finished: 0 of 3 rounds; nothing has been tested yet." in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_one_sentence_before_any_plot(tmp_path):
    run(SMALL, out=tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"cannot be written: Is a directory\. Choose another with --out\."):
        report_runs([tmp_path / "run"], tmp_path, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
