"""`[evaluation.inversion]`: the row that is attacked is the one that was sent, and everything of it is told, kept and shown."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import phalanx
from phalanx.aggregators import Mean
from phalanx.attacks import Adversary, Always, FirstClients
from phalanx.attacks.update import SignFlip
from phalanx.config import EvaluationSettings, InversionSettings, RunSettings
from phalanx.core.errors import ConfigError, Stopped
from phalanx.core.events import Event
from phalanx.core.families import Aggregator, InversionAttack
from phalanx.core.leak import Reconstruction
from phalanx.data import ATS, IID, Digits, Synthetic
from phalanx.experiments.sheets import encoded, read_sheet, sheet_path
from phalanx.flower.preflight import check as check_for_flower
from phalanx.inversion import InvertingGradients, LinearRecovery, PolicyAware
from phalanx.models import CNN, MLP, LogisticRegression
from phalanx.server import FixedSize
from phalanx.training import DPSGD, SGD, FlatClipping, QuantizedUpdate

ONE_IMAGE = SGD(0.1, batch_size=1, steps=1, augment=(ATS(((0,),)),))
PROBED = phalanx.Experiment(
    run=RunSettings(rounds=4, seed=1),
    data=Digits(),
    partition=IID(num_clients=4),
    model=LogisticRegression(),
    training=ONE_IMAGE,
    evaluation=EvaluationSettings(inversion=InversionSettings(LinearRecovery(), client=2, rounds=(1, 3))),
)


def probed(**changed):
    """The same with other settings of the inversion."""
    return replace(PROBED, evaluation=EvaluationSettings(inversion=replace(PROBED.evaluation.inversion, **changed)))


def told(folder):
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "inversion"]


def comparable(folder):
    """The events without times."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "seconds"}
        for line in (folder / "events.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "probed"
    return folder, phalanx.run(PROBED, out=folder)


def test_one_image_behind_a_linear_model_is_found_as_it_was_trained_on(done):
    """Inverted by ATS: exact beside the inverted image, and far from the one that the client holds."""
    folder, _ = done
    events = told(folder)
    assert [event["round"] for event in events] == [1, 3]
    for event in events:
        assert (event["client"], event["images"], event["labels_right"]) == (2, 1, 1.0)
        assert event["psnr"][0] > 60
        assert event["ssim"][0] > 0.99
        assert event["truth_psnr"][0] < 10
        assert event["mean_psnr"] == 100.0  # as much as an image can count in a mean


def test_an_attacker_who_knows_the_policy_is_compared_with_both_by_its_own_account(tmp_path):
    knowing = probed(attack=PolicyAware(LinearRecovery(), ((0,),)), rounds=(1,))
    phalanx.run(knowing, out=tmp_path)
    [event] = told(tmp_path)
    assert event["psnr"][0] > 60
    assert event["truth_psnr"][0] > 30
    truth, _, found = read_sheet(sheet_path(tmp_path, 1), 1)
    assert np.abs(truth.astype(int) - found).max() < 10


def test_the_pictures_are_in_the_folder_a_row_each(done):
    folder, _ = done
    truth, transformed, found = read_sheet(sheet_path(folder, 3), 1)
    assert np.array_equal(255 - truth, transformed)
    assert np.array_equal(transformed, found)
    assert truth.shape == (1, 8, 8)
    images = Digits().load().train.images
    assert (images == torch.from_numpy(truth.copy())).flatten(1).all(1).any()


def test_the_final_row_holds_the_last_scores(done):
    folder, result = done
    assert result.summary["final"]["inversion_psnr"] == told(folder)[1]["mean_psnr"]
    assert "inversion_psnr" not in result.metrics[0]
    assert result.metrics[1]["inversion_psnr"] == told(folder)[0]["mean_psnr"]


class _Watching(Aggregator):
    """The mean, which keeps what it saw."""

    def combine(self, updates, state, context):
        SEEN.append(updates.matrix.clone())
        return Mean().combine(updates, state, context)


class _Guessing(InversionAttack):
    """Takes every image for grey, whatever the update says."""

    def reconstruct(self, leak, model, generator):
        return Reconstruction(torch.full(leak.shape, 0.5), torch.zeros(leak.shape[0], dtype=torch.int64), torch.zeros(1))


def test_the_mean_image_is_transformed_as_the_clients_or_nothing_would_look_like_something(tmp_path):
    """Digits are dark: beside inverted ones their mean image is worse than grey, and what was not seen would seem found."""
    training = SGD(0.1, batch_size=20, steps=1, augment=(ATS(((0,),)),))
    phalanx.run(replace(probed(attack=_Guessing()), training=training), out=tmp_path)
    for event in told(tmp_path):
        assert event["mean_psnr"] < event["mean_baseline"]
        assert event["mean_baseline"] == pytest.approx(event["truth_mean_baseline"], abs=0.1)  # 255 - x is as far from its mean
    public = Digits().load().test.images
    assert len(public) < 1000
    [truth, *_] = read_sheet(sheet_path(tmp_path, 1), 20)
    error = ((torch.from_numpy(truth.copy()) - public[:, 0].float().mean(0)) / 255).square().flatten(1).mean(1)
    assert told(tmp_path)[0]["truth_baseline"] == pytest.approx((-10 * error.log10()).tolist(), abs=0.01)


class _Telling(InversionAttack):
    """Keeps the gradient that it got."""

    def reconstruct(self, leak, model, generator):
        GOT.append((leak, model.training))
        return Reconstruction(torch.zeros(leak.shape), torch.zeros(leak.shape[0], dtype=torch.int64), torch.zeros(1))


SEEN, GOT = [], []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("model", [LogisticRegression(), CNN()])
def test_the_attacker_gets_the_row_that_the_server_got_bit_for_bit(model, workers):
    SEEN.clear()
    GOT.clear()
    experiment = replace(
        probed(attack=_Telling(), knows_labels=False),
        run=RunSettings(rounds=4, seed=1, workers=workers),
        model=model,
        training=SGD(0.1, batch_size=4, epochs=1, augment=(ATS(((3, 1, 7),)),)),
        data=Digits(),
        aggregator=_Watching(),
    )
    phalanx.run(experiment)
    assert len(GOT) == 2
    for (leak, is_training), round in zip(GOT, (1, 3)):
        assert torch.equal(leak.gradient, SEEN[round][2].neg() / 0.1)
        assert leak.labels is None
        assert leak.local.batch_size == 4
        assert is_training


def test_nothing_else_of_a_run_is_changed_by_it(done):
    _, result = done
    plain = phalanx.run(replace(PROBED, evaluation=EvaluationSettings()))
    assert plain.summary["model_sha256"] == result.summary["model_sha256"]
    assert [row["accuracy"] for row in plain.metrics] == [row["accuracy"] for row in result.metrics]


def test_without_it_digest_and_config_are_those_of_before():
    plain = replace(PROBED, evaluation=EvaluationSettings())
    assert "inversion" not in plain.to_toml()
    assert phalanx.Experiment().digest() == phalanx.Experiment.from_table({"evaluation": {"every": 1}}).digest()
    assert plain.digest() != PROBED.digest() != probed(client=1).digest()
    assert phalanx.Experiment.from_table(PROBED.to_table()) == PROBED


class StopAfter:
    """A sink that interrupts after so many rounds."""

    def __init__(self, rounds):
        self.rounds = rounds

    def emit(self, event: Event):
        if event.kind == "round" and event.round + 1 == self.rounds:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_events_and_pictures(done, tmp_path, rounds):
    with pytest.raises(Stopped):
        phalanx.run(PROBED, out=tmp_path, sinks=[StopAfter(rounds)])
    phalanx.run(PROBED, out=tmp_path)
    assert comparable(tmp_path) == comparable(done[0])
    for round in (1, 3):
        assert sheet_path(tmp_path, round).read_bytes() == sheet_path(done[0], round).read_bytes()


def test_a_client_who_was_not_there_or_attacked_is_told_of_and_no_picture_made(tmp_path):
    away = replace(probed(rounds=(0, 1, 2, 3)), participation=FixedSize(1))
    phalanx.run(away, out=tmp_path / "away")
    reasons = [event.get("missing") for event in told(tmp_path / "away")]
    assert "The client took no part in this round." in reasons
    assert len(list((tmp_path / "away").glob("inversion/*.png"))) == reasons.count(None)
    bad = replace(probed(client=0), adversary=Adversary(who=FirstClients(count=1), when=Always(), update=SignFlip()))
    phalanx.run(bad, out=tmp_path / "bad")
    assert {event["missing"][:24] for event in told(tmp_path / "bad")} == {"The client is an attacke"}


def test_an_attack_that_an_update_defeats_costs_its_picture_and_not_the_run(tmp_path):
    """Nothing is left of a bias's gradient that is rounded to zero."""
    nothing_left = QuantizedUpdate(replace(ONE_IMAGE, lr=1e-30), bits=2)
    result = phalanx.run(replace(PROBED, training=nothing_left), out=tmp_path)
    assert "got 0 everywhere" in told(tmp_path)[0]["missing"]
    assert result.summary["final"]["round"] == 3


@pytest.mark.parametrize(
    ("attack", "changed", "why"),
    [
        (LinearRecovery(), {"training": SGD(0.1, batch_size=150, steps=1)}, "one image; got an update of 150"),
        (LinearRecovery(), {"training": SGD(0.1, batch_size=1, epochs=1)}, "one image; got an update of"),
        (LinearRecovery(), {"model": CNN()}, "first layer is linear with a trained bias; got a Conv2d first"),
        (PolicyAware(LinearRecovery(), ((0,),)), {"model": CNN()}, "got a Conv2d first"),
        (InvertingGradients(batch_norm=0.1), {}, "batch_norm needs a model whose BatchNorm layers"),
    ],
)
def test_an_attack_that_no_update_would_suit_is_refused_before_round_0(tmp_path, attack, changed, why):
    with pytest.raises(ConfigError, match=r"evaluation\.inversion\.attack: .*" + why):
        phalanx.run(replace(probed(attack=attack), **changed), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("attack", [LinearRecovery(), InvertingGradients(steps=2)])
def test_a_model_that_draws_its_gradient_is_refused_before_round_0(attack):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(64, 10))
    with pytest.raises(ConfigError, match=r"evaluation\.inversion\.attack: .* this one has dropout in training"):
        phalanx.run(probed(attack=attack), model=model)


def test_labels_that_the_attack_cannot_read_are_asked_for_before_round_0():
    attack, model = InvertingGradients(steps=2), torch.nn.Sequential(torch.nn.Conv2d(1, 10, 8), torch.nn.Flatten())
    with pytest.raises(ConfigError, match=r"evaluation\.inversion\.attack: Labels are read off a last nn\.Linear"):
        phalanx.run(probed(attack=attack, knows_labels=False), model=model)
    phalanx.run(replace(probed(attack=attack), run=RunSettings(rounds=4)), model=model)


def test_a_number_of_images_that_chance_decides_is_not_refused_if_it_suits_in_one_of_the_rounds(tmp_path):
    """Poisson sampling of two images in 450: with seed 6 it draws 2, 1 and none."""
    training = DPSGD(0.1, steps=1, sample_rate=2 / 450, noise_multiplier=0.0, clipping=FlatClipping(1.0))
    phalanx.run(replace(probed(rounds=(0, 1, 2)), run=RunSettings(rounds=4, seed=6), training=training), out=tmp_path)
    two, one, none = told(tmp_path)
    assert "one image; got an update of 2" in two["missing"]
    assert one["psnr"][0] > 60
    assert "no samples, or none was drawn" in none["missing"]
    with pytest.raises(ConfigError, match="one image; got an update of"):
        phalanx.run(replace(PROBED, training=replace(training, sample_rate=0.5)))


def test_a_search_on_a_batch_scores_every_image_and_finds_labels_without_being_told():
    attack = InvertingGradients(1e-3, steps=40)
    experiment = replace(
        probed(attack=attack, knows_labels=False, rounds=(0,)),
        run=RunSettings(rounds=1),
        model=MLP(hidden=(16,)),
        training=SGD(0.1, batch_size=3, steps=1),
    )
    events = []
    phalanx.run(experiment, sinks=[type("Sink", (), {"emit": lambda self, event: events.append(event)})()])
    [found] = [event.values for event in events if event.kind == "inversion"]
    for name in ("mse", "psnr", "ssim", "baseline", "truth_psnr"):
        assert len(found[name]) == 3
    assert found["psnr"] == found["truth_psnr"]
    assert found["labels_right"] > 0.5


class Watching:
    """A sink that wants to know how far a search is."""

    def __init__(self):
        self.steps = []

    def emit(self, event):
        pass

    def searched(self, made, most, lowest):
        self.steps.append((made, most))


def test_a_search_tells_those_sinks_how_far_it_is_that_want_to_know():
    told = Watching()
    experiment = replace(probed(attack=InvertingGradients(steps=3), rounds=(1,)), run=RunSettings(rounds=2))
    phalanx.run(experiment, sinks=[told, StopAfter(9)])
    assert told.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"client": 4}, r"evaluation\.inversion\.client must be below 4"),
        ({"rounds": (4,)}, r"evaluation\.inversion\.rounds count from 0 and must be below run\.rounds = 4; got 4"),
    ],
)
def test_a_client_or_round_that_never_comes_is_refused_before_round_0(changed, path):
    with pytest.raises(ConfigError, match=path):
        phalanx.run(probed(**changed))


def test_what_cannot_be_attacked_is_refused_before_round_0():
    with pytest.raises(ConfigError, match="without momentum"):
        phalanx.run(replace(PROBED, training=replace(ONE_IMAGE, momentum=0.9)))
    with pytest.raises(ConfigError, match=r"grey or colour images \[C, H, W\]"):
        phalanx.run(replace(PROBED, data=Synthetic(), training=SGD(0.1, steps=1)))


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"attack": {"kind": "linear_recovery"}, "clients": 1}, r"evaluation\.inversion\.clients: unknown field"),
        ({"attack": {"kind": "dgl"}}, r"evaluation\.inversion\.attack.*dgl"),
        ({"attack": {"kind": "dlg"}, "rounds": []}, r"evaluation\.inversion\.rounds"),
        ({"attack": {"kind": "dlg"}, "client": -1}, r"evaluation\.inversion\.client"),
        ({"client": 1}, r"evaluation\.inversion\.attack"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path(table, path):
    with pytest.raises(ConfigError, match=path):
        phalanx.Experiment.from_table({"evaluation": {"inversion": table}})


def test_flower_refuses_it():
    with pytest.raises(ConfigError, match=r"Only the simulator knows evaluation\.inversion"):
        check_for_flower(PROBED)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_comes_back_as_it_was_written(tmp_path, channels):
    images = torch.randint(256, (3, 4, channels, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "sheet.png"
    path.write_bytes(encoded(images))
    found = torch.from_numpy(read_sheet(path, 4).copy()).view(3, 4, 5, 6, channels).permute(0, 1, 4, 2, 3)
    assert torch.equal(found, images)
    assert read_sheet(path, 5) is None
    assert read_sheet(tmp_path / "none.png", 4) is None
