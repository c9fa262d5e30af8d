"""dp_mod: what leaves a stock client app is clipped, noised and paid for, or it does not leave."""

import json
import logging
import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from scipy import stats

from phalanx.aggregators import Mean
from phalanx.core.errors import ConfigError
from phalanx.flower import InProcessGrid, RobustStrategy, dp_mod
from phalanx.flower.dp_mod import NOT_RELEASED
from phalanx.privacy.accounting import epsilon
from phalanx.server.lock import locked

D = 20_000
MODEL = {"w": np.full((D // 4, 4), 3.0, np.float32), "scale": np.array(2.0), "steps": np.array(7)}


def answering(change, *mods):
    """A stock app: `change` maps the model's arrays to what it sends. It also tells its loss."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message, context):
        arrays = change({name: array.numpy() for name, array in message.content["arrays"].items()})
        sent = ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})
        content = {"arrays": sent, "metrics": MetricRecord({"loss": 0.25, "num-examples": 812})}
        return Message(RecordDict(content), reply_to=message)

    @app.evaluate()
    def evaluate(message, context):
        return Message(RecordDict({"metrics": MetricRecord({"loss": 0.25})}), reply_to=message)

    return app


def grown(by):
    return lambda model: {**model, "w": model["w"] + np.float32(by), "steps": model["steps"] + 1}


def asked(app, context=None, kind="train"):
    """What an app answers to one message."""
    InProcessGrid([])  # a message asks for the identity that a grid sets
    arrays = ArrayRecord({name: Array(array) for name, array in MODEL.items()})
    message = Message(RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})}), 1, kind)
    message.metadata.__dict__["_message_id"] = "1"
    return app(message, context or Context(1, 1, {}, RecordDict(), {}))


def difference(reply):
    return reply.content["arrays"]["w"].numpy().ravel().astype(np.float64) - 3.0


def test_without_much_noise_the_update_is_clipped_over_all_arrays_together():
    reply = asked(answering(grown(5.0), dp_mod(clip_norm=1.0, noise_multiplier=1e-6)))
    assert np.linalg.norm(difference(reply)) == pytest.approx(1.0, rel=1e-3)
    short = asked(answering(grown(1e-5), dp_mod(clip_norm=1.0, noise_multiplier=1e-9)))
    assert np.allclose(difference(short), 1e-5, atol=3e-7)


def test_the_noise_is_normal_with_z_times_c():
    noise = difference(asked(answering(grown(0.0), dp_mod(clip_norm=0.5, noise_multiplier=4.0))))
    assert stats.kstest(noise / 2.0, "norm").pvalue > 1e-4


def test_nobody_can_draw_the_noise_again():
    app = answering(grown(0.0), dp_mod(clip_norm=1.0, noise_multiplier=1.0))
    assert not np.array_equal(difference(asked(app)), difference(asked(app)))


def test_nothing_leaves_without_noise():
    """Neither loss nor counts, nor integers; names, shapes and dtypes are what the server sent."""
    reply = asked(answering(grown(1.0), dp_mod(clip_norm=1.0, noise_multiplier=1.0)))
    assert sorted(reply.content) == ["arrays", "metrics"]
    assert dict(reply.content["metrics"]) == {"num-examples": 1}
    arrays = {name: array.numpy() for name, array in reply.content["arrays"].items()}
    assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == {n: (a.shape, a.dtype) for n, a in MODEL.items()}
    assert arrays["steps"] == 7
    assert arrays["scale"] != 2.0


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_client_that_diverged_sends_noise_alone(value):
    def diverged(model):
        return {**model, "scale": np.array(value)}

    sent = asked(answering(diverged, dp_mod(clip_norm=1.0, noise_multiplier=1.0)))
    noise = difference(sent)
    assert np.isfinite(noise).all()
    assert noise.std() == pytest.approx(1.0, rel=0.05)


def failing(model):
    raise RuntimeError("no such patient: Jane Doe")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (failing, "this node's log says how"),
        (lambda model: {**model, "extra": np.zeros(1)}, "in names and shapes"),
        (lambda model: {**model, "w": model["w"].T}, "in names and shapes"),
        (lambda model: {**model, "w": np.full(model["w"].shape, "Jane")}, "in names and shapes"),
        (lambda model: {}, "in names and shapes"),
    ],
    ids=["an app that fails", "an array more", "transposed", "words", "nothing"],
)
def test_what_cannot_be_noised_is_no_answer(change, sentence, tmp_path):
    reply = asked(answering(change, dp_mod(clip_norm=1.0, noise_multiplier=1.0, ledger=tmp_path)))
    assert reply.has_error()
    assert reply.error.code == NOT_RELEASED
    assert sentence in reply.error.reason
    assert "Jane" not in reply.error.reason
    assert not (tmp_path / "privacy.jsonl").exists()


def test_a_record_beside_the_model_is_no_answer():
    app = ClientApp(mods=[dp_mod(clip_norm=1.0, noise_multiplier=1.0)])

    @app.train()
    def train(message, context):
        return Message(RecordDict({"arrays": message.content["arrays"], "more": ArrayRecord()}), reply_to=message)

    assert "one record of arrays" in asked(app).error.reason


def test_a_client_is_not_tested():
    reply = asked(answering(grown(0.0), dp_mod(clip_norm=1.0, noise_multiplier=1.0)), kind="evaluate")
    assert "train and nothing else" in reply.error.reason


@pytest.mark.parametrize("where", ["in the state", "in a folder"])
def test_a_node_that_was_started_again_has_not_forgotten_what_it_spent(where, tmp_path):
    """Every message starts a new process: what lasts is `context.state`, or the folder, also in another run of Flower's."""
    ledger = None if where == "in the state" else tmp_path / "ledger"
    budget = 1.01 * epsilon(8.0, 1.0, 3, 1e-5, sampling="none", neighbours="replace-one")
    context = Context(1, 1, {}, RecordDict(), {})
    replies = []
    for run in range(5):
        app = answering(grown(1.0), dp_mod(clip_norm=1.0, noise_multiplier=8.0, max_epsilon=budget, ledger=ledger))
        fresh = Context(run, 1, {}, RecordDict(), {})
        replies.append(asked(app, context if ledger is None else fresh))
    assert [reply.has_error() for reply in replies] == [False] * 3 + [True] * 2
    assert "is spent after 3 answers; another would make it ε = " in replies[-1].error.reason
    assert "each client · replace-one · δ = 1e-05 · no sampling · PLD · trusted: nobody" in replies[-1].error.reason


def test_a_budget_that_is_spent_is_refused_before_anyone_trains(tmp_path):
    def never(model):
        raise AssertionError

    first = {"clip_norm": 1.0, "noise_multiplier": 8.0, "ledger": tmp_path}
    asked(answering(grown(0.0), dp_mod(**first)))
    just_one = 1.01 * epsilon(8.0, 1.0, 1, 1e-5, sampling="none", neighbours="replace-one")
    assert "spent after 1 answers" in asked(answering(never, dp_mod(**first, max_epsilon=just_one))).error.reason


def test_what_the_app_does_to_its_state_does_not_wipe_the_ledger():
    def forgetful(message, context, call_next):
        context.state = RecordDict()
        return call_next(message, context)

    context = Context(1, 1, {}, RecordDict(), {})
    for _ in (1, 2):
        asked(answering(grown(1.0), dp_mod(clip_norm=1.0, noise_multiplier=8.0), forgetful), context)
    assert context.state["phalanx.spent"]["rows"].numpy().tolist() == [[8.0, 1.0, 2.0]]


def test_a_ledger_that_cannot_be_read_or_is_in_use_gives_no_answer(tmp_path):
    mod = dp_mod(clip_norm=1.0, noise_multiplier=8.0, ledger=tmp_path)
    with locked(tmp_path, "privacy ledger"):
        assert "another process" in asked(answering(grown(1.0), mod)).error.reason
    (tmp_path / "privacy.jsonl").write_text("{]\n")
    assert "damaged" in asked(answering(grown(1.0), mod)).error.reason
    (tmp_path / "privacy.jsonl").unlink()
    assert not asked(answering(grown(1.0), mod)).has_error()
    assert json.loads((tmp_path / "privacy.jsonl").read_text()) == {"noise_multiplier": 8.0}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"noise_multiplier": 0.0}, "hides nothing without"),
        ({"noise_multiplier": math.nan}, "hides nothing without"),
        ({"clip_norm": 0.0}, "hides nothing without"),
        ({"max_epsilon": 0.1}, r"The first answer alone would spend more than ε = 0.1: ε = .*Add noise."),
        ({"delta": 0.0}, "delta"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        dp_mod(**{"clip_norm": 1.0, "noise_multiplier": 1.0, **options})


def test_every_answer_says_what_has_been_spent(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="flwr"):
        asked(answering(grown(1.0), dp_mod(clip_norm=1.0, noise_multiplier=8.0)))
    assert "This node has spent: ε = " in caplog.text
    assert "each client · replace-one" in caplog.text


def test_a_federation_of_noisy_clients_moves_where_all_of_them_move():
    apps = [answering(grown(1.0), dp_mod(clip_norm=50.0, noise_multiplier=0.02)) for _ in range(8)]
    strategy = RobustStrategy(aggregator=Mean(), min_nodes=8)
    model = ArrayRecord({name: Array(array) for name, array in MODEL.items() if name != "scale"})
    after = strategy.start(InProcessGrid(apps), model, num_rounds=1, timeout=1).arrays["w"].numpy()
    length = 50.0 / math.sqrt(D)  # of each coordinate, clipped
    assert after.mean() - 3.0 == pytest.approx(length, rel=0.05)
    assert strategy.offences == {}
