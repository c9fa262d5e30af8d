"""What each tracker is told beside the points, where it writes, and what it needs."""

import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from phalanx.config import Experiment
from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.events import Event, RunFacts
from phalanx.core.families import Tracker
from phalanx.core.toml import parse_setting
from phalanx.experiments import run
from phalanx.tracking import MLflow, TensorBoard, WeightsAndBiases
from phalanx.tracking.known_run import keep_run, known_run

CONFIG = {"run": {"rounds": 3}, "aggregator": {"kind": "krum", "num_byzantine": 2}, "partition": {"path": "x" * 9000}}
ROUND = Event("round", 0, {"loss": 0.5, "rejected": {}})
END = Event("end", 2, {"final": {"accuracy": 0.75}})


def told(tracker, folder, *events):
    """Run facts, after a tracker has been told some events of it."""
    folder.mkdir(exist_ok=True)
    facts = RunFacts("my-run", folder, CONFIG, {"phalanx.experiment": "abc", "phalanx.version": "1.2"})
    with tracker.open(facts) as sink:
        for event in events:
            sink.emit(event)
    return facts


def test_tensorboard_shows_config_tags_and_the_final_row_as_text(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(TensorBoard(), tmp_path / "a", ROUND, END)
    held = EventAccumulator(str(tmp_path / "a" / "tensorboard")).Reload()
    config, final = (
        held.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode() for name in ("config", "final")
    )
    assert "- phalanx.experiment: `abc`" in config
    assert 'kind = "krum"' in config
    assert "| final/accuracy | 0.75 |" in final


@pytest.mark.parametrize(
    "tracker, name", [(TensorBoard(), "tensorboard"), (MLflow(), "mlflow.db"), (WeightsAndBiases(), "wandb")]
)
def test_a_tracker_does_not_write_through_a_link_in_the_run_folder(tmp_path, tracker, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match=f"{name} is a symbolic link"):
        told(tracker, tmp_path / "run")
    assert not list((tmp_path / "outside").iterdir())


def test_where_a_tracker_stands_is_not_written_through_a_link(tmp_path):
    (tmp_path / "bashrc").write_text("mine")
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "wandb").symlink_to(tmp_path / "bashrc")
    keep_run(tmp_path, "wandb", "0123")
    assert known_run(tmp_path, "wandb") == "0123"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tracking").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="tracking is a symbolic link"):
        keep_run(tmp_path / "run", "bashrc", "0123")
    assert (tmp_path / "bashrc").read_text() == "mine"


def test_tensorboard_puts_runs_side_by_side_in_a_folder_of_its_own(tmp_path):
    told(TensorBoard(str(tmp_path / "all")), tmp_path / "a", ROUND)
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["my-run"]
    assert not list((tmp_path / "a").iterdir())


def test_mlflow_has_parameters_tags_the_final_row_and_a_status(tmp_path, with_tables):
    from mlflow.tracking import MlflowClient

    told(MLflow(), with_tables(tmp_path / "a"), ROUND, END)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'a' / 'mlflow.db'}")
    (held,) = client.search_runs(["1"], filter_string="tags.`phalanx.experiment` = 'abc'")
    assert (held.info.run_name, held.info.status) == ("my-run", "FINISHED")
    assert held.data.params["aggregator.num_byzantine"] == "2"
    assert held.data.params["partition.path"] == "x" * 6000
    assert held.data.tags["phalanx.version"] == "1.2"
    assert held.data.metrics["final/accuracy"] == 0.75


@pytest.mark.parametrize("error, status", [(KeyboardInterrupt, "KILLED"), (OSError, "FAILED")])
def test_mlflow_knows_how_a_run_ended(tmp_path, with_tables, error, status):
    from mlflow.tracking import MlflowClient

    with pytest.raises(error), MLflow(experiment="e").open(RunFacts("my-run", with_tables(tmp_path), CONFIG, {})):
        raise error
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.search_runs([client.get_experiment_by_name("e").experiment_id])[0].info.status == status


def test_an_mlflow_run_that_was_deleted_is_made_anew_with_all_points(tmp_path, with_tables):
    from dataclasses import replace

    from mlflow.tracking import MlflowClient

    facts = told(MLflow(), with_tables(tmp_path / "a"), ROUND)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'a' / 'mlflow.db'}")
    client.delete_run(client.search_runs(["1"])[0].info.run_id)
    with MLflow().open(replace(facts, events=[ROUND])):
        pass
    assert client.search_runs(["1"])[0].data.metrics["round/loss"] == 0.5


def test_wandb_has_config_and_summary_and_goes_on_under_the_same_id(tmp_path):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    from phalanx.tracking.wandb_file import records

    for _ in range(2):
        told(WeightsAndBiases(project="p"), tmp_path / "a", ROUND, END)
        wandb.teardown()
    files = sorted((tmp_path / "a").glob("wandb/offline-run-*/*.wandb"))
    held = [[Record.FromString(data) for data in records(file.read_bytes())] for file in files]
    (started, again) = (next(record.run for record in each if record.WhichOneof("record_type") == "run") for each in held)
    assert (started.project, started.display_name) == ("p", "my-run")
    assert started.run_id == again.run_id
    config = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in started.config.update}
    assert config["aggregator.kind"] == "krum"
    assert config["phalanx.experiment"] == "abc"
    summary = [item for record in held[0] for item in record.summary.update]
    assert any("final/accuracy" in (item.key, *item.nested_key) and item.value_json == "0.75" for item in summary)


def test_processes_that_begin_at_once_share_one_mlflow_database(tmp_path):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'shared.db'}"

    def track(name: str) -> None:
        with MLflow(uri).open(RunFacts(name, None, {}, {})) as sink:
            sink.emit(ROUND)

    started = [multiprocessing.get_context("fork").Process(target=track, args=(f"run{n}",)) for n in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("phalanx").experiment_id])
    assert {(run.info.run_name, run.data.metrics["round/loss"]) for run in runs} == {(f"run{n}", 0.5) for n in range(2)}


@pytest.mark.parametrize("kind, package", [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_package_is_one_sentence_before_any_work(tmp_path, monkeypatch, kind, package):
    monkeypatch.setattr("phalanx.tracking.requirements.find_spec", lambda name: None)
    experiment = Experiment(tracking=(Tracker.from_table({"kind": kind}),))
    with pytest.raises(ConfigError) as error:
        run(experiment, out=tmp_path / "a")
    assert str(error.value) == f"tracking by {kind} needs the package {package}; in a clone: pip install '.[tracking]'"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind, field", [("tensorboard", "folder"), ("mlflow", "tracking_uri"), ("wandb", "folder")])
def test_a_run_in_memory_needs_a_place_for_its_tracker(kind, field):
    with pytest.raises(ConfigError, match=rf"writes into the run folder, and this run has none; set {field}, or out=…"):
        run(Experiment(tracking=(Tracker.from_table({"kind": kind}),)))


def test_an_address_that_mlflow_would_take_for_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tracking_uri must be like sqlite:///mlflow\.db or https://…; got 'mlruns'"):
        MLflow("mlruns").check(tmp_path)


def test_trackers_are_set_on_the_command_line_and_two_of_a_kind_are_refused(tmp_path):
    (tmp_path / "e.toml").write_text("")
    path, value = parse_setting('tracking=[{kind="tensorboard"}, {kind="wandb", project="p"}]')
    experiment = Experiment.load(tmp_path / "e.toml", {path: value})
    assert experiment.tracking == (TensorBoard(), WeightsAndBiases(project="p"))
    (tmp_path / "again.toml").write_text(experiment.to_toml())
    assert Experiment.load(tmp_path / "again.toml") == experiment
    with pytest.raises(ConfigError, match="tracking names mlflow twice; a run has one tracker of a kind"):
        Experiment(tracking=(MLflow(), MLflow(experiment="e")))


IMPORTED = """
import sys
from phalanx.config import Experiment, RunSettings
from phalanx.core.component import members
from phalanx.core.families import Tracker
from phalanx.data import Synthetic
from phalanx.experiments import run
from phalanx.models import MLP
assert len(members(Tracker)) >= 3
run(Experiment(run=RunSettings(rounds=1), data=Synthetic(), model=MLP()), out=sys.argv[1])
print(sorted({"tensorboard", "mlflow", "wandb", "sqlalchemy"} & set(sys.modules)))
"""


def test_no_tracker_is_imported_unless_asked_for(tmp_path):
    done = subprocess.run([sys.executable, "-c", IMPORTED, str(tmp_path / "a")], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# The process itself and all that it starts: a library put before libc's would be simpler, but W&B's service is static.
TRACED = """
import sys
from phalanx.config import Experiment, RunSettings
from phalanx.data import Synthetic
from phalanx.experiments import run
from phalanx.models import MLP
from phalanx.tracking import MLflow, TensorBoard, WeightsAndBiases
from phalanx.tracking.known_run import keep_run, known_run
trackers = TensorBoard(), MLflow(), WeightsAndBiases()
run(Experiment(run=RunSettings(rounds=2), data=Synthetic(), model=MLP(), tracking=trackers), out=sys.argv[1])
"""


def test_nothing_leaves_the_machine_or_the_run_folder(tmp_path):
    from shutil import which

    if which("strace") is None:
        pytest.skip("needs strace, to see what the processes that W&B starts connect to")
    here, trace = tmp_path / "here", tmp_path / "trace"
    here.mkdir()
    # Without the filter in the kernel every system call would stop, not only these.
    command = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        TRACED,
    ]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_", "DO_NOT_TRACK"))}
    done = subprocess.run([*command, str(tmp_path / "run")], capture_output=True, text=True, cwd=here, env=quiet)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    seen = trace.read_text()
    assert "AF_UNIX" in seen, "the trace has not seen W&B's own service"
    assert [line for line in seen.splitlines() if "AF_INET" in line] == []
    assert list(here.iterdir()) == []
    assert {"tensorboard", "mlflow.db", "wandb"} <= {path.name for path in (tmp_path / "run").iterdir()}
