"""DP-SGD: by hand, against a slow obvious loop, what one example can move, and what every client is promised."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

import phalanx
from phalanx.config import RunSettings
from phalanx.core import params as flat
from phalanx.core.errors import ConfigError
from phalanx.core.families import DataAttack
from phalanx.core.params import Layout
from phalanx.core.privacy import spendings
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, Status
from phalanx.data import IID, Synthetic
from phalanx.models import LogisticRegression
from phalanx.privacy.accounting import epsilon
from phalanx.training import (
    DPSGD,
    SGD,
    Adam,
    AutomaticClipping,
    ClampGradient,
    FedProx,
    FlatClipping,
    InProcess,
    PerLayerClipping,
    WorkerMomentum,
    WorkerPool,
)
from phalanx.training.engines import private_linear, private_loop

TRAINER = DPSGD(0.3, epochs=2, batch_size=4, noise_multiplier=0.8, clipping=FlatClipping(0.5))
SETTINGS = {
    "flat": TRAINER,
    "per layer": replace(TRAINER, clipping=PerLayerClipping(0.5)),
    "automatic": replace(TRAINER, clipping=AutomaticClipping(0.1)),
    "momentum": replace(TRAINER, momentum=0.9, weight_decay=0.01),
    "sample rate": replace(TRAINER, sample_rate=0.3),
    "full batch": replace(TRAINER, batch_size=1000),
    "tiny batches": replace(TRAINER, epochs=None, steps=6, sample_rate=0.05),
    "hooks": replace(TRAINER, hooks=(FedProx(0.1), ClampGradient(0.05))),
}
SIZES = (13, 1, 0, 5, 30)
CPU, STAGED = torch.device("cpu"), torch.device("cpu", 0)


def group_net():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, bias=False),
        nn.GroupNorm(2, 6),
        nn.ReLU(),
        nn.Flatten(),
        nn.LayerNorm(54),
        nn.Linear(54, 4),
    )


def obvious(here, trainer):
    """One example after another, backwards through the module; sampled, clipped and noised as the formula says."""
    updates = []
    for client, index in zip(here.cohort.ids, here.cohort.index):
        flat.load(here.model, here.context.global_params)
        parameters = list(here.model.parameters())
        optimizer = torch.optim.SGD(parameters, trainer.lr, momentum=trainer.momentum, weight_decay=trainer.weight_decay)
        spent, c = trainer.spending(len(index)), trainer.clipping
        sampling, noise = here.context.noise("batches", client), here.context.noise("noise", client)
        coins = sampling.uniform(spent.steps, len(index))
        for step in range(spent.steps):
            total = (noise.normal(here.layout.d) * spent.noise_multiplier * c.sensitivity).float()
            for position in (coins[step] < spent.sample_rate).nonzero().flatten():
                images, labels = here.samples.pixels(index[position].view(1))
                loss = cross_entropy(here.model(here.samples.normalize(images)), labels)
                gradients = torch.autograd.grad(loss, parameters)
                whole = torch.cat([gradient.flatten() for gradient in gradients])
                if isinstance(c, PerLayerClipping):
                    bound = c.max_norm / len(gradients) ** 0.5
                    whole = torch.cat([g.flatten() * min(1, bound / float(g.norm())) for g in gradients])
                elif isinstance(c, FlatClipping):
                    whole = whole * min(1, c.max_norm / float(whole.norm()))
                else:
                    whole = whole / (whole.norm() + c.gamma)
                total = total + whole
            total /= spent.sample_rate * len(index)
            for parameter, gradient in zip(parameters, here.layout.views(total).values()):
                parameter.grad = gradient
            optimizer.step()
        updates.append(flat.flatten(here.model)[0] - here.context.global_params)
    flat.load(here.model, here.context.global_params)
    return torch.stack(updates)


def agree(one, other):
    assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_a_step_worked_by_hand():
    """Weights 0, two samples of x = 1 and classes 0 and 1, q = 1: each gradient is (∓.5, ±.5) of norm .7071, clipped to .1; two
    of class 0 give the sum .2 · (−.7071, .7071), divided by 2, times lr 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    layout = Layout.of(model)
    for engine in ("loop", "linear"):
        context = RoundContext(0, 0, layout, torch.zeros(2), torch.zeros(0), model=model)
        rows, samples = Rows.empty(2, layout), Samples(torch.ones(4, 1), torch.tensor([0, 0, 0, 1]), num_classes=2)
        trainer = DPSGD(1.0, steps=1, noise_multiplier=0.0, clipping=FlatClipping(0.1), engine=engine)
        trainer.train(Cohort((0, 1), (0, 1), samples, torch.arange(4).split(2)), {}, context, rows)
        torch.testing.assert_close(rows.matrix, torch.tensor([[0.0707107, -0.0707107], [0.0, 0.0]]))


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "hooks"])
@pytest.mark.parametrize("net", ["linear_model", "mlp", "cnn", "group_net"])
def test_every_way_agrees_with_one_example_after_another(world, nets, net, setting):
    here, trainer = world({**nets, "group_net": group_net}[net], SIZES), SETTINGS[setting]
    expected = obvious(here, trainer)
    agree(here.train(trainer).matrix, expected)
    for gradients in ("layers", "vmap"):
        agree(here.train(replace(trainer, engine="loop", gradients=gradients)).matrix, expected)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(1, 6), st.integers(1, 3))
def test_the_closed_form_agrees_with_the_loop_for_any_sizes(world, nets, sizes, batch_size, epochs):
    here = world(nets["linear_model"], (*sizes, 2))
    trainer = replace(TRAINER, epochs=epochs, batch_size=batch_size)
    one, other = here.train(trainer), here.train(replace(trainer, engine="loop"))
    agree(one.matrix, other.matrix)
    assert torch.equal(one.steps, other.steps)
    assert torch.equal(one.status, other.status)


class _Darken(DataAttack):
    """Darkens chosen images by the attacker's number and calls them class 0."""

    def choose(self, samples, index, generator):
        return torch.rand(len(index), generator=generator) < 0.5

    def poison(self, images, labels, draw):
        dark = images * draw.chosen.view(-1, 1, 1, 1) / (draw.attacker + 2) * torch.rand(1, generator=draw.generator)
        return images - dark, torch.where(draw.chosen, 0, labels)


def test_attackers_poison_and_hooks_work_in_every_engine(world, nets):
    here, attack = (
        world(nets["linear_model"], (9, 4, 6)),
        {"poison": _Darken(), "attackers": (0, 2, 1), "hooks": (FedProx(1.0),)},
    )
    attacked = here.train(TRAINER, **attack).matrix
    agree(attacked, here.train(replace(TRAINER, engine="loop"), **attack).matrix)
    assert not torch.allclose(attacked, here.train(TRAINER).matrix, rtol=0.1)
    assert not torch.allclose(attacked, here.train(TRAINER, hooks=(FedProx(1.0),)).matrix, rtol=0.1)


@pytest.mark.parametrize("setting", ["flat", "momentum", "tiny batches", "hooks"])
@pytest.mark.parametrize("net", ["linear_model", "cnn", "dropout_net"])
def test_a_clients_bits_do_not_depend_on_who_is_trained_beside_it(world, nets, net, setting, monkeypatch):
    here, trainer = world(nets[net], (13, 1, 7, 5, 30)), SETTINGS[setting]
    together = here.train(trainer)
    for i in range(5):
        alone = here.train(trainer, ids=(i,), places=(i,), index=(here.index[i],))
        assert torch.equal(alone.matrix[i], together.matrix[i])
    monkeypatch.setattr(private_linear, "_BYTES", 2 * 8 * 64 * 4)
    assert torch.equal(here.train(trainer).matrix, together.matrix)


@pytest.mark.parametrize("net", ["linear_model", "cnn"])
def test_rows_and_books_are_the_same_bytes_for_any_number_of_workers_and_where_they_train_elsewhere(world, nets, net):
    """`STAGED` is the same processor by another name: a worker there takes the way that one with a GPU takes."""
    here, results = world(nets[net], (9, 4, 0, 17, 8)), []
    pools = [partial(_pool, here, *one) for one in ((1, CPU), (2, CPU), (2, STAGED))]
    for make in (lambda: InProcess(here.model, here.layout, 5), *pools):
        with make() as executor:
            state = executor.train(TRAINER, here.cohort, {}, here.context, executor.rows)
            results.append((executor.rows.matrix.clone(), state))
    for rows, state in results[1:]:
        assert torch.equal(rows, results[0][0])
        assert {name: spent.tolist() for name, spent in state.items()} == {
            name: spent.tolist() for name, spent in results[0][1].items()
        }
    assert len(results[0][1]) == 4


def _pool(here, workers, device):
    data = here.samples, here.index
    return WorkerPool(workers, here.model, *data, here.layout, len(here.cohort), 0, devices=(device,))


def test_a_batch_of_any_size_is_walked_in_pieces_and_none_is_left_out(world, nets, monkeypatch):
    here = world(nets["cnn"], (30,))
    trainer = replace(TRAINER, batch_size=30)
    whole = here.train(trainer).matrix
    monkeypatch.setattr(private_loop, "_TOGETHER", 7)
    agree(here.train(trainer).matrix, whole)
    agree(whole, obvious(here, trainer))


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_an_empty_batch_moves_the_weights_by_its_noise_alone(world, nets, engine):
    here = world(nets["linear_model"], (5,))
    trainer = replace(TRAINER, epochs=None, steps=1, sample_rate=1e-9, engine=engine)
    noise = (here.context.noise("noise", 0).normal(here.layout.d) * 0.8 * 0.5).float()
    torch.testing.assert_close(here.train(trainer).matrix[0], -0.3 * noise / 5e-9)


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_the_noise_in_a_row_is_normal_and_as_large_as_it_is_told_to_be(world, nets, engine):
    here = world(nets["linear_model"], (20,) * 12)
    noised, silent = (
        here.train(replace(TRAINER, epochs=None, steps=1, noise_multiplier=z, engine=engine)).matrix for z in (3.0, 0.0)
    )
    standardised = (noised - silent).flatten() / (0.3 * 3.0 * 0.5 / 4)
    assert stats.kstest(standardised, "norm").pvalue > 0.01
    assert abs(standardised.var() - 1) < 5 * math.sqrt(2 / len(standardised))
    assert torch.corrcoef(noised - silent).fill_diagonal_(0).abs().max() < 5 / math.sqrt(here.layout.d)


def sums(here, trainer, images, labels):
    """The un-noised sum over all the samples given: one step at q = 1, times their number."""
    samples = Samples(images, labels, 4)
    rows = Rows.empty(1, here.layout)
    silent = replace(trainer, lr=1.0, epochs=None, steps=1, noise_multiplier=0.0, batch_size=len(labels))
    silent.train(Cohort((0,), (0,), samples, (torch.arange(len(labels)),)), {}, here.context, rows)
    return -rows.matrix[0] * len(labels)


@pytest.mark.parametrize("clipping", [FlatClipping(0.5), PerLayerClipping(0.5), AutomaticClipping(0.01)], ids=str)
@pytest.mark.parametrize("net", ["linear_model", "mlp", "cnn", "group_net"])
def test_one_example_moves_the_sum_by_the_sensitivity_at_most_and_a_replaced_one_by_twice_that(world, nets, net, clipping):
    """Brute force: the worst among bright, dark, huge, overflowing and broken images of every class, added and put in place."""
    here, trainer = world({**nets, "group_net": group_net}[net], (6,)), replace(TRAINER, clipping=clipping)
    images, labels = here.samples.pixels(here.index[0])
    base, added, replaced = sums(here, trainer, images, labels), [], []
    for scale in (1.0, -1.0, 1e3, -1e3, 1e18, 1e30, math.nan, math.inf):
        for label in range(4):
            worst, its = images[:1] * scale, torch.tensor([label])
            more = sums(here, trainer, torch.cat([images, worst]), torch.cat([labels, its]))
            other = sums(here, trainer, torch.cat([worst, images[1:]]), torch.cat([its, labels[1:]]))
            assert more.isfinite().all()
            added.append(float((more - base).norm()))
            replaced.append(float((other - base).norm()))
    assert max(added) <= clipping.sensitivity * (1 + 1e-4)
    assert max(replaced) <= 2 * clipping.sensitivity * (1 + 1e-4)
    assert max(added) > 0.5 * clipping.sensitivity
    assert max(replaced) > 1.1 * clipping.sensitivity, "two opposite examples are further apart than one is long"


@pytest.mark.parametrize("engine, gradients", [("linear", "auto"), ("loop", "layers"), ("loop", "vmap")])
def test_a_broken_sample_counts_as_zero_and_harms_no_other(world, nets, engine, gradients):
    here = world(nets["linear_model"], (6,))
    images, labels = here.samples.pixels(here.index[0])
    trainer = replace(TRAINER, engine=engine, gradients=gradients)
    broken = images.clone()
    broken[0] = math.nan
    torch.testing.assert_close(sums(here, trainer, broken, labels), sums(here, trainer, images[1:], labels[1:]))


@pytest.mark.parametrize("net", ["linear_model", "cnn"])
def test_the_loss_is_not_told_because_no_noise_would_hide_the_examples_in_it(world, nets, net):
    rows = world(nets[net], (5, 0, 6)).train(TRAINER)
    assert rows.loss[[0, 2]].isnan().all()
    assert rows.status.tolist() == [Status.SENT, Status.NO_SAMPLES, Status.SENT]
    assert rows.steps.tolist() == [4, 0, 4]
    assert rows.matrix[1].count_nonzero() == 0


def test_what_is_promised_is_what_is_done(world, nets):
    here = world(nets["mlp"], (13, 4))
    rows = here.train(TRAINER)
    promised = [TRAINER.mechanism(size).spending for size in (13, 4)]
    assert [one.steps for one in promised] == rows.steps.tolist() == [8, 2]
    assert [one.sample_rate for one in promised] == [4 / 13, 1.0]
    assert {one.noise_multiplier for one in promised} == {0.8}
    state = TRAINER.train(here.cohort, {}, here.context, here.rows())
    state = TRAINER.train(replace(here.cohort, ids=(1, 0), index=here.index[::-1]), state, here.context, here.rows())
    assert {name: spendings(spent) for name, spent in state.items()} == {
        f"{client}.spent": (replace(one, steps=2 * one.steps),) for client, one in enumerate(promised)
    }
    mechanism = WorkerMomentum(TRAINER).mechanism(13)
    assert mechanism == TRAINER.mechanism(13)
    assert (mechanism.unit, mechanism.neighbours, mechanism.sampling) == ("example", "add/remove", "poisson")
    assert SGD(0.1, epochs=1).mechanism(13) is None
    assert Adam(0.1, epochs=1).mechanism(13) is None


class _Recorder:
    """Keeps the events of a run."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)


def test_a_federation_learns_through_the_noise_and_its_events_hold_no_loss_but_what_each_client_spent():
    """Seven clients of 214 or 215 samples: q of their own, four steps a round; the largest ε is that of the smaller ones."""
    recorder = _Recorder()
    experiment = phalanx.Experiment(
        run=RunSettings(rounds=5, seed=1),
        data=Synthetic(num_samples=1500, num_features=10, num_classes=3),
        partition=IID(num_clients=7),
        model=LogisticRegression(),
        training=DPSGD(0.5, epochs=1, batch_size=64, noise_multiplier=1.0),
    )
    private = phalanx.run(experiment, sinks=[recorder]).metrics[-1]["accuracy"]
    plain = phalanx.run(replace(experiment, training=SGD(0.5, epochs=1, batch_size=64))).metrics[-1]["accuracy"]
    assert private > plain - 0.1
    assert plain > 0.7
    rounds = [event.values for event in recorder.events if event.kind == "round"]
    assert [values["loss"] for values in rounds] == [None] * 5
    for made, values in enumerate(rounds, start=1):
        assert values["epsilon"] == pytest.approx(epsilon(1.0, 64 / 214, 4 * made, 1e-5), rel=1e-5)
        each = {bound for _, bound in values["client_epsilons_rdp"]}
        expected = [epsilon(1.0, 64 / size, 4 * made, 1e-5, accountant="rdp") for size in (215, 214)]
        assert sorted(each) == pytest.approx(expected, rel=1e-3)
    assert "each example · add/remove · δ = 1e-05 · Poisson sampling · PLD" in recorder.events[0].values["statement"]


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_nothing_outside_is_changed(world, nets, engine, untouched_rng):
    here = world(nets["linear_model"], (6, 3))
    params, images = here.context.global_params.clone(), here.samples.images.clone()
    first, second = (here.train(replace(TRAINER, engine=engine)) for _ in range(2))
    assert torch.equal(here.context.global_params, params)
    assert torch.equal(here.samples.images, images)
    assert torch.equal(first.matrix, second.matrix)
    assert not any(part._forward_hooks for part in here.model.modules())


def test_a_trainer_is_its_own_config_and_counts_steps_for_the_server():
    assert DPSGD.from_table(TRAINER.to_table()) == TRAINER
    assert TRAINER.in_steps(7) == replace(TRAINER, epochs=None, steps=7)


@pytest.mark.parametrize("wrong", [{"noise_multiplier": -1.0}, {"sample_rate": 0.0}, {"sample_rate": 1.5}, {"epochs": None}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        replace(TRAINER, **wrong)
