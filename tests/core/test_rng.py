"""Randomness is a function of (seed, purpose, round, client) and of nothing else."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core import rng


def draw(*key, size=4):
    return torch.rand(size, generator=rng.generator(*key))


@given(st.integers(), st.text(), st.integers(0, 10**9), st.integers(-1, 10**9))
def test_the_same_key_gives_the_same_stream(seed, purpose, round, client):
    assert torch.equal(draw(seed, purpose, round, client), draw(seed, purpose, round, client))


def test_every_part_of_the_key_matters():
    keys = itertools.product((0, 1), ("batches", "noise"), (0, 1, 2), (-1, 0, 1, 2))
    streams = {tuple(draw(*key).tolist()) for key in keys}
    assert len(streams) == 2 * 2 * 3 * 4


@given(st.tuples(*[st.text("a|1", max_size=3)] * 2), st.tuples(*[st.integers(-1, 12)] * 6))
def test_a_purpose_cannot_imitate_another_key(purposes, numbers):
    first, second = (numbers[0], purposes[0], *numbers[1:3]), (numbers[3], purposes[1], *numbers[4:])
    assert (rng.derive(*first) == rng.derive(*second)) == (first == second)


def test_streams_do_not_depend_on_the_order_of_the_work():
    forwards = {client: draw(0, "batches", 5, client) for client in range(10)}
    backwards = {client: draw(0, "batches", 5, client) for client in reversed(range(10))}
    assert all(torch.equal(forwards[client], backwards[client]) for client in range(10))


def test_the_seeds_never_change_from_release_to_release():
    assert rng.derive(0, "batches", 3, 7) == 2890047224056057729


def test_a_seed_fits_into_63_bits_and_uses_them():
    seeds = [rng.derive(0, "x", 0, client) for client in range(2000)]
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63
    assert len(set(seeds)) == 2000


def test_neighbouring_streams_are_uniform_and_uncorrelated():
    values = torch.stack([draw(0, "noise", round, client, size=400) for round in range(10) for client in range(10)])
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert values.var() == pytest.approx(1 / 12, abs=0.002)
    correlation = torch.corrcoef(values).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / 400**0.5  # five standard deviations of a chance correlation


@pytest.mark.usefixtures("untouched_rng")
def test_no_global_stream_is_touched():
    draw(0, "batches", 1, 2)
