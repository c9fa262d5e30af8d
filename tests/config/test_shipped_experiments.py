"""The experiments that come with the project are valid as they stand and after a turn through TOML."""

import tomllib
from pathlib import Path

import pytest

from phalanx.config.experiment import Experiment
from phalanx.experiments import Sweep

FILES = sorted((Path(__file__).parents[2] / "experiments").rglob("*.toml"))
SWEEPS = [path for path in FILES if "sweep" in tomllib.loads(path.read_text())]


def test_there_are_some_of_both_kinds():
    assert SWEEPS
    assert len(SWEEPS) < len(FILES)


@pytest.mark.parametrize("path", [path for path in FILES if path not in SWEEPS], ids=lambda path: path.stem)
def test_a_shipped_experiment_is_valid(path):
    experiment = Experiment.load(path)
    assert Experiment.from_table(tomllib.loads(experiment.to_toml())) == experiment


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_cell_of_a_shipped_sweep_is_valid(path):
    assert len(Sweep.load(path).cells) > 1
