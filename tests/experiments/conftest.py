"""A sweep that takes a second: two rules x two attacks x two seeds of logistic regression on synthetic data."""

from pathlib import Path

import pytest

SWEEP = """
[run]
rounds = 4
[data]
kind = "synthetic"
num_samples = 200
num_features = 6
num_classes = 2
[partition]
kind = "iid"
num_clients = 8
[model]
kind = "logistic_regression"
[training]
kind = "sgd"
lr = 0.1
epochs = 1
[sweep]
seeds = [1, 2]
[sweep.rule]
mean = { aggregator.kind = "mean" }
krum = { aggregator = { kind = "krum", num_byzantine = 2 } }
[sweep.attack]
none = {}
flip = { adversary = { who = { kind = "first_clients", count = 2 }, update = { kind = "sign_flip", scale = 5.0 } } }
"""


@pytest.fixture
def sweep_file(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SWEEP)
    return path
