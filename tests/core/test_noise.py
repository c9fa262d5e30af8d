"""The noise of private mechanisms: its distribution to the far tails, and that no two keys share a stream."""

import itertools
import math

import pytest
import torch
from scipy import stats

from phalanx.core.noise import SeededNoise, SystemNoise
from phalanx.core.types import RoundContext

KEY = (0, "noise", 3, 7, "a run")
SOURCES = pytest.mark.parametrize("make", [lambda: SeededNoise(*KEY), SystemNoise], ids=["seeded", "system"])


@SOURCES
@pytest.mark.usefixtures("untouched_rng")
def test_numbers_have_their_distribution(make):
    """The system's are other ones in every run: the bounds are such that chance breaks them once in 10⁹ runs."""
    source = make()
    uniform, normal = source.uniform(100, 99), source.normal(100, 99)
    assert uniform.shape == normal.shape == (100, 99)
    assert uniform.dtype == normal.dtype == torch.float64
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert stats.kstest(uniform.flatten(), "uniform").pvalue > 1e-9
    assert stats.kstest(normal.flatten(), "norm").pvalue > 1e-9
    assert abs(torch.corrcoef(torch.stack([normal.flatten()[:4950], normal.flatten()[4950:]]))[0, 1]) < 7 / 4950**0.5
    assert normal.std() == pytest.approx(1, abs=6 / math.sqrt(2 * 9900))


@SOURCES
def test_gaussian_noise_has_the_deviation_asked_for_and_the_likes_form(make):
    noise = make().gaussian(torch.zeros(200, 200), 2.5)
    assert noise.shape == (200, 200)
    assert noise.dtype == torch.float32
    assert float(noise.std()) == pytest.approx(2.5, rel=0.025)
    assert make().gaussian(torch.zeros((), dtype=torch.float64), 1.0).shape == ()
    assert make().normal(0).shape == (0,)


@SOURCES
def test_uniform_numbers_have_53_bits(make):
    """Of 24 bits, as float32 numbers have, none would be left below the 25th."""
    words = (make().uniform(1000) * 2.0**53).long()
    assert (words & (2**29 - 1)).count_nonzero() > 990


def test_there_are_numbers_beyond_the_largest_that_a_float32_source_can_give():
    """Box and Muller's largest of 24 bits is 5.768. One in 10⁸ lies beyond; in this stream, found by a search, one does."""
    assert float(SeededNoise(0, "tails", 0, 67, "").normal(1 << 20).abs().max()) == pytest.approx(6.36173653922082)


def test_the_same_key_gives_the_same_noise_in_every_dtype():
    draw = {dtype: SeededNoise(*KEY).gaussian(torch.zeros(9, dtype=dtype), 1.0) for dtype in (torch.float32, torch.float64)}
    assert torch.equal(draw[torch.float64].float(), draw[torch.float32])


def test_every_part_of_the_key_matters_and_none_can_imitate_another():
    keys = list(itertools.product((0, 1), ("a", "a|1:0", "a|0"), (0, 1, 10), (-1, 0, 1), ("", "0", "1|0")))
    drawn = {tuple(SeededNoise(*key).normal(2).tolist()) for key in keys}
    assert len(drawn) == len(keys)


def test_no_two_of_a_federations_streams_are_the_same():
    """Of 32 bits, as torch's seeds are, 300,000 streams have ten pairs."""
    first = {float(SeededNoise(0, "local dp", 0, client, "").uniform(1)) for client in range(10_000)}
    assert len(first) == 10_000


def test_a_key_gives_the_same_noise_in_every_release():
    assert SeededNoise(*KEY).uniform(1).tolist() == [0.8487317976226019]


def test_the_systems_noise_is_never_the_same():
    assert not torch.equal(SystemNoise().normal(9), SystemNoise().normal(9))


def test_a_context_gives_noise_by_purpose_round_client_and_run():
    context = RoundContext.for_matrix(torch.zeros(1, 2), seed=5)
    assert torch.equal(context.noise("x", 3).normal(4), SeededNoise(5, "x", 0, 3, "").normal(4))
