import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import phalanx
from phalanx.config import Experiment
from phalanx.core.component import members
from phalanx.core.errors import CheckpointError, ConfigError, Stopped
from phalanx.core.events import Event
from phalanx.core.families import Aggregator
from phalanx.data import Synthetic
from phalanx.experiments import Cell, Sweep, SweepRecord, run, run_sweep
from phalanx.experiments.sweep_record import CELLS, FAILURES, FILE
from phalanx.server.lock import locked


class Listener:
    """Remembers what it is told, and may act on it."""

    def __init__(self, act=None) -> None:
        self.told: list[tuple[Cell, Event]] = []
        self.act = act

    def emit(self, cell: Cell, event: Event) -> None:
        self.told.append((cell, event))
        if self.act:
            self.act(cell, event)

    def tick(self) -> None: ...

    def names(self, kind: str) -> list[str]:
        return [cell.name for cell, event in self.told if event.kind == kind]


def files(out: Path) -> dict[str, object]:
    """What a sweep leaves behind, without seconds."""
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        if path.name in ("config.toml", "result.json", "model.safetensors", FILE, FAILURES):
            found[str(path.relative_to(out))] = path.read_bytes()
        if path.name == "events.jsonl":
            events = [json.loads(line) for line in path.read_text().splitlines()]
            found[str(path.relative_to(out))] = [{**event, "seconds": None} for event in events]
    return found


def kill_worker(cell: Cell, event: Event) -> None:
    if event.kind == "round" and cell.place == {"rule": "mean", "attack": "flip"} and cell.seed == 1:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def folder_of(out: Path, **place) -> Path:
    seed = place.pop("seed")
    sweep = Sweep.load(out / FILE)
    return next(out / CELLS / cell.folder_name for cell in sweep.cells if cell.place == place and cell.seed == seed)


def test_every_cell_is_run_as_phalanx_run_would_and_any_number_of_jobs_gives_the_same_bytes(sweep_file, tmp_path):
    record = run_sweep(sweep_file, out=tmp_path / "two", jobs=2)
    assert not record.failures
    assert len(record.runs) == 8
    run_sweep(Sweep.load(sweep_file), out=tmp_path / "one", jobs=1)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    cell = record.sweep.cells[3]
    alone = run(cell.experiment, out=tmp_path / "alone").folder
    assert (alone / "result.json").read_bytes() == (record.folder_of(cell) / "result.json").read_bytes()
    assert (alone / "model.safetensors").read_bytes() == (record.folder_of(cell) / "model.safetensors").read_bytes()


def test_listeners_hear_of_start_scores_and_end(sweep_file, tmp_path):
    listener = Listener()
    run_sweep(sweep_file, out=tmp_path / "out", jobs=1, listeners=[listener])
    first = [event for cell, event in listener.told if cell is listener.told[0][0]]
    kinds = [event.kind for event in first]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert kinds.count("evaluation") == 4
    assert first[-1].values["accuracy"] == first[-2].values["accuracy"]


def test_what_is_finished_is_found_and_nothing_is_started_or_loaded(sweep_file, tmp_path, monkeypatch):
    run_sweep(sweep_file, out=tmp_path / "out", jobs=2)
    before = files(tmp_path / "out")
    monkeypatch.setattr(os, "fork", None)
    listener = Listener()
    run_sweep(sweep_file, out=tmp_path / "out", listeners=[listener])
    assert len(listener.names("found")) == len(listener.told) == 8
    assert files(tmp_path / "out") == before


def test_a_larger_sweep_in_the_same_folder_runs_only_what_is_new(sweep_file, tmp_path):
    run_sweep(sweep_file, out=tmp_path / "out", jobs=2)
    listener = Listener()
    larger = Sweep.load(sweep_file, {"sweep.seeds": [1, 2, 3]})
    record = run_sweep(larger, out=tmp_path / "out", jobs=2, listeners=[listener])
    assert sorted(listener.names("started")) == sorted(cell.name for cell in larger.cells if cell.seed == 3)
    assert len(record.runs) == 12
    assert SweepRecord.read(tmp_path / "out").sweep.seeds == (1, 2, 3)


def test_a_cell_that_fails_costs_only_itself_and_is_forgotten_when_it_succeeds(sweep_file, tmp_path):
    sweep = Sweep.load(sweep_file, {"sweep.rule.krum.aggregator.num_byzantine": 4})  # 8 clients are too few
    record = run_sweep(sweep, out=tmp_path / "out", jobs=2)
    assert len(record.failures) == 4
    assert set(record.failures.values()) == {
        "Krum needs n >= 2f + 3 updates; got n=8, f=4. Lower num_byzantine or sample more clients."
    }
    assert json.loads((tmp_path / "out" / FAILURES).read_text()) == record.failures
    assert all(run.is_finished == (cell.place["rule"] == "mean") for cell, run in record.runs.items())

    damaged = folder_of(tmp_path / "out", rule="mean", attack="none", seed=2)
    (damaged / "result.json").write_text("garbage")
    record = run_sweep(sweep_file, out=tmp_path / "out", jobs=2)
    assert list(record.failures) == [damaged.name]  # those of the other sweep's cells are no longer of interest
    (damaged / "result.json").unlink()
    while_it_is_tried: list[dict] = []

    def look(_, event: Event) -> None:
        if event.kind == "started":
            while_it_is_tried.append(json.loads((tmp_path / "out" / FAILURES).read_text()))

    record = run_sweep(sweep_file, out=tmp_path / "out", jobs=2, listeners=[Listener(look)])
    assert while_it_is_tried == [{}]
    assert not record.failures
    assert json.loads((tmp_path / "out" / FAILURES).read_text()) == {}


def test_auto_is_the_same_device_as_in_a_run_with_the_same_workers(sweep_file, tmp_path):
    sweep = Sweep.load(sweep_file, {"sweep.workers": {"one": {"run.workers": 1}, "four": {"run.workers": 4, "run.rounds": 5}}})
    record = run_sweep(sweep, out=tmp_path / "out", jobs=2)
    written = {cell.place["workers"]: run.experiment.run for cell, run in record.runs.items()}
    assert (written["one"].devices, written["four"].devices) == (("auto",), ("cpu",))
    assert {settings.workers for settings in written.values()} == {1}


def test_an_unexpected_exception_in_a_cell_is_told_by_its_name(sweep_file, tmp_path, monkeypatch):
    def broken(self, *_):
        raise ZeroDivisionError("by a third party")

    monkeypatch.setattr(members(Aggregator)["krum"], "combine", broken)
    record = run_sweep(sweep_file, out=tmp_path / "out", jobs=2)
    assert set(record.failures.values()) == {"ZeroDivisionError: by a third party"}
    assert sum(run.is_finished for run in record.runs.values()) == 4


def test_a_killed_process_costs_its_cell_and_another_takes_its_place(sweep_file, tmp_path):
    record = run_sweep(sweep_file, out=tmp_path / "out", jobs=1, listeners=[Listener(kill_worker)])
    (cell,) = [cell for cell in record.sweep.cells if record.failure(cell)]
    assert cell.name == "rule mean, attack flip, seed 1"
    assert record.failure(cell).startswith("Its process died (signal SIGKILL); was it killed, or the machine out of memory?")
    assert sum(run.is_finished for run in record.runs.values()) == 7
    again = run_sweep(sweep_file, out=tmp_path / "out", jobs=1)
    run_sweep(sweep_file, out=tmp_path / "whole", jobs=1)
    assert not again.failures
    (tmp_path / "out" / FAILURES).unlink()
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_saves_its_cells_and_goes_on_to_the_same_bytes(sweep_file, tmp_path, number):
    def stop_twice(cell: Cell, event: Event) -> None:
        if event.kind == "round" and cell.place["rule"] == "krum":
            for _ in range(2):
                os.kill(os.getpid(), number)

    sweep = Sweep.load(sweep_file, {"run.rounds": 200, "evaluation.every": 100})
    handlers = [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped) as stopped:
        run_sweep(sweep, out=tmp_path / "out", jobs=2, listeners=[Listener(stop_twice)])
    assert stopped.value.exit_code == 128 + number
    record = SweepRecord.read(tmp_path / "out")
    finished = [cell for cell, found in record.runs.items() if found.is_finished]
    assert str(stopped.value) == (
        f"Stopped; {len(finished)} of 8 cells are finished; go on with: phalanx sweep {tmp_path / 'out' / FILE}"
    )
    assert len(finished) < 8
    assert [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not multiprocessing.active_children()
    begun = [found for found in record.runs.values() if not found.is_finished]
    assert begun
    assert all(list(found.folder.glob("checkpoint/*.json")) for found in begun)

    listener = Listener()
    record = run_sweep(sweep, out=tmp_path / "out", jobs=2, listeners=[listener])
    assert len(listener.names("resumed")) >= len([found for found in begun if found.rounds])
    assert sum(found.is_finished for found in record.runs.values()) == 8
    run_sweep(sweep, out=tmp_path / "whole", jobs=2)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_mistake_in_one_variant_is_found_before_anything_is_written(sweep_file, tmp_path):
    sweep = Sweep.load(sweep_file, {"sweep.attack.worse": {"adversary.updte.kind": "min_max"}})
    with pytest.raises(ConfigError, match=r"cell \(rule mean, attack worse\): "):
        run_sweep(sweep, out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"jobs must be at least 1; got 0\."):
        run_sweep(sweep_file, out=tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_a_damaged_cell_is_told_and_the_others_count(sweep_file, tmp_path):
    out = tmp_path / "out"
    run_sweep(sweep_file, out=out, jobs=2)
    garbage = folder_of(out, rule="mean", attack="none", seed=1)
    (garbage / "result.json").write_text("garbage")
    config = folder_of(out, rule="krum", attack="none", seed=1)
    (config / "config.toml").write_text("[run\n")
    (config / "result.json").unlink()
    record = run_sweep(sweep_file, out=out, jobs=2)
    reasons = {record.folder_of(cell): record.failure(cell) for cell in record.sweep.cells if record.failure(cell)}
    assert set(reasons) == {garbage, config}
    assert reasons[garbage].endswith("result.json is damaged; delete it, or the run folder to start again.")
    assert "config.toml is not valid TOML" in reasons[config]
    assert sum(found.is_finished for found in record.runs.values()) == 6


def test_a_damaged_account_of_failures_stops_nothing(sweep_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FAILURES).write_text("garbage")
    assert not run_sweep(sweep_file, out=tmp_path / "out", jobs=2).failures


def test_a_folder_that_is_in_use_or_a_run_s_or_no_folder_is_refused(sweep_file, tmp_path):
    with locked(tmp_path / "out", "sweep's folder"), pytest.raises(CheckpointError, match="another process is running it"):
        run_sweep(sweep_file, out=tmp_path / "out")
    run(replace(Experiment(), run=replace(Experiment().run, rounds=1)), out=tmp_path / "run")
    with pytest.raises(CheckpointError, match="is the folder of a run; choose another for the sweep with --out"):
        run_sweep(sweep_file, out=tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"^The sweep's folder .* cannot be used: Not a directory\.$"):
        run_sweep(sweep_file, out=sweep_file / "out")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_full_disk_is_one_sentence_and_leaves_no_process(sweep_file, tmp_path, monkeypatch):
    out, real, full = tmp_path / "out", os.fsync, [FILE]

    def sync(descriptor):
        if any(name in os.readlink(f"/proc/self/fd/{descriptor}") for name in full):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(CheckpointError, match=r"^.*sweep\.toml cannot be written: No space left on device\.$"):
        run_sweep(sweep_file, out=out)
    full[:] = [FAILURES]
    sweep = Sweep.load(sweep_file, {"sweep.rule.krum.aggregator.num_byzantine": 4})
    with pytest.raises(CheckpointError, match=r"^.*failures\.json cannot be written: No space left on device\.$"):
        run_sweep(sweep, out=out, jobs=2)
    assert not multiprocessing.active_children()


def test_a_cell_that_is_a_link_fails_alone_and_linked_cells_are_refused(sweep_file, tmp_path):
    out, outside = tmp_path / "out", tmp_path / "outside"
    cells = Sweep.load(sweep_file).cells
    (out / CELLS).mkdir(parents=True)
    outside.mkdir()
    (out / CELLS / cells[0].folder_name).symlink_to(outside)
    record = run_sweep(sweep_file, out=out, jobs=2)
    assert list(record.failures) == [cells[0].folder_name]
    assert "is a symbolic link, which may lead out of its folder" in record.failures[cells[0].folder_name]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CELLS).symlink_to(outside)
    with pytest.raises(CheckpointError, match="cells is a symbolic link"):
        run_sweep(sweep_file, out=tmp_path / "other", jobs=2)
    assert not list(outside.iterdir())


def test_a_killed_sweep_leaves_no_process_and_goes_on(sweep_file, tmp_path):
    out = tmp_path / "out"
    code = f"import phalanx; phalanx.sweep({str(sweep_file)!r}, out={str(out)!r}, jobs=2)"
    sweep_file.write_text(sweep_file.read_text().replace("rounds = 4", "rounds = 200"))
    process = subprocess.Popen([sys.executable, "-c", code])
    while len(list(out.glob(f"{CELLS}/*/manifest.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    # The lock is held by every process of the sweep: it is free when the last is gone.
    for _ in range(1000):
        try:
            locked(out, "sweep's folder").close()
            break
        except CheckpointError:
            time.sleep(0.02)
    record = run_sweep(sweep_file, out=out, jobs=2)
    assert sum(found.is_finished for found in record.runs.values()) == 8


def test_in_a_thread_a_sweep_runs_without_signals(sweep_file, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(run_sweep(sweep_file, out=tmp_path / "out", jobs=2)))
    thread.start()
    thread.join()
    assert len(found[0].runs) == 8


def test_phalanx_sweep_is_the_same_function():
    assert phalanx.sweep is run_sweep


def test_a_process_loads_a_data_set_once_for_all_its_cells(sweep_file, tmp_path, monkeypatch):
    load, told = Synthetic.load, tmp_path / "loads"

    def counted(self):
        with told.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return load(self)

    monkeypatch.setattr(Synthetic, "load", counted)  # the forks inherit it
    record = run_sweep(sweep_file, out=tmp_path / "out", jobs=1)
    assert len(record.runs) == 8
    # One look ahead in a process of its own, then one load for eight cells.
    assert len(told.read_text().split()) == 2
