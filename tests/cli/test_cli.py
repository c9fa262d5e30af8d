"""The command as a user meets it: a process, its output and its exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

CONFIG = """
[run]
rounds = 5
seed = 1
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
epochs = 1
[aggregator]
kind = "krum"
num_byzantine = 2
"""


def phalanx(*arguments: str, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from phalanx.cli.main import main; main()", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, stdin=subprocess.DEVNULL)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def test_run_shows_progress_lines_a_table_and_the_folder(config, tmp_path):
    done = phalanx("run", str(config), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "round 5/5  accuracy" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("small-")
    assert f"runs/{folder.name}" in done.stdout
    assert json.loads((folder / "result.json").read_text())["rounds"] == 5

    again = phalanx("run", str(config), cwd=tmp_path)
    assert again.returncode == 0
    assert "finished already" in again.stdout


def test_set_and_out_make_another_run(config, tmp_path):
    done = phalanx(
        "run", str(config), "--set", "run.rounds=2", "--set", "aggregator.kind=mean", "--out", str(tmp_path / "mine")
    )
    assert done.returncode == 0, done.stderr
    assert "round 2/2" in done.stdout
    assert 'kind = "mean"' in (tmp_path / "mine" / "config.toml").read_text()


def test_a_rule_that_has_too_few_rows_says_so_once_and_an_odd_folder_name_is_printed_as_it_is(config, tmp_path):
    odd = tmp_path / "r[/b][red]x"
    few = ["--set", "participation.kind=fixed_size", "--set", "participation.size=7", "--set", "participation.dropout=0.6"]
    done = phalanx("run", str(config), *few, "--out", str(odd))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kept the model: Krum needs n >= 2f + 3 updates; got n=") == 1
    assert "rounds that kept the model" in done.stdout
    assert "r[/b][red]x" in done.stdout


def test_an_attack_without_room_says_so(config):
    alie = ["--set", "adversary.who.kind=first_clients", "--set", "adversary.who.count=1"]
    alie += ["--set", "adversary.update.kind=a_little_is_enough", "--out", str(config.with_suffix(""))]
    done = phalanx("run", str(config), *alie)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The attack has no room") == 1


def test_a_typing_mistake_is_one_sentence_and_nothing_has_started(config, tmp_path):
    config.write_text(CONFIG.replace("num_byzantine", "num_byzantin"))
    done = phalanx("run", str(config), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 2
    assert "aggregator.num_byzantin: unknown field; did you mean 'num_byzantine'?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_killed_run_goes_on_with_run_or_resume(config, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", "from phalanx.cli.main import main; main()", "run", str(config), "--out", str(folder)]
    command += ["--set", "run.rounds=4000", "--set", "run.checkpoint_seconds=0.0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("checkpoint/*.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate()
    assert process.returncode == 143
    assert "nothing is lost. Go on with: phalanx resume" in message
    stopped = max(int(path.stem) for path in folder.glob("checkpoint/*.json"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while max(int(path.stem) for path in folder.glob("checkpoint/*.json")) == stopped:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, message = process.communicate()
    assert process.returncode == 130
    assert f"Going on after round {stopped} of 4000" in output


def test_resume_of_no_run_is_one_sentence(tmp_path):
    done = phalanx("resume", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip() == f"phalanx: {tmp_path} is not a run folder: it has no config.toml."


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text("[run\n")
    done = phalanx("run", str(tmp_path / "a.toml"))
    assert done.returncode == 2
    assert "is not valid TOML" in done.stderr
    assert phalanx("run", str(tmp_path / "b.toml")).returncode == 2


def test_list_names_every_family_and_its_members():
    done = phalanx("list")
    assert done.returncode == 0, done.stderr
    for name in ("aggregator", "flame", "trimmed_mean", "min_max", "digits", "resnet20", "fed_adam"):
        assert name in done.stdout


def test_run_of_a_sweep_names_the_right_command(config):
    config.write_text(f"{CONFIG}\n[sweep]\nseeds = [1, 2]\n")
    done = phalanx("run", str(config))
    assert done.returncode == 2
    assert done.stderr.strip() == f"phalanx: {config} is a sweep; run it with: phalanx sweep {config}"


def test_json_is_all_of_stdout_and_progress_goes_to_stderr(config, tmp_path):
    done = phalanx("run", str(config), "--json", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == str(tmp_path / "run")
    assert "round 5/5  accuracy" in done.stderr


def test_output_in_a_pipe_is_plain_and_cuts_no_path(config, tmp_path):
    folder = tmp_path / ("a-very-long-name-" * 8) / "run"
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    for command in (["run", str(config), "--out", str(folder)], ["show", str(folder)]):
        code = [sys.executable, "-c", "from phalanx.cli.main import main; main()", *command]
        done = subprocess.run(code, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert str(folder) in done.stdout
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    "arguments, shown", [(("--help",), "Usage"), (("--version",), "phalanx 0."), (("run", "--help"), "Usage")]
)
def test_help_needs_no_torch(arguments, shown):
    code = "import sys; from phalanx.cli.main import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
