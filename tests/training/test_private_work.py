"""Poisson batches and noise: what the privacy of DP-SGD rests on."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats

from phalanx.data import HorizontalFlip
from phalanx.training import DPSGD, FlatClipping, private_work
from phalanx.training.private_work import PrivateWork


def work(here, **fields):
    trainer = DPSGD(0.1, **({"steps": 400, "noise_multiplier": 2.0, "clipping": FlatClipping(0.5), "batch_size": 4} | fields))
    return trainer.work(here.cohort, here.context)


def taken(client):
    """Which samples each step takes, `[steps, N]`."""
    order, sizes = client.plan()
    steps = [torch.zeros(client.size, dtype=torch.bool) for _ in sizes]
    for step, positions in zip(steps, order.split(sizes)):
        step[positions] = True
        assert len(positions.unique()) == len(positions)
    return torch.stack(steps)


def test_each_sample_is_in_each_batch_by_a_coin_of_its_own(world, nets):
    """Of 20 samples at q = 4 / 20 in 400 steps: how often each is taken, how large batches are, and that pairs and neighbouring
    steps are independent. Five standard deviations everywhere."""
    is_taken, q = taken(work(world(nets["mlp"], (20,))).client(0)).double(), 0.2
    assert (is_taken.mean(dim=0) - q).abs().max() < 5 * math.sqrt(q * (1 - q) / 400)
    sizes = is_taken.sum(dim=1)
    assert (sizes.mean() - 4).abs() < 5 * math.sqrt(20 * q * (1 - q) / 400)
    assert stats.chisquare(torch.bincount(sizes.long().clamp(1, 7))[1:], _expected(20, q, 400)).pvalue > 1e-3
    pairs = torch.corrcoef(is_taken.T).fill_diagonal_(0)
    assert pairs.abs().max() < 5 / math.sqrt(400)
    assert abs(torch.corrcoef(torch.stack([is_taken[1:].flatten(), is_taken[:-1].flatten()]))[0, 1]) < 5 / math.sqrt(8000)


def _expected(n, q, times):
    """How often `times` draws have one success or none, 2 … 6, and more."""
    counts = times * stats.binom.pmf(range(n + 1), n, q)
    return [counts[:2].sum(), *counts[2:7], counts[7:].sum()]


def test_an_empty_batch_is_a_step(world, nets):
    _, sizes = work(world(nets["mlp"], (20,)), sample_rate=0.02).client(0).plan()
    assert len(sizes) == 400
    assert 0 in sizes


def test_a_client_with_fewer_samples_than_a_batch_takes_all_of_them_in_every_step(world, nets):
    client = work(world(nets["mlp"], (3,))).client(0)
    assert taken(client).all()
    assert client.expected_batch == 3


@pytest.mark.parametrize(
    "fields, size, steps",
    [
        ({"epochs": 2, "batch_size": 4}, 20, 10),
        ({"epochs": 2, "batch_size": 4}, 21, 12),
        ({"epochs": 3, "batch_size": 100}, 7, 3),
        ({"epochs": 2, "sample_rate": 0.3}, 7, 8),
        ({"steps": 5, "sample_rate": 0.3}, 7, 5),
        ({"steps": 5}, 0, 0),
    ],
)
def test_an_epoch_has_as_many_steps_as_expected_batches_cover_the_samples(world, nets, fields, size, steps):
    here = world(nets["mlp"], (size, 1))
    trainer = DPSGD(0.1, noise_multiplier=1.0, **fields)
    assert len(trainer.work(here.cohort, here.context).client(0).plan()[1]) == steps


def test_batches_do_not_depend_on_how_many_steps_are_drawn_together(world, nets, monkeypatch):
    here = world(nets["mlp"], (20,))
    together = taken(work(here).client(0))
    monkeypatch.setattr(private_work, "_DRAWN_TOGETHER", 60)
    assert torch.equal(taken(work(here).client(0)), together)


def test_the_rate_of_each_client_is_its_own(world, nets):
    here = world(nets["mlp"], (20, 8, 2))
    given = work(here, steps=None, epochs=1)
    assert [given.client(i).spending.sample_rate for i in range(3)] == [0.2, 0.5, 1.0]
    assert [work(here, sample_rate=0.25).client(i).spending.sample_rate for i in range(3)] == [0.25] * 3


def test_noise_is_normal_with_deviation_z_times_the_sensitivity(world, nets):
    client, drawn = work(world(nets["mlp"], (20,))).client(0), torch.empty(4, 5000)
    for row in drawn:
        client.draw_noise(row)
    assert stats.kstest(drawn.flatten(), stats.norm(scale=2.0 * 0.5).cdf).pvalue > 0.01
    assert drawn.mean().abs() < 5 / math.sqrt(20000)
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / 20000)
    assert stats.kurtosis(drawn.flatten()) == pytest.approx(0, abs=5 * math.sqrt(24 / 20000))
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 5 / math.sqrt(5000)


def test_the_same_seed_gives_the_same_noise_and_another_client_or_round_another(world, nets):
    def drawn(round, i):
        noise = torch.empty(50)
        work(world(nets["mlp"], (20, 20), round=round)).client(i).draw_noise(noise)
        return noise

    assert torch.equal(drawn(3, 0), drawn(3, 0))
    assert not torch.equal(drawn(3, 0), drawn(3, 1))
    assert not torch.equal(drawn(3, 0), drawn(4, 0))


def test_another_experiment_of_the_same_seed_has_other_batches_and_noise(world, nets):
    here = world(nets["mlp"], (20,))

    def drawn(run):
        here.context = replace(here.context, run=run)
        client, noise = work(here).client(0), torch.empty(50)
        client.draw_noise(noise)
        return taken(client), noise

    (batches, noise), (same, again), (others, other) = drawn("one"), drawn("one"), drawn("another")
    assert torch.equal(noise, again)
    assert torch.equal(batches, same)
    assert not torch.equal(noise, other)
    assert not torch.equal(batches, others)


def test_noise_is_independent_of_the_batches(world, nets):
    here = world(nets["mlp"], (20,))
    walked, fresh = work(here).client(0), work(here).client(0)
    walked.plan()
    one, other = torch.empty(50), torch.empty(50)
    walked.draw_noise(one)
    fresh.draw_noise(other)
    assert torch.equal(one, other)
    assert isinstance(work(here), PrivateWork)


def test_with_secure_rng_nobody_can_draw_augmentations_and_dropouts_again(world, nets):
    """They are drawn in the order of a batch: known ones would tell that an example more has moved the others on."""
    here = world(nets["mlp"], (20,))

    def drawn(**change):
        some = work(here, augment=(HorizontalFlip(),), **change)
        return torch.randperm(30, generator=some.augmenting(0)).tolist(), some.layer_seed(0)

    assert drawn() == drawn()
    (order, seed), (other, again) = drawn(secure_rng=True), drawn(secure_rng=True)
    assert order != other
    assert seed != again


def test_batches_and_noise_from_the_system_are_never_the_same_and_as_they_should_be(world, nets):
    """Eight standard deviations: nothing here can be seeded."""
    clients = [work(world(nets["mlp"], (20,)), secure_rng=True).client(0) for _ in range(2)]
    batches, noise = [taken(client).double() for client in clients], torch.empty(2, 5000)
    for client, row in zip(clients, noise):
        client.draw_noise(row)
    assert not torch.equal(*batches)
    assert not torch.equal(*noise)
    assert (torch.stack(batches).mean(dim=(0, 1)) - 0.2).abs().max() < 8 * math.sqrt(0.2 * 0.8 / 800)
    assert abs(noise.var() - 1) < 8 * math.sqrt(2 / 10000)
    assert DPSGD(0.1, epochs=1, noise_multiplier=1.0).mechanism(9).is_reproducible
    assert not DPSGD(0.1, epochs=1, noise_multiplier=1.0, secure_rng=True).mechanism(9).is_reproducible
