"""Pretrained: a run's model is read back, and nothing else is."""

import json

import pytest
import torch

import phalanx
from phalanx.config import RunSettings
from phalanx.core.errors import ConfigError
from phalanx.data import IID, Synthetic
from phalanx.models import MLP, LogisticRegression, Pretrained


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = Synthetic(num_samples=40, num_features=4, num_classes=2)
    experiment = phalanx.Experiment(
        run=RunSettings(rounds=1), data=data, partition=IID(num_clients=2), model=LogisticRegression()
    )
    return folder, phalanx.run(experiment, out=folder), experiment


def build(folder, architecture=None, **options):
    return Pretrained(architecture or LogisticRegression(), str(folder), **options).build((4,), 2, torch.Generator())


def test_the_model_begins_where_the_run_ended(finished):
    folder, result, _ = finished
    state = build(folder, sha256=result.summary["model_sha256"]).state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in result.model.state_dict().items())


def test_a_run_can_start_from_it_and_its_config_comes_back(finished):
    folder, _, experiment = finished
    following = phalanx.Experiment(**{**vars(experiment), "model": Pretrained(LogisticRegression(), str(folder))})
    assert phalanx.Experiment.from_table(following.to_table()) == following
    assert phalanx.run(following).metrics


def test_another_architecture_another_digest_and_no_run_are_named(finished, tmp_path):
    folder, _, _ = finished
    with pytest.raises(ConfigError, match="another architecture"):
        build(folder, MLP(hidden=(3,)))
    with pytest.raises(ConfigError, match="the config asks for 0000"):
        build(folder, sha256="0" * 64)
    with pytest.raises(ConfigError, match=r"There is no finished run in .* phalanx run FILE --out"):
        build(tmp_path / "none")
    with pytest.raises(ConfigError, match="sha256"):
        Pretrained(LogisticRegression(), "runs/x", sha256="short")


def test_a_damaged_or_exchanged_model_is_refused(finished, tmp_path):
    folder, _, _ = finished
    told, weights = (folder / "result.json").read_text(), (folder / "model.safetensors").read_bytes()
    for result, model, message in (
        (told, weights[:-5], "is damaged"),
        ("[]", weights, "is damaged"),
        ("[" * 100_000, weights, "is damaged"),
        (json.dumps({"model_sha256": "0" * 64}), weights, "is not the one of its result.json"),
    ):
        (tmp_path / "result.json").write_text(result)
        (tmp_path / "model.safetensors").write_bytes(model)
        with pytest.raises(ConfigError, match=message):
            build(tmp_path)
