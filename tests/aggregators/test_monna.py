"""MoNNA: the mean of the updates nearest to one that is trusted."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import Mean, MoNNA
from phalanx.core.errors import CapabilityError, PreconditionError
from phalanx.core.types import Root, RoundContext, Samples, Updates


def test_monna_by_hand() -> None:
    rows = torch.tensor([[4.0], [0.0], [1.0], [2.0], [90.0]])
    assert MoNNA(num_byzantine=2, trusted_client=0)(rows).item() == pytest.approx((4.0 + 2.0 + 1.0) / 3)


def test_the_servers_own_update_is_the_reference_where_no_client_is_named() -> None:
    rows = torch.tensor([[4.0], [0.0], [1.0], [2.0], [90.0]])
    nothing = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)
    root = Root(nothing, lambda: torch.tensor([0.4]))
    context = dataclasses.replace(RoundContext.for_matrix(rows), root=root)
    assert MoNNA(num_byzantine=2)(rows, context=context).tolist() == [1.0]


def test_without_root_data_that_is_an_error() -> None:
    with pytest.raises(CapabilityError, match="MoNNA needs a trusted root data set"):
        MoNNA(num_byzantine=1)(torch.ones(4, 2))


def test_a_trusted_client_that_sent_nothing_is_an_error_and_found_by_its_id_not_its_place() -> None:
    rows, rule = torch.tensor([[0.0], [1.0], [2.0], [90.0]]), MoNNA(num_byzantine=1, trusted_client=7)
    context = RoundContext.for_matrix(rows)
    with pytest.raises(PreconditionError, match="trusted client 7; it is not among the n=4"):
        rule.aggregate(Updates.of(rows), {}, context)
    known = dataclasses.replace(Updates.of(rows), ids=torch.tensor([3, 5, 7, 9]))
    assert rule.aggregate(known, {}, context)[0].influence.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_monna_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[14:] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (MoNNA(num_byzantine=6, trusted_client=0)(rows) - 1).abs().max() < 0.2


def test_a_dropped_row_does_not_shift_who_is_trusted() -> None:
    rows = torch.tensor([[torch.nan], [0.0], [1.0], [2.0], [99.0]])
    assert MoNNA(num_byzantine=1, trusted_client=1)(rows).item() == 1.0
    assert MoNNA(num_byzantine=1, trusted_client=4)(rows).item() == pytest.approx((99 + 2 + 1) / 3)


def test_a_root_update_that_diverged_is_an_error() -> None:
    rows = torch.ones(4, 2)
    nothing = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)
    context = dataclasses.replace(RoundContext.for_matrix(rows), root=Root(nothing, lambda: torch.full((2,), torch.nan)))
    with pytest.raises(PreconditionError, match="MoNNA needs a finite root update"):
        MoNNA(num_byzantine=1)(rows, context=context)
