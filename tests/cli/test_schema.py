"""The schema takes every file that Phalanx takes, sweeps too, and refuses what an editor should underline."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from phalanx.cli.schema import print_schema, schema
from phalanx.config import Experiment

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments").rglob("*.toml"))
BLOCKS = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)]
EXPERIMENTS = [block for block in BLOCKS if "project" not in block]


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_is_valid(path, validator):
    validator.validate(tomllib.loads(path.read_text()))


def test_every_experiment_in_the_readme_is_valid(validator):
    assert EXPERIMENTS
    for block in EXPERIMENTS:
        validator.validate(block)


def sweep(text):
    return tomllib.loads(f"[sweep]\n{text}")


@pytest.mark.parametrize(
    "table",
    [
        sweep("seeds = [1, 2, 3]"),
        sweep("[sweep.cross]\ntraining.lr = [0.1, 0.3]\naggregator.noise.level = [0]"),
        sweep("[sweep.attack]\nnone = {}\nmin_max = { adversary.update.kind = 'min_max' }"),
        Experiment().to_table(),
    ],
)
def test_a_sweep_is_valid(table, validator):
    validator.validate(table)


@pytest.mark.parametrize(
    "table",
    [
        sweep("seeds = [1, 1]"),
        sweep("seeds = []"),
        sweep("seeds = 3"),
        sweep("seed = [1]"),
        sweep("[sweep.cross]\ntraining.lr = 0.1"),
        sweep("[sweep.attack]"),
        sweep("[sweep.attack]\nmin_max = 'min_max'"),
        {"sweeps": {}},
        {"run": {"round": 3}},
    ],
)
def test_a_mistake_is_underlined(table, validator):
    assert not validator.is_valid(table)


def test_it_is_printed_as_json(capsys):
    print_schema()
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema()))
