"""Median norms, by hand."""

import torch

from phalanx.metrics import NormSummary, norm_summary


def test_an_even_number_of_rows_has_the_mean_of_the_two_middles() -> None:
    norms = torch.tensor([4.0, 1.0, 100.0, 2.0, 3.0], dtype=torch.float64)
    malicious = torch.tensor([False, False, True, False, False])
    assert norm_summary(norms, malicious) == NormSummary(honest=2.5, malicious=100)


def test_nobody_has_no_median() -> None:
    norms = torch.ones(2)
    assert norm_summary(norms, torch.zeros(2, dtype=torch.bool)) == NormSummary(honest=1, malicious=None)
    assert norm_summary(norms, torch.ones(2, dtype=torch.bool)) == NormSummary(honest=None, malicious=1)


def test_one_huge_attacker_does_not_move_the_honest_median() -> None:
    norms = torch.tensor([1.0, 2.0, 3.0, 1e30])
    assert norm_summary(norms, torch.tensor([False, False, False, True])).honest == 2
