"""LabelBias: groups of clients by hand, and the bias that is no bias."""

import pytest
import torch

from phalanx.core.errors import ConfigError, DataError
from phalanx.data import LabelBias


def table(partitioner: LabelBias, labels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Counts `[n, C]`."""
    parts = partitioner.split(labels, None, torch.Generator().manual_seed(seed))
    return torch.stack([labels[part].bincount(minlength=int(labels.max()) + 1) for part in parts])


def test_full_bias_gives_each_group_its_own_class_and_nothing_else():
    counts = table(LabelBias(6, bias=1.0), torch.arange(300) % 3)
    for client in range(6):
        others = [label for label in range(3) if label != client // 2]
        assert counts[client, client // 2] > 0
        assert counts[client, others].eq(0).all()


def test_no_bias_at_all_keeps_the_own_class_away():
    counts = table(LabelBias(3, bias=0.0), torch.arange(300) % 3)
    assert counts.diag().eq(0).all()


def test_a_share_of_bias_of_each_class_stays_in_its_group_and_the_rest_is_spread_evenly():
    labels = torch.arange(40_000) % 4
    groups = table(LabelBias(8, bias=0.5), labels).view(4, 2, 4).sum(1) / 10_000
    expected = torch.full((4, 4), 0.5 / 3)
    expected.fill_diagonal_(0.5)
    assert torch.allclose(groups, expected, atol=0.025)  # five standard deviations of a share of 10,000


def test_a_bias_of_one_in_c_looks_iid():
    counts = table(LabelBias(20, bias=0.1), torch.arange(40_000) % 10).double()
    expected = counts.sum(1, keepdim=True) * counts.sum(0, keepdim=True) / counts.sum()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert 90 < chi_square < 260  # 171 degrees of freedom: mean 171, standard deviation 18.5


def test_a_bias_of_one_half_does_not_look_iid():
    counts = table(LabelBias(20, bias=0.5), torch.arange(40_000) % 10).double()
    assert float(((counts - 200) ** 2 / 200).sum()) > 1000


def test_clients_need_not_be_a_multiple_of_the_classes():
    counts = table(LabelBias(7, bias=1.0), torch.arange(300) % 3)
    assert counts.argmax(1).tolist() == [client * 3 // 7 for client in range(7)]


def test_a_client_for_each_class_is_needed():
    with pytest.raises(DataError, match=r"a client for each; got 3 classes, 2 clients\. Raise num_clients"):
        LabelBias(2).split(torch.arange(30) % 3, None, torch.Generator())


def test_a_bias_is_a_probability():
    with pytest.raises(ConfigError, match=r"LabelBias\.bias"):
        LabelBias(10, bias=1.5)
