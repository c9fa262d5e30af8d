"""Dirichlet draws against the distribution's own moments."""

import pytest
import torch

from phalanx.data.partitioners.proportions import dirichlet


@pytest.mark.parametrize("alpha", [0.1, 0.5, 5.0])
def test_mean_and_variance_are_those_of_the_distribution(alpha):
    k, rows = 5, 20_000
    draws = dirichlet(torch.full((k,), alpha, dtype=torch.float64), rows, torch.Generator().manual_seed(0))
    variance = (1 / k) * (1 - 1 / k) / (k * alpha + 1)
    assert torch.allclose(draws.mean(0), torch.full((k,), 1 / k, dtype=torch.float64), atol=5 * (variance / rows) ** 0.5)
    assert torch.allclose(draws.var(0), torch.full((k,), variance, dtype=torch.float64), rtol=0.1)


@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 1e6])
def test_extreme_concentrations_still_sum_to_one(alpha):
    draws = dirichlet(torch.full((100,), alpha, dtype=torch.float64), 50, torch.Generator().manual_seed(0))
    assert draws.isfinite().all()
    assert torch.allclose(draws.sum(1), torch.ones(50, dtype=torch.float64))
