"""A search: the same scores however many processes make them, nothing scored twice, and what is kept."""

import json
import os
import signal
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from phalanx.config import Experiment, RunSettings
from phalanx.core import rng
from phalanx.core.errors import CheckpointError, ConfigError, DataError, Stopped, WorkerError
from phalanx.data import ATS, Digits, HorizontalFlip, Synthetic
from phalanx.experiments.policy_search import Found, PolicyScorer, ScoredPolicy, search, search_policies
from phalanx.inversion import accuracy_score, privacy_score
from phalanx.models import CNN
from phalanx.training import SGD, CleanHardening, PrunedUpdate

SMALL = Experiment(run=RunSettings(rounds=1, seed=3), data=Digits(), model=CNN(), training=SGD(0.05, epochs=1))


def lines(folder):
    return {line["number"]: line for line in map(json.loads, (folder / "policies.jsonl").read_text().splitlines())}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A search of four policies with one process, where it is, and what was told on the way."""
    folder, told = tmp_path_factory.mktemp("search"), []
    return search_policies(SMALL, out=folder, policies=4, images=2, jobs=1, told=told.append), folder, told


def test_the_folder_has_a_line_for_no_policy_and_for_every_random_triple(done):
    found, folder, told = done
    assert told == [0, 1, 2, 3, 4, 5]
    assert found.none.policy == ()
    assert [len(one.policy) for one in found.scored] == [3, 3, 3, 3]
    assert lines(folder)[2] == {
        "number": 2,
        "policy": list(found.scored[1].policy),
        "privacy": found.scored[1].privacy,
        "accuracy": found.scored[1].accuracy,
    }


def test_scores_are_those_of_the_two_functions_on_images_no_model_has_seen(done):
    found, folder, _ = done
    scorer, policy = PolicyScorer.of(SMALL, folder, 2), found.scored[2].policy
    train = Digits().load().train
    order = torch.randperm(len(train), generator=rng.generator(3, "policy search"))
    assert torch.equal(torch.cat([scorer.images, scorer.batches.flatten()]), order[len(train) // 10 :][: 2 + 630])
    moments = {"mean": train.mean, "std": train.std}

    def transformed(places):
        images, labels = train.pixels(places)
        return ATS((policy,)).apply(images, rng.generator(3, "policy signs", client=int(places[0]))), labels

    privacy = privacy_score(scorer.trained, *transformed(scorer.images), rng.generator(3, "policy noise"), **moments).mean()
    assert found.scored[2].privacy == pytest.approx(float(privacy))
    accuracy = fmean(accuracy_score(scorer.untrained, transformed(batch)[0], **moments) for batch in scorer.batches)
    assert found.scored[2].accuracy == pytest.approx(accuracy)


def test_several_processes_make_the_same_bytes(done, tmp_path):
    search_policies(SMALL, out=tmp_path, policies=4, images=2, jobs=2)
    assert lines(tmp_path) == lines(done[1])


def test_a_killed_search_goes_on_and_a_longer_one_begins_with_the_shorter(done, tmp_path):
    whole = (done[1] / "policies.jsonl").read_bytes()
    search_policies(SMALL, out=tmp_path, policies=1, images=2, jobs=1)
    with (tmp_path / "policies.jsonl").open("ab") as file:
        file.write(b'{"number": 2, "pol')  # what a kill leaves of a line
    told = []
    search_policies(SMALL, out=tmp_path, policies=4, images=2, jobs=1, told=told.append)
    assert told == [2, 3, 4, 5]
    assert (tmp_path / "policies.jsonl").read_bytes() == whole
    assert search_policies(SMALL, out=tmp_path, policies=4, images=2) == done[0]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_stops_between_two_policies_and_loses_nothing(tmp_path, jobs):
    def interrupt(count):
        if count == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="goes on") as stopped:
        search_policies(SMALL, out=tmp_path, policies=30, images=2, jobs=jobs, told=interrupt)
    assert stopped.value.exit_code == 130
    assert 2 <= len(lines(tmp_path)) < 10


def test_a_process_that_dies_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(search, "_score", die)
    with pytest.raises(WorkerError, match="lower --jobs"):
        search_policies(SMALL, out=tmp_path, policies=4, images=2, jobs=2)


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_folder_of_another_search_and_a_damaged_one_are_refused(done, tmp_path):
    with pytest.raises(CheckpointError, match="other settings"):
        search_policies(SMALL, out=done[1], policies=4, images=3)
    (tmp_path / "policies.jsonl").write_text('{"number": 1}\n')
    with pytest.raises(CheckpointError, match="is damaged"):
        search_policies(SMALL, out=tmp_path, policies=1, images=2)


def test_too_few_samples_and_numbers_below_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="2000 images for S_pri"):
        search_policies(SMALL, out=tmp_path / "many", images=2000)
    with pytest.raises(ConfigError, match="policies, images, jobs >= 1; got 0"):
        search_policies(SMALL, out=tmp_path / "none", policies=0)


@pytest.mark.parametrize("name", ["vectors", "bright"])
def test_samples_that_no_policy_can_transform_are_refused_before_any_training(tmp_path, monkeypatch, name):
    split = Synthetic().load() if name == "vectors" else Digits().load()
    if name == "bright":
        images = split.train.images / 255
        images[-1] = 2.0
        split = replace(split, train=replace(split.train, images=images))
    monkeypatch.setattr(Digits, "load", lambda self: split)
    with pytest.raises(ConfigError, match="ATS needs images" if name == "vectors" else "float pixels"):
        search_policies(SMALL, out=tmp_path, policies=1, images=1)
    assert not (tmp_path / "pretrained").exists()


def test_a_model_that_diverged_scores_nothing(tmp_path):
    with pytest.raises(ConfigError, match="diverged"):
        search_policies(replace(SMALL, training=SGD(1e6, epochs=9)), out=tmp_path, policies=1, images=1)


def test_the_training_is_without_the_policies_of_the_config(done, tmp_path):
    """They would make every policy look at a model that is used to another one."""
    plain = PolicyScorer.of(SMALL, done[1], 2)
    transformed = replace(SMALL.training, augment=(ATS(((3, 1, 7),)),))
    for name, training in (("bare", transformed), ("inside", PrunedUpdate(transformed, 1.0))):
        scorer = PolicyScorer.of(replace(SMALL, training=training), tmp_path / name, 2)
        for one, other in zip(scorer.trained.parameters(), plain.trained.parameters()):
            assert torch.equal(one, other)


def test_a_hardening_training_is_without_them_too(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "phalanx.experiments.policy_search.scorer.run", lambda experiment, *_, **__: seen.append(experiment) or 1 / 0
    )
    training = CleanHardening(augment=(ATS(((3, 1, 7),)), HorizontalFlip()))
    with pytest.raises(ZeroDivisionError):
        PolicyScorer.of(replace(SMALL, training=training), tmp_path, 2)
    assert seen[0].training == CleanHardening(augment=(HorizontalFlip(),))


def test_kept_are_the_accurate_ones_the_most_private_first():
    none, *scored = (ScoredPolicy(number, (number,) * 3, privacy, accuracy) for number, privacy, accuracy in SCORES)
    assert [one.number for one in Found(none, tuple(scored), -85.0).kept] == [3, 1]


SCORES = [(0, 0.9, -60.0), (1, 0.8, -70.0), (2, 0.1, -90.0), (3, 0.5, -85.0)]
