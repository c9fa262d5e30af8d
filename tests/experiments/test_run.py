import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import phalanx
from phalanx.aggregators import Flame, Krum, Mean, TrimmedMean
from phalanx.attacks import Adversary, ALittleIsEnough, Backdoor, FirstClients, ModelReplacement, Patch
from phalanx.config import EvaluationSettings, Experiment, RunSettings
from phalanx.core.errors import CheckpointError, ConfigError, PreconditionError, Stopped
from phalanx.core.params import flatten
from phalanx.core.types import DataSplit, Samples
from phalanx.data import IID, FromFile, Synthetic
from phalanx.experiments import resume, run
from phalanx.models import MLP, LogisticRegression, ResNet18
from phalanx.server import FedAdam, FixedSize
from phalanx.server.checkpoint import Checkpoint, newest, save
from phalanx.training import SGD

SMALL = Experiment(
    run=RunSettings(rounds=6, seed=3, checkpoint_seconds=0.0),
    data=Synthetic(num_samples=300, num_features=8, num_classes=3),
    partition=IID(num_clients=10),
    participation=FixedSize(8, dropout=0.1),
    model=MLP(hidden=(8,)),
    training=SGD(lr=0.1, steps=2, batch_size=8),
    server=FedAdam(lr=0.05),
    aggregator=TrimmedMean(2),
    adversary=Adversary(who=FirstClients(count=2), update=ALittleIsEnough(z=1.5)),
)


def bytes_of(module: nn.Module) -> bytes:
    return torch.cat(flatten(module)).numpy().tobytes()


def files_without_times(folder) -> dict[str, object]:
    """The run folder's lasting content, without seconds."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        event.pop("seconds")
    names = ("config.toml", "result.json", "model.safetensors")
    return {"events": events, **{name: (folder / name).read_bytes() for name in names}}


def test_a_run_learns_and_says_so():
    result = run(replace(SMALL, run=RunSettings(rounds=25), adversary=Adversary(), aggregator=Mean()))
    assert result.metrics[-1]["accuracy"] > 0.8 > 0.7 > result.metrics[0]["accuracy"]
    assert [row["round"] for row in result.metrics] == list(range(25))
    assert not result.model.training


def test_the_metrics_are_pandas_ready_rows_of_scalars():
    for row in run(SMALL).metrics:
        assert all(isinstance(value, int | float | str | None) for value in row.values())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, second, other = run(SMALL), run(SMALL), run(replace(SMALL, run=RunSettings(rounds=6, seed=4)))
    assert bytes_of(first.model) == bytes_of(second.model) != bytes_of(other.model)


def test_worker_processes_give_the_same_bytes(tmp_path):
    alone = run(SMALL)
    for workers in (2, 3):
        together = run(replace(SMALL, run=RunSettings(rounds=6, seed=3, workers=workers)))
        assert bytes_of(alone.model) == bytes_of(together.model)


def test_the_global_random_streams_are_not_touched(untouched_rng):
    run(SMALL)


def test_a_run_in_a_folder_gives_the_same_as_one_in_memory(tmp_path):
    folder = run(SMALL, out=tmp_path / "a")
    assert bytes_of(folder.model) == bytes_of(run(SMALL).model)
    assert Experiment.load(tmp_path / "a" / "config.toml") == SMALL
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["parameters"] == 8 * 8 + 8 + 8 * 3 + 3
    assert sum(manifest["client_samples"]) == manifest["data"]["train"]


def test_a_finished_run_is_read_back_and_not_run_again(tmp_path):
    first = run(SMALL, out=tmp_path / "a")
    before = files_without_times(tmp_path / "a")
    again = resume(tmp_path / "a")
    assert again.metrics == first.metrics
    assert again.summary == first.summary
    assert bytes_of(again.model) == bytes_of(first.model)
    assert files_without_times(tmp_path / "a") == before


class StopAfter:
    """A sink that asks the run to stop in the middle of its writing about a round."""

    def __init__(self, round: int, number: int) -> None:
        self.round, self.number = round, number

    def emit(self, event):
        if event.kind == "round" and event.round == self.round:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_signal_loses_nothing_and_the_resumed_run_ends_in_the_same_bytes(tmp_path, number, code):
    rare = replace(SMALL, run=replace(SMALL.run, checkpoint_seconds=1000.0))
    run(rare, out=tmp_path / "straight")
    with pytest.raises(Stopped, match=r"Stopped after round 3 of 6; nothing is lost.*resume '.*stopped run'$") as stopped:
        run(rare, out=tmp_path / "stopped run", sinks=[StopAfter(3, number)])
    assert stopped.value.exit_code == code
    resume(tmp_path / "stopped run")
    assert files_without_times(tmp_path / "stopped run") == files_without_times(tmp_path / "straight")


def test_a_stop_signal_without_a_folder_is_a_keyboard_interrupt():
    with pytest.raises(KeyboardInterrupt):
        run(SMALL, sinks=[StopAfter(1, signal.SIGINT)])


KILLED = """
import sys, time
from phalanx.config import Experiment
from phalanx.experiments import run
class Slow:
    def emit(self, event): time.sleep(0.002)
run(Experiment.load(sys.argv[1]), out=sys.argv[2], sinks=[Slow()])
"""


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_resumes_to_the_same_bytes(tmp_path, count):
    experiment = replace(SMALL, run=RunSettings(rounds=40, seed=1, checkpoint_seconds=0.0))
    config = tmp_path / "e.toml"
    config.write_text(experiment.to_toml())
    run(experiment, out=tmp_path / "straight")
    expected = files_without_times(tmp_path / "straight")
    interrupted = 0
    for attempt in range(count):
        folder = tmp_path / f"killed{attempt}"
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(config), str(folder)])
        while not (folder / "events.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.5 * attempt / count)
        process.kill()
        process.wait()
        interrupted += not (folder / "result.json").exists()
        resume(folder)
        assert files_without_times(folder) == expected
    assert interrupted > count // 2


def test_a_damaged_checkpoint_is_passed_over_and_said_so(tmp_path):
    with pytest.raises(Stopped):
        run(SMALL, out=tmp_path / "a", sinks=[StopAfter(4, signal.SIGTERM)])
    newest = max((tmp_path / "a" / "checkpoint").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-3])

    remarks = []

    class Listen:
        def emit(self, event):
            if event.kind == "resumed":
                remarks.extend(event.values["remarks"])

    resume(tmp_path / "a", sinks=[Listen()])
    assert remarks == [f"The checkpoint {newest.name} is damaged and was not loaded."]
    run(SMALL, out=tmp_path / "straight")
    assert files_without_times(tmp_path / "a") == files_without_times(tmp_path / "straight")


def test_a_folder_of_another_experiment_is_not_touched(tmp_path):
    run(SMALL, out=tmp_path / "a")
    before = files_without_times(tmp_path / "a")
    with pytest.raises(CheckpointError, match="holds another experiment"):
        run(replace(SMALL, aggregator=Mean()), out=tmp_path / "a")
    assert files_without_times(tmp_path / "a") == before


def test_what_only_changes_the_speed_is_the_same_experiment():
    faster = replace(SMALL, run=replace(SMALL.run, workers=2, devices=("cpu",), checkpoint_seconds=5.0))
    assert faster.digest() == SMALL.digest() != replace(SMALL, run=replace(SMALL.run, seed=9)).digest()


def test_a_convolutional_model_with_buffers_is_trained_saved_and_read_back(tmp_path):
    images = replace(
        SMALL, data=phalanx.Experiment().data, model=ResNet18(width=4), training=SGD(lr=0.1, steps=1, batch_size=4)
    )
    images = replace(images, run=RunSettings(rounds=2), adversary=Adversary())
    first = run(images, out=tmp_path / "a")
    again = resume(tmp_path / "a")
    assert bytes_of(again.model) == bytes_of(first.model)
    assert again.model.state_dict().keys() == load_file(tmp_path / "a" / "model.safetensors").keys()


def test_a_result_of_another_experiment_or_a_damaged_one_is_not_taken_for_this_one(tmp_path):
    folder = tmp_path / "a"
    run(SMALL, out=folder)
    config, result = (folder / "config.toml").read_bytes(), (folder / "result.json").read_bytes()

    (folder / "config.toml").unlink()
    with pytest.raises(CheckpointError, match=r"holds files of a run, but no config\.toml"):
        run(replace(SMALL, aggregator=Mean()), out=folder)
    (folder / "config.toml").write_bytes(config)

    for damaged in (b"", b"{", b"[]", b"{}", result.replace(b'"model_sha256": "', b'"model_sha256": "0')):
        (folder / "result.json").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"result\.json"):
            resume(folder)
    (folder / "result.json").unlink()
    resume(folder)
    assert (folder / "result.json").read_bytes() == result

    (folder / "model.safetensors").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=r"The model in .* is damaged"):
        resume(folder)


def test_damaged_events_are_one_sentence(tmp_path):
    run(SMALL, out=tmp_path / "a")
    events = tmp_path / "a" / "events.jsonl"
    events.write_bytes(b"\x00" + events.read_bytes()[1:])
    with pytest.raises(CheckpointError, match=r"events\.jsonl is damaged"):
        resume(tmp_path / "a")


def sealed(folder, change) -> None:
    """The newest checkpoint, changed and sealed again, as anybody can."""
    found, _ = newest(folder / "checkpoint", {}, lambda checkpoint: checkpoint)
    tensors, facts = dict(found.tensors), dict(found.facts)
    change(tensors, facts)
    save(folder / "checkpoint", Checkpoint(found.round, tensors, facts))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, facts: tensors.pop("params"),
        lambda tensors, facts: tensors.update({"strange/x": torch.zeros(1)}),
        lambda tensors, facts: facts.update(events="x"),
        lambda tensors, facts: facts.update(events="-5"),
    ],
)
def test_a_checkpoint_that_is_sealed_and_cannot_be_is_passed_over(tmp_path, change):
    finished = run(SMALL, out=tmp_path / "a")
    (tmp_path / "a" / "result.json").unlink()
    sealed(tmp_path / "a", change)
    remarks = []

    class Remarks:
        def emit(self, event):
            remarks.extend(event.values.get("remarks", []))

    assert resume(tmp_path / "a", sinks=[Remarks()]).summary == finished.summary
    assert remarks == ["The checkpoint 000000006.safetensors is damaged and was not loaded."]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tensors, facts: tensors.update(params=torch.zeros(3)), "is of another model"),
        (lambda tensors, facts: facts.update(events="0"), r"events\.jsonl is damaged"),
    ],
)
def test_a_checkpoint_of_another_form_is_one_sentence(tmp_path, change, sentence):
    run(SMALL, out=tmp_path / "a")
    (tmp_path / "a" / "result.json").unlink()
    sealed(tmp_path / "a", change)
    with pytest.raises(CheckpointError, match=sentence):
        resume(tmp_path / "a")


def test_a_run_does_not_go_on_with_another_partition(tmp_path):
    deal = tmp_path / "deal.json"
    deal.write_text(json.dumps([list(range(start, start + 20)) for start in range(0, 200, 20)]))
    dealt = replace(SMALL, partition=FromFile(str(deal)))
    with pytest.raises(Stopped):
        run(dealt, out=tmp_path / "a", sinks=[StopAfter(2, signal.SIGTERM)])
    deal.write_text(json.dumps([list(range(start, start + 20)) for start in range(20, 220, 20)]))
    with pytest.raises(CheckpointError, match="was started with another partition"):
        resume(tmp_path / "a")


class Listen:
    """A sink that keeps events."""

    def __init__(self) -> None:
        self.events = []

    def emit(self, event):
        self.events.append(event)


def test_other_versions_are_remarked_on(tmp_path):
    with pytest.raises(Stopped):
        run(SMALL, out=tmp_path / "a", sinks=[StopAfter(2, signal.SIGTERM)])
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    manifest["versions"]["torch"] = "1.0"
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    listen = Listen()
    resume(tmp_path / "a", sinks=[listen])
    assert "Started with versions" in listen.events[0].values["remarks"][0]


class Counting(nn.Module):
    """A module whose buffer counts its forward passes, in training and in testing."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.passes += 1
        return self.norm(self.linear(x)) / self.passes


def test_buffers_that_do_not_travel_do_not_tell_how_often_a_model_was_tested(tmp_path):
    torch.manual_seed(0)
    module = Counting()
    straight = run(SMALL, model=module, out=tmp_path / "straight")
    for workers, every in ((1, 0), (2, 1), (2, 0)):
        settings = replace(SMALL.run, workers=workers)
        other = run(replace(SMALL, run=settings, evaluation=EvaluationSettings(every=every)), model=module)
        assert bytes_of(other.model) == bytes_of(straight.model)
    assert straight.model.passes == module.passes == 0
    with pytest.raises(Stopped):
        run(SMALL, model=module, out=tmp_path / "a", sinks=[StopAfter(3, signal.SIGTERM)])
    resume(tmp_path / "a", model=module)
    assert files_without_times(tmp_path / "a") == files_without_times(tmp_path / "straight")


FULL_DISK = """
import resource, signal, sys
from phalanx.config import Experiment
from phalanx.core.errors import CheckpointError
from phalanx.experiments import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Limit:
    def emit(self, event):
        if event.kind == "evaluation" and event.round == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    run(Experiment.load(sys.argv[1]), out=sys.argv[2], sinks=[Limit()])
except CheckpointError as error:
    print(error)
"""


def test_events_that_no_longer_fit_on_the_disk_stop_the_run_with_one_sentence_and_resume_works(tmp_path):
    rare = replace(SMALL, run=replace(SMALL.run, checkpoint_seconds=1000.0))
    (tmp_path / "e.toml").write_text(rare.to_toml())
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "e.toml"), str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    assert "events.jsonl cannot be written: File too large." in done.stdout
    assert len(done.stdout.splitlines()) == 1
    resume(tmp_path / "a")
    run(rare, out=tmp_path / "straight")
    assert files_without_times(tmp_path / "a") == files_without_times(tmp_path / "straight")


@pytest.mark.parametrize("name", [".lock", "events.jsonl", "checkpoint"])
def test_a_strangers_folder_with_a_link_is_refused_and_nothing_outside_of_it_is_written(tmp_path, name):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "config.toml").write_text(SMALL.to_toml())
    (outside / "checkpoint").mkdir(parents=True)
    for file in (".lock", "events.jsonl"):
        (outside / file).write_text("mine")
    if name == "checkpoint":
        (folder / name).rmdir()
    (folder / name).symlink_to(outside / name)
    with pytest.raises(CheckpointError, match=rf"{name} is a symbolic link, which may lead out of its folder"):
        resume(folder)
    assert [(outside / file).read_text() for file in (".lock", "events.jsonl")] == ["mine", "mine"]
    assert not list((outside / "checkpoint").iterdir())


def test_what_a_run_replaces_may_have_been_a_link_and_its_folder_may_be_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.toml").write_text(SMALL.to_toml())
    (tmp_path / "bashrc").write_text("mine")
    for name in (".manifest.json.draft", "manifest.json", "model.safetensors"):
        (tmp_path / "folder" / name).symlink_to(tmp_path / "bashrc")
    (tmp_path / "folder" / "manifest.json").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    resume(tmp_path / "link")
    assert (tmp_path / "bashrc").read_text() == "mine"
    assert not (tmp_path / "folder" / "model.safetensors").is_symlink()


def test_two_processes_do_not_share_a_folder(tmp_path):
    class Intrude:
        def emit(self, event):
            with pytest.raises(CheckpointError, match="another process is running it"):
                run(SMALL, out=tmp_path / "a")

    run(SMALL, out=tmp_path / "a", sinks=[Intrude()])


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"^The run folder .* cannot be used: Not a directory\.$"):
        run(SMALL, out=tmp_path / "file" / "a")


def test_a_read_only_folder_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CheckpointError, match=r"^The run folder .* cannot be used: Read-only file system\.$"):
        run(SMALL, out=tmp_path / "a")


def test_a_disk_that_fills_up_stops_the_run_with_one_sentence_and_resume_works(tmp_path, monkeypatch):
    run(SMALL, out=tmp_path / "straight")
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 20:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        run(SMALL, out=tmp_path / "a")
    monkeypatch.setattr(os, "fsync", real)
    assert not list((tmp_path / "a").rglob("*.draft"))
    resume(tmp_path / "a")
    assert files_without_times(tmp_path / "a") == files_without_times(tmp_path / "straight")


def test_a_rule_that_can_never_have_enough_rows_is_refused_before_any_work(tmp_path):
    with pytest.raises(PreconditionError, match=r"Krum needs n >= 2f \+ 3"):
        run(replace(SMALL, aggregator=Krum(4)), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_round_with_too_few_rows_keeps_the_model_and_says_so():
    events = []

    class Listen:
        def emit(self, event):
            events.append(event)

    fragile = replace(SMALL, participation=FixedSize(7, dropout=0.5), aggregator=Krum(2), run=RunSettings(rounds=4))
    run(fragile, sinks=[Listen()])
    kept = [event for event in events if event.kind == "round" and "kept_model" in event.values]
    assert kept
    assert all("Krum needs n >= 2f + 3 updates; got n=" in event.values["kept_model"] for event in kept)
    assert all(event.values["update_norm"] is None for event in kept)


def test_a_backdoor_takes_the_mean_and_flame_holds():
    attacked = replace(
        SMALL,
        run=RunSettings(rounds=12),
        data=phalanx.Experiment().data,
        partition=IID(num_clients=12),
        participation=phalanx.Experiment().participation,
        training=SGD(lr=0.1, epochs=2, batch_size=16),
        server=phalanx.Experiment().server,
        model=MLP(hidden=(32,)),
        evaluation=EvaluationSettings(every=0),
        adversary=Adversary(
            who=FirstClients(count=3),
            data=Backdoor(trigger=Patch(2), target=0, share=0.5),
            update=ModelReplacement(),
        ),
    )
    broken = run(replace(attacked, aggregator=Mean())).metrics[-1]
    held = run(replace(attacked, aggregator=Flame())).metrics[-1]
    assert broken["attack_success"] > 0.8
    assert held["attack_success"] < 0.2
    assert held["accuracy"] > 0.8
    assert held["tpr"] == 1.0


def test_a_users_own_module_and_data(tmp_path):
    torch.manual_seed(0)
    images, labels = torch.randn(200, 5), torch.arange(200) % 2
    images[labels == 1] += 2
    data = DataSplit("mine", Samples(images, labels, 2), Samples(images, labels, 2))
    module = nn.Linear(5, 2)
    before = bytes_of(module)
    result = run(replace(SMALL, run=RunSettings(rounds=15)), model=module, data=data, out=tmp_path / "a")
    assert result.metrics[-1]["accuracy"] > 0.8
    assert bytes_of(module) == before
    with pytest.raises(ConfigError, match="was given in Python; give it again"):
        resume(tmp_path / "a")
    recorded = Experiment.load(tmp_path / "a" / "config.toml")
    assert run(recorded, model=module, data=data, out=tmp_path / "a").metrics == result.metrics
    with pytest.raises(ConfigError, match="made with another model"):
        run(recorded, model=nn.Linear(5, 2), data=data)


def test_a_model_that_does_not_fit_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"must give logits \[2, 3\]"):
        run(SMALL, model=nn.Linear(8, 4))


def test_resume_asks_for_a_run_folder(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run folder"):
        resume(tmp_path)


def test_the_default_experiment_runs():
    assert run(Experiment(run=RunSettings(rounds=2), model=LogisticRegression())).metrics
