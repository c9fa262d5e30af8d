"""`phalanx run` and `phalanx resume` say in JSON what a script needs, the same for a finished run."""

import json

import pytest

from phalanx.cli.running import resume_folder, run_file
from phalanx.core.errors import CheckpointError, ConfigError

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


def test_a_config_that_is_damaged_or_no_setting_is_one_sentence(config, tmp_path):
    with pytest.raises(ConfigError, match=r"has the form section\.field=value"):
        run_file(config, ["run.seed"], tmp_path / "run")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.toml").write_text("[run]\nrou")
    with pytest.raises((ConfigError, CheckpointError), match="is not valid TOML") as error:
        resume_folder(tmp_path / "half")
    assert "\n" not in str(error.value)
