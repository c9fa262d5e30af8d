"""Gaussian noise: its moments, its distribution, and where it comes from."""

import pytest
import torch
from scipy import stats

from phalanx.privacy.noise import gaussian

LIKE = torch.zeros(40_000)


@pytest.mark.parametrize("generator", [torch.Generator().manual_seed(1), None], ids=["seeded", "system"])
def test_noise_is_normal_with_the_standard_deviation_asked_for(generator):
    noise = gaussian(LIKE, 2.5, generator)
    assert abs(float(noise.mean())) < 6 * 2.5 / 200
    assert float(noise.std()) == pytest.approx(2.5, rel=0.02)
    assert float(noise.pow(4).mean()) == pytest.approx(3 * 2.5**4, rel=0.1)
    assert stats.kstest(noise.numpy() / 2.5, "norm").pvalue > 1e-7  # the system's is another one in every run
    lag = float((noise[1:] * noise[:-1]).mean()) / 2.5**2
    assert abs(lag) < 6 / 200


def test_the_same_generator_gives_the_same_noise_in_every_dtype():
    draw = {
        dtype: gaussian(LIKE[:9].to(dtype), 1.0, torch.Generator().manual_seed(5)) for dtype in (torch.float32, torch.float64)
    }
    assert torch.equal(draw[torch.float64].float(), draw[torch.float32])
    assert draw[torch.float64].dtype == torch.float64


def test_the_systems_noise_is_never_the_same_and_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    one, other = gaussian(LIKE[:7], 1.0, None), gaussian(LIKE[:7], 1.0, None)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_single_number_is_a_shape_too():
    assert gaussian(torch.zeros((), dtype=torch.float64), 1.0, None).shape == ()
