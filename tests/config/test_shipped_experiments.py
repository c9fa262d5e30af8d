"""The experiments that come with the project are valid as they stand and after a turn through TOML."""

import tomllib
from pathlib import Path

import pytest

from phalanx.config.experiment import Experiment

FILES = sorted((Path(__file__).parents[2] / "experiments").rglob("*.toml"))


def test_there_are_some():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_experiment_is_valid(path):
    experiment = Experiment.load(path)
    assert Experiment.from_table(tomllib.loads(experiment.to_toml())) == experiment
