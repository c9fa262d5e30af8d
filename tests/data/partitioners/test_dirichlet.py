"""Dirichlet per class: its shares have the distribution's moments, alpha and balance do what they say."""

import pytest
import torch

from phalanx.data import Dirichlet


def shares(partitioner: Dirichlet, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """How much of each class each client holds, `[n, C]`."""
    parts = partitioner.split(labels, None, torch.Generator().manual_seed(seed))
    classes = int(labels.max()) + 1
    return torch.stack([labels[part].bincount(minlength=classes) for part in parts]).double() / labels.bincount()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 10.0])
def test_a_clients_share_of_a_class_has_the_mean_and_variance_of_a_dirichlet(alpha):
    labels, n = torch.arange(20_000) % 20, 5
    found = torch.cat([shares(Dirichlet(n, alpha=alpha, min_samples=0), labels, seed).T for seed in range(25)])
    variance = (1 / n) * (1 - 1 / n) / (n * alpha + 1)
    assert torch.allclose(found.mean(0), torch.full((n,), 1 / n, dtype=torch.float64), atol=5 * (variance / 500) ** 0.5)
    assert float(found.var(0).mean()) == pytest.approx(variance, rel=0.15)


def test_a_tiny_alpha_gives_each_class_to_one_client_and_a_huge_one_deals_evenly():
    labels = torch.arange(1000) % 10
    alone = shares(Dirichlet(4, alpha=1e-4, min_samples=0), labels, 0)
    assert alone.max(0).values.eq(1).all()
    even = shares(Dirichlet(4, alpha=1e6), labels, 0)
    assert even.min() >= 0.24


def test_no_client_gains_after_its_even_share_when_balanced():
    """A client's last class may take it over N / n, no other: so without its largest class it is below."""
    labels = torch.arange(1000) % 10
    for seed in range(20):
        table = shares(Dirichlet(5, alpha=0.5, balance=True), labels, seed) * 100
        assert (table.sum(1) - table.max(1).values).max() < 200


def test_balance_brings_the_sizes_nearer_to_each_other():
    labels = torch.arange(2000) % 10
    plain, balanced = (
        sum(float(shares(Dirichlet(10, alpha=0.3, balance=balance), labels, seed).sum(1).std()) for seed in range(20))
        for balance in (False, True)
    )
    assert balanced < 0.8 * plain


def test_labels_may_leave_classes_out():
    parts = Dirichlet(2).split(torch.tensor([7, 7, 3, 3, 3]), None, torch.Generator().manual_seed(0))
    assert sum(map(len, parts)) == 5
