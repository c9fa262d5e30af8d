"""The script that turns FLIP's sweeps into tables: finished cells by hand, and dashes for what is not finished."""

import importlib.util
from pathlib import Path
from statistics import fmean, stdev

import phalanx
from phalanx.experiments import RunRecord, Sweep, SweepRecord

SCRIPT = Path(__file__).parents[2] / "experiments" / "flip" / "tables.py"
SWEEP = """
[run]
rounds = 6
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
seeds = [1, 2]
[sweep.training]
plain = {}
clean_hardening = { training = { kind = "clean_hardening" } }
[sweep.attack]
continuous = {}
"single shot" = { adversary.when = { kind = "staggered", rounds = [0, 2] } }
"""


def load():
    spec = importlib.util.spec_from_file_location("flip_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder, attack, seeds):
    """The finished cells of plain training, as the tables are to read them: their tests, one list for each seed."""
    record = SweepRecord.read(folder)
    tests = []
    for cell in record.sweep.cells:
        if cell.place == {"training": "plain", "attack": attack} and cell.experiment.run.seed in seeds:
            phalanx.run(cell.experiment, out=record.folder_of(cell))
            tests.append(RunRecord.read(record.folder_of(cell)).evaluations)
    return tests


def test_a_single_shot_stands_in_its_last_round_and_three_rounds_later_and_the_unfinished_as_dashes(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    [tests] = run(tmp_path, "single shot", [1])
    lines = load().tables(SweepRecord.read(tmp_path)).splitlines()
    start = lines.index(f"**{tmp_path.name}, single shot**: 2 seeds, in percent at τ = 0 / at τ* = 0.4 (base rate)")
    then, later = ([f"{100 * tests[round][name]:.1f}" for name in NAMES] for round in (2, 5))
    assert "last shot's round | attack success, 3 rounds later | accuracy then" in lines[start + 2]
    shown = [f"{success} / {gated} ({base})" for success, gated, base, *_ in (then, later)]
    assert lines[start + 4] == f"| plain | {shown[0]} | {shown[1]} | {later[3]} / {later[4]} | near 100 |"
    assert lines[start + 5] == "| clean_hardening | – | – | – |  |"


def test_a_continuous_attack_is_the_mean_of_the_last_rounds_over_seeds_with_its_deviation(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    seeds = run(tmp_path, "continuous", [1, 2])
    of_seeds = {name: [100 * fmean(test[name] for test in tests[1:]) for tests in seeds] for name in NAMES}
    shown = [f"{fmean(values):.1f} ± {stdev(values):.1f}" for values in of_seeds.values()]
    lines = load().tables(SweepRecord.read(tmp_path)).splitlines()
    assert lines[2] == "| defence | attack success, mean of the last 5 rounds | accuracy then |"
    assert lines[4] == f"| plain | {shown[0]} / {shown[1]} ({shown[2]}) | {shown[3]} / {shown[4]} |"


def test_what_was_reported_stands_beside_flip_with_the_mean_alone():
    tables, folder = load(), SCRIPT.parent
    lines = {}
    for name in ("fashion_mnist", "mnist_baselines", "mnist_off_path", "mnist_presets", "cifar10"):
        record = SweepRecord.of(Path("nowhere") / name, Sweep.load(folder / f"{name}.toml"))
        for line in tables.tables(record).splitlines():
            lines[name, line.split(" | ")[0].removeprefix("| ")] = line  # the single shot's, which come last
    assert "below 10" in lines["fashion_mnist", "F8"]
    assert "below 10" in lines["mnist_baselines", "FLIP"]
    assert "near 100" in lines["cifar10", "plain"]
    for mine in (("mnist_baselines", "FLIP + Flame"), ("mnist_baselines", "Krum"), ("mnist_presets", "clean_hardening")):
        assert lines[mine].endswith("|  |")


NAMES = ("attack_success", "gated_attack_success", "base_rate", "accuracy", "gated_accuracy")
