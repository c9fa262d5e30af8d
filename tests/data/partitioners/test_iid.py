"""IID: equal sizes, and classes that do not depend on the client."""

import torch

from phalanx.data import IID


def test_sizes_differ_by_at_most_one():
    parts = IID(num_clients=4).split(torch.zeros(10), None, torch.Generator())
    assert sorted(map(len, parts)) == [2, 2, 3, 3]


def test_the_classes_are_independent_of_the_client():
    labels = torch.arange(20_000) % 10
    parts = IID(num_clients=10).split(labels, None, torch.Generator().manual_seed(0))
    table = torch.stack([labels[part].bincount(minlength=10) for part in parts]).double()
    chi_square = float(((table - 200) ** 2 / 200).sum())
    assert 30 < chi_square < 150  # 81 degrees of freedom: mean 81, standard deviation 12.7
