"""The script that turns FLIP's sweeps into tables: a finished cell by hand, and dashes for what is not finished."""

import importlib.util
import json
from pathlib import Path

import phalanx
from phalanx.experiments import Sweep, SweepRecord

SCRIPT = Path(__file__).parents[2] / "experiments" / "flip" / "tables.py"
SWEEP = """
[run]
rounds = 2
[data]
kind = "digits"
[partition]
kind = "iid"
num_clients = 3
[model]
kind = "logistic_regression"
[training]
kind = "sgd"
lr = 0.1
epochs = 1
[adversary]
who = { kind = "first_clients", count = 1 }
data = { kind = "backdoor", target = 2, share = 0.5, trigger = { kind = "patch", height = 2 } }
[evaluation]
tau = 0.4
[sweep]
[sweep.training]
plain = {}
clean_hardening = { training = { kind = "clean_hardening" } }
[sweep.attack]
continuous = {}
"single shot" = { adversary.when = { kind = "rounds", rounds = [0] } }
"""


def load():
    spec = importlib.util.spec_from_file_location("flip_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_finished_cell_stands_at_both_thresholds_and_an_unfinished_one_shows_as_a_dash(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    record = SweepRecord.read(tmp_path)
    cell = next(cell for cell in record.sweep.cells if cell.place == {"training": "plain", "attack": "single shot"})
    phalanx.run(cell.experiment, out=record.folder_of(cell))
    final = json.loads((record.folder_of(cell) / "result.json").read_text())["final"]
    tested = [event["attack_success"] for event in record.runs[cell].evaluations]
    told = [100 * final[name] for name in ("accuracy", "gated_accuracy", "attack_success", "gated_attack_success")]
    lines = load().table(SweepRecord.read(tmp_path)).splitlines()
    assert lines[0] == f"**{tmp_path.name}**, in percent at τ = 0 / at τ* = 0.4"
    scores = f"{told[0]:.1f} / {told[1]:.1f} | {told[2]:.1f} / {told[3]:.1f} | {100 * max(tested):.1f}"
    assert lines[4] == f"| plain | – | – | – | {scores} |  |"
    assert lines[5] == "| clean_hardening | – | – | – | – | – | – |  |"


def test_what_was_reported_stands_beside_flip_with_the_mean_alone():
    tables, folder = load(), SCRIPT.parent
    lines = {}
    for name in ("fashion_mnist", "mnist_baselines", "mnist_off_path", "mnist_presets", "cifar10"):
        record = SweepRecord.of(Path("nowhere") / name, Sweep.load(folder / f"{name}.toml"))
        for line in tables.table(record).splitlines()[4:]:
            lines[name, line.split(" | ")[0].removeprefix("| ")] = line
    assert "below 10; the check: 15" in lines["fashion_mnist", "F8"]
    assert "below 10" in lines["mnist_baselines", "FLIP"]
    assert "near 100" in lines["cifar10", "plain"]
    for mine in (("mnist_baselines", "FLIP + Flame"), ("mnist_baselines", "Krum"), ("mnist_presets", "clean_hardening")):
        assert lines[mine].endswith("|  |")
