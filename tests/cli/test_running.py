"""`phalanx run` and `phalanx resume` say in JSON what a script needs, the same for a finished run."""

import io
import json
import shutil

import pytest
from rich.console import Console

from phalanx.cli.progress import ProgressSink
from phalanx.cli.running import resume_folder, run_file
from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.events import Event

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
num_clients = 4
[model]
kind = "logistic_regression"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def test_the_document_is_the_result_and_every_evaluation(config, tmp_path, capsys):
    run_file(config, ["run.seed=4"], tmp_path / "run", as_json=True)
    first = json.loads(capsys.readouterr().out)
    assert first.items() >= json.loads((tmp_path / "run" / "result.json").read_text()).items()
    assert first["folder"] == str(tmp_path / "run")
    assert first["rounds_kept"] == 0
    assert [row["round"] for row in first["metrics"]] == [0, 1, 2]
    assert first["metrics"][-1] == first["final"]
    resume_folder(tmp_path / "run", as_json=True)
    again = capsys.readouterr()
    assert json.loads(again.out) == first
    assert "finished already" in again.err


def test_the_summary_ends_in_the_folder_and_what_comes_next(config, tmp_path, capsys):
    run_file(config, [], tmp_path / "run")
    *_, folder, following = capsys.readouterr().out.splitlines()
    assert folder == str(tmp_path / "run")
    assert following == f"Next: phalanx show {folder} · phalanx report {folder}"


def test_no_setting_is_one_sentence(config, tmp_path):
    with pytest.raises(ConfigError, match=r"has the form section\.field=value"):
        run_file(config, ["run.seed"], tmp_path / "run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(CONFIG)
    run_file(folder / "small.toml", [], folder / "run")
    return folder / "run"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.toml", "[run]\nrou", r"config of a run is damaged: .*config\.toml is not valid TOML"),
        ("config.toml", "[run]\nrounds = 2\n", "is not the one that its run was started with"),
        ("config.toml", "[run]\nfuture = 2\n", "config of a run is damaged: .*run.future: unknown field"),
        ("manifest.json", "{", r"manifest\.json is damaged; delete it"),
        ("manifest.json", '{"versions": {"phalanx": "9.9"}}', "was started with another data"),
        ("events.jsonl", "", "is shorter than its checkpoint says"),
        ("checkpoint/000000003.safetensors", "x", "is damaged and was not loaded"),
        ("checkpoint/000000003.json", "x", "is damaged and was not loaded"),
    ],
)
def test_an_unfinished_run_that_is_damaged_is_one_sentence_and_keeps_what_it_has(finished, tmp_path, name, content, message):
    folder = shutil.copytree(finished, tmp_path / "copy")
    for file in ("result.json", "model.safetensors"):
        (folder / file).unlink()
    (folder / name).write_text(content)
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    with pytest.raises(CheckpointError, match=message) as error:
        resume_folder(folder)
    assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_config_of_another_version_names_both_versions(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / "config.toml").write_text("[run]\nfuture = 2\n")
    (folder / "manifest.json").write_text('{"versions": {"phalanx": "9.9"}}')
    with pytest.raises(CheckpointError, match=r"was made by Phalanx 9\.9, this is "):
        resume_folder(folder)


PROBED = """
[run]
rounds = 2
[data]
kind = "digits"
[partition]
kind = "iid"
num_clients = 4
[participation]
kind = "fixed_size"
size = 1
[model]
kind = "logistic_regression"
[training]
kind = "sgd"
lr = 0.1
batch_size = 1
steps = 1
[evaluation.inversion]
attack = { kind = "linear_recovery" }
rounds = [0, 1]
client = CLIENT
"""


def test_what_an_inversion_attack_finds_is_said_on_the_way(tmp_path, capsys):
    said = ""
    for client in range(4):
        path = tmp_path / f"probed-{client}.toml"
        path.write_text(PROBED.replace("CLIENT", str(client)))
        run_file(path, [], tmp_path / path.stem)
        said += capsys.readouterr().out
    assert said.count("the attack finds its images at 100.0 dB (the mean image has ") == 2
    assert said.count("images found in an update") == 2
    assert said.count("no inversion. The client took no part in this round.") == 6


def test_the_bar_shows_how_far_a_search_is_and_forgets_it_when_it_ends():
    sink = ProgressSink(3, Console(file=io.StringIO(), force_terminal=True))
    sink.emit(Event("evaluation", 0, {"accuracy": 0.5}))
    sink.searched(1200, 4801, 0.1)
    [task] = sink._bar.tasks
    assert task.fields["scores"] == "accuracy 50.0 %  inversion: step 1,200 of 4,801"
    sink.emit(Event("inversion", 0, {"client": 1, "missing": "No update."}))
    assert task.fields["scores"] == "accuracy 50.0 %"
