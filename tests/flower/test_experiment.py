"""A whole experiment in Flower: honest and malicious clients, the test set, the folder that it leaves behind."""

import json
import math
import re
import stat
from dataclasses import replace

import pytest
import torch
from flwr.app import Context, Message, RecordDict
from safetensors.torch import load_file

from phalanx.aggregators import FLTrust, Krum, Mean, Tolpegin, TrimmedMean
from phalanx.attacks import (
    Adversary,
    ALittleIsEnough,
    Backdoor,
    FirstClients,
    Gaussian,
    LabelFlipAll,
    MinMax,
    ModelReplacement,
    Neurotoxin,
    Patch,
    Rounds,
    ShareOfRound,
    SignFlip,
)
from phalanx.cli import federating
from phalanx.cli.main import app as command
from phalanx.config import EvaluationSettings, Experiment, RunSettings
from phalanx.core.errors import CapabilityError, CheckpointError, ConfigError, PreconditionError
from phalanx.data import IID, Digits
from phalanx.experiments import run
from phalanx.flower import InProcessGrid, experiment_client, serve
from phalanx.flower.client import number_of
from phalanx.flower.project import write_project
from phalanx.models import MLP
from phalanx.report.panels.embedding import _plane
from phalanx.server import FixedSize, Screening
from phalanx.training import SGD

ONE = FirstClients(count=1)
DIGITS = Experiment(
    run=RunSettings(rounds=4, seed=1),
    data=Digits(),
    partition=IID(num_clients=5),
    model=MLP(hidden=(16,)),
    training=SGD(lr=0.5, epochs=1, batch_size=32),
    aggregator=TrimmedMean(num_byzantine=1),
)


def federate(experiment, folder, *, grid=None):
    """With the experiment's own seed on the server, too, so that it draws what the simulator draws."""
    grid = grid or InProcessGrid([experiment_client(experiment)] * experiment.partition.num_clients)
    return serve(experiment, grid, folder=folder, round_seconds=1, seed=experiment.run.seed)


def test_an_unattacked_experiment_ends_in_the_bytes_of_phalanx_run(tmp_path):
    simulated = run(DIGITS)
    summary = federate(DIGITS, tmp_path)
    assert summary["model_sha256"] == simulated.summary["model_sha256"]
    assert summary["final"]["accuracy"] == simulated.summary["final"]["accuracy"] > 0.8
    model = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(model[name], tensor) for name, tensor in simulated.model.state_dict().items())


@pytest.mark.parametrize(
    "adversary",
    [
        Adversary(who=ONE, data=LabelFlipAll()),
        Adversary(who=ONE, update=SignFlip(scale=5.0)),
        Adversary(who=ONE, data=Backdoor(trigger=Patch(2), target=0, share=0.5), update=ModelReplacement()),
        Adversary(who=ONE, update=SignFlip(), when=Rounds(rounds=(1, 2))),
    ],
    ids=["label flip", "sign flip", "backdoor", "two rounds only"],
)
def test_attackers_do_what_they_do_in_the_simulator(adversary, tmp_path):
    """One attacker sees no less alone than among his like: the bytes are the same."""
    experiment = replace(DIGITS, adversary=adversary, aggregator=Mean())
    simulated = run(experiment).summary
    summary = federate(experiment, tmp_path)
    assert summary["model_sha256"] == simulated["model_sha256"]
    assert summary["final"].get("attack_success") == simulated["final"].get("attack_success")


def test_an_attack_breaks_the_mean_and_the_rule_holds(tmp_path):
    attacked = replace(DIGITS, adversary=Adversary(who=ONE, update=SignFlip(scale=20.0)))
    defended = federate(attacked, tmp_path / "defended")
    undefended = federate(replace(attacked, aggregator=Mean()), tmp_path / "undefended")
    assert defended["final"]["accuracy"] > 0.8
    assert undefended["final"]["accuracy"] < 0.3


def test_attackers_on_machines_of_their_own_send_noise_of_their_own(tmp_path):
    experiment = replace(DIGITS, adversary=Adversary(who=FirstClients(count=2), update=Gaussian(std=1.0)))
    grid = InProcessGrid([experiment_client(experiment)] * 5)
    rows = {}

    def watch(node, answer=grid._answer):
        def record(number, message):
            reply = answer(number, message)
            rows[number] = reply.content["phalanx.update"]["1.weight"].numpy()
            return reply

        return record

    grid._answer = watch(None)
    serve(replace(experiment, run=RunSettings(rounds=1, seed=1)), grid, folder=tmp_path, round_seconds=1)
    assert abs(float((rows[1] * rows[2]).mean())) < 0.2
    assert rows[1].std() > 0.5


def test_neurotoxin_knows_how_the_model_moved(tmp_path):
    """It needs the last update: its client sees the model move, and takes that."""
    backdoor = Backdoor(trigger=Patch(2), target=0, share=0.5)
    experiment = replace(DIGITS, adversary=Adversary(who=ONE, data=backdoor, client=Neurotoxin(share=0.5)), aggregator=Mean())
    final = federate(experiment, tmp_path)["final"]
    simulated = run(experiment).summary["final"]
    assert final["accuracy"] == pytest.approx(simulated["accuracy"], abs=0.03)


@pytest.mark.parametrize("update", [ALittleIsEnough(), MinMax()], ids=lambda update: update.kind)
def test_attackers_who_need_each_other_are_refused(update, tmp_path):
    experiment = replace(DIGITS, adversary=Adversary(who=FirstClients(count=2), update=update))
    with pytest.raises(CapabilityError, match="attackers who see each other's updates"):
        experiment_client(experiment)
    with pytest.raises(CapabilityError, match="this federation does not have it"):
        serve(experiment, None, folder=tmp_path)


def test_attackers_drawn_among_a_rounds_clients_are_refused(tmp_path):
    """A node knows only itself: it would always be the one that is drawn."""
    experiment = replace(DIGITS, adversary=Adversary(who=ShareOfRound(0.4), update=SignFlip()))
    for start in (lambda: experiment_client(experiment), lambda: serve(experiment, None, folder=tmp_path)):
        with pytest.raises(CapabilityError, match="ShareOfRound needs a node to know who else takes part"):
            start()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"participation": FixedSize(size=3, dropout=0.2)}, "participation.dropout"),
        ({"evaluation": EvaluationSettings(tau=0.5)}, "evaluation.tau"),
        ({"run": RunSettings(workers=2)}, "run.workers"),
        ({"run": RunSettings(devices=("cuda:0",), checkpoint_seconds=5.0)}, "run.devices, run.checkpoint_seconds"),
    ],
)
def test_what_only_the_simulator_does_is_refused(change, name, tmp_path):
    with pytest.raises(ConfigError, match=f"Only the simulator knows {name}"):
        serve(replace(DIGITS, **change), None, folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"aggregator": Krum(num_byzantine=2)}, PreconditionError, "n >="),
        ({"aggregator": FLTrust()}, CapabilityError, "trusted root data"),
        ({"aggregator": Mean(), "screening": Screening(weights="samples")}, ConfigError, "max_samples"),
        ({"participation": FixedSize(size=9)}, ConfigError, "size=9, 5 clients"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_before_an_app_is_written(change, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence):
        write_project(replace(DIGITS, **change), tmp_path / "app")
    assert not (tmp_path / "app").exists()


def test_a_kill_before_the_result_is_written_costs_no_number(tmp_path):
    summary = federate(DIGITS, tmp_path)
    (tmp_path / "result.json").unlink()
    assert federate(DIGITS, tmp_path) == summary
    assert summary["final"]["accuracy"] > 0.8


def test_what_the_server_draws_no_node_can_draw_again(tmp_path):
    """The experiment travels with its seed; the server's own stays in its folder, and a resumed federation has the same."""
    drawing = replace(DIGITS, participation=FixedSize(size=3), run=RunSettings(rounds=6, seed=1))
    clients = []
    for name in ("one", "two"):
        grid = InProcessGrid([experiment_client(drawing)] * 5)
        serve(drawing, grid, folder=tmp_path / name, round_seconds=1)
        events = map(json.loads, (tmp_path / name / "events.jsonl").read_text().splitlines())
        clients.append([event["clients"] for event in events if event["event"] == "round"])
    assert clients[0] != clients[1]
    seed = tmp_path / "one" / "seed"
    assert (stat.S_IMODE(seed.stat().st_mode), len(seed.read_text()) > 30) == (0o600, True)
    (tmp_path / "one" / "result.json").unlink()
    serve(drawing, InProcessGrid([experiment_client(drawing)] * 5), folder=tmp_path / "one", round_seconds=1)


def test_a_node_may_bring_its_own_data_and_need_not_have_the_experiments(tmp_path, monkeypatch):
    part = Digits().load().train
    own = replace(part, images=part.images[:100], labels=part.labels[:100])
    app = experiment_client(DIGITS, data=lambda context: own)
    loads = []
    monkeypatch.setattr(Digits, "load", lambda self, load=Digits.load: loads.append(self) or load(self))
    assert federate(DIGITS, tmp_path, grid=InProcessGrid([app] * 5))["final"]["accuracy"] > 0.3
    assert len(loads) == 1  # the server's, for its test set


def test_the_folder_is_one_that_show_and_report_read(tmp_path, capsys):
    folder = tmp_path / "run"
    federate(replace(DIGITS, adversary=Adversary(who=ONE, data=Backdoor(trigger=Patch(2), target=0, share=0.5))), folder)
    command(["show", str(folder), "--json"], standalone_mode=False)
    shown = json.loads(capsys.readouterr().out)
    assert shown["state"] == "finished"
    assert shown["attackers"] is None
    command(["report", str(folder), "--out", str(tmp_path / "page.html")], standalone_mode=False)
    assert "<svg" in (tmp_path / "page.html").read_text()


def test_no_page_says_who_is_honest_where_nobody_knows(tmp_path):
    seeing = replace(DIGITS, aggregator=Krum(num_byzantine=1), run=RunSettings(rounds=1, seed=1))
    federate(seeing, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[0])
    assert not {"malicious", "loss", "attack"} & told.keys()
    assert told["claimed_loss"] > 0
    command(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")], standalone_mode=False)
    page = (tmp_path / "page.html").read_text()
    assert "of whom nobody knows who attacks" in page
    assert "no weight: honest" not in page


@pytest.mark.parametrize("asked", [False, True])
def test_where_the_rule_saw_each_client_is_told_when_it_is_asked_for(tmp_path, asked):
    seeing = replace(DIGITS, aggregator=Tolpegin(), run=RunSettings(rounds=1, seed=1))
    serve(seeing, InProcessGrid([experiment_client(seeing)] * 5), folder=tmp_path, round_seconds=1, embeddings=asked)
    told = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])
    assert len(told.get("embedding", [])) == (5 if asked else 0)


def test_points_of_a_real_federation_have_no_side():
    event = {"round": 2, "clients": [0, 1, 2], "embedding": [[0, 0], [1, 1], [2, 2]], "influence": [0.5, 0.5, 0]}
    assert _plane(event).described() == "round 3: 2 of 3 clients kept"
    assert _plane({**event, "malicious": [2]}).described() == "round 3: 0 of 1 attackers and 2 of 2 honest clients kept"


def test_a_finished_federation_is_read_back_and_another_one_refused(tmp_path):
    summary = federate(DIGITS, tmp_path)
    assert serve(DIGITS, None, folder=tmp_path) == summary
    with pytest.raises(CheckpointError, match="holds another experiment"):
        serve(replace(DIGITS, aggregator=Mean()), None, folder=tmp_path)


def test_a_damaged_result_and_another_ones_are_not_taken_for_this_federations(tmp_path):
    summary = federate(DIGITS, tmp_path)
    result = tmp_path / "result.json"
    for text, sentence in (
        (result.read_text()[:-9], r"result\.json is damaged"),
        (
            json.dumps({**summary, "experiment": "0123456789"}),
            "is not this federation's; delete result.json and start it again",
        ),
    ):
        result.write_text(text)
        with pytest.raises(CheckpointError, match=sentence):
            serve(DIGITS, None, folder=tmp_path)
        with pytest.raises(CheckpointError, match=r"is damaged|is not this run's"):
            federating._tell_result({"folder": str(tmp_path)})


def test_the_model_is_there_though_the_events_cannot_be_summed_up(tmp_path, monkeypatch):
    def damaged(events):
        raise CheckpointError("damaged")

    monkeypatch.setattr("phalanx.flower.serving._final", damaged)
    with pytest.raises(CheckpointError, match="damaged"):
        federate(DIGITS, tmp_path)
    assert load_file(tmp_path / "model.safetensors")


def test_a_node_without_a_part_says_so(tmp_path):
    grid = InProcessGrid([experiment_client(DIGITS)] * 6)
    folder = tmp_path
    serve(replace(DIGITS, run=RunSettings(rounds=1, seed=1)), grid, folder=folder, round_seconds=1)
    event = json.loads((folder / "events.jsonl").read_text().splitlines()[0])
    assert event["rejected"] == {"error": [5]}


@pytest.mark.parametrize("given", [-1, 1.9, "-1", "1.9", "\u0663", "", True, math.nan], ids=ascii)
def test_a_number_that_no_client_has_is_refused(given):
    """-1 would be trained on the last client's samples, with the server's random numbers; 1.9 was 1."""
    with pytest.raises(ConfigError, match=f"a whole number from 0 on; got {re.escape(repr(given))}"):
        number_of(Context(1, 2**63, {"partition-id": given}, RecordDict(), {}))


def test_a_number_is_taken_as_flower_hands_it_over():
    configs = ({"partition-id": 3}, {"partition-id": "3"}, {})
    assert [number_of(Context(1, 2**63, config, RecordDict(), {})) for config in configs] == [3, 3, 2**63]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "needs a partition-id from 0 to 4 in its node config; got none."),
        ({"partition-id": 5}, "needs a partition-id from 0 to 4 in its node config; got 5."),
        ({"partition-id": -1}, "a whole number from 0 on; got -1"),
    ],
)
def test_a_node_whose_part_there_is_not_says_what_is_needed(config, sentence):
    grid = InProcessGrid([experiment_client(DIGITS)])
    grid.contexts[1].node_config = config
    [answer] = grid.send_and_receive([Message(RecordDict(), 1, "train")])
    assert sentence in answer.error.reason
