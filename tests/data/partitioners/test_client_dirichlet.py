"""ClientDirichlet: equal sizes, class proportions with the distribution's moments."""

import pytest
import torch

from phalanx.data import ClientDirichlet


def proportions(alpha: float, labels: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    parts = ClientDirichlet(n, alpha=alpha).split(labels, None, torch.Generator().manual_seed(seed))
    return torch.stack([labels[part].bincount(minlength=int(labels.max()) + 1) / len(part) for part in parts]).double()


@pytest.mark.parametrize("count", [100, 103])
def test_sizes_differ_by_at_most_one(count):
    parts = ClientDirichlet(7, alpha=0.05).split(torch.arange(count) % 3, None, torch.Generator().manual_seed(0))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_proportions_of_the_first_client_served_are_a_dirichlet():
    """Two clients of half the data each would exhaust classes; here a client's need is a fiftieth of the pool."""
    labels, alpha, classes = torch.arange(10_000) % 4, 2.0, 4
    found = torch.cat([proportions(alpha, labels, 50, seed)[:10] for seed in range(10)])
    variance = (1 / classes) * (1 - 1 / classes) / (classes * alpha + 1)
    multinomial = (1 / classes) * (1 - 1 / classes) / 200
    assert float(found.mean()) == pytest.approx(1 / classes)
    assert float(found.var(0).mean()) == pytest.approx(variance + multinomial, rel=0.3)


def test_a_small_alpha_gives_clients_of_one_class_and_a_large_one_of_all():
    labels = torch.arange(4000) % 4
    assert proportions(1e-3, labels, 20, 0).max(1).values.median() > 0.95
    assert proportions(1e3, labels, 20, 0).max(1).values.median() < 0.4


def test_a_rare_class_is_rare_for_the_clients():
    labels = (torch.arange(5000) % 50 == 0).long()
    assert float(proportions(100.0, labels, 10, 0)[:, 1].max()) < 0.08
