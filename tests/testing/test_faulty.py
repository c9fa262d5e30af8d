"""Faulty rows are what they are called, and every rule of ours works beside them."""

import pytest
import torch

from phalanx.core.errors import PreconditionError
from phalanx.testing import AGGREGATORS, FAULTS, AggregatorExample, faulty_rows
from phalanx.testing.scenes import context_for

HONEST = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))


def test_every_fault_makes_a_row_of_the_honest_shape_and_comes_in_turn() -> None:
    rows = list(faulty_rows(HONEST, count=2 * len(FAULTS), generator=torch.Generator().manual_seed(1)))
    assert [name for name, _ in rows] == 2 * list(FAULTS)
    for name, row in rows:
        assert (row.shape, row.dtype) == (HONEST[0].shape, HONEST.dtype)
        assert row.isfinite().all().item() == ("NaN" not in name and "Inf" not in name)


def test_the_honest_rows_are_left_alone() -> None:
    before = HONEST.clone()
    list(faulty_rows(HONEST, count=len(FAULTS), generator=torch.Generator().manual_seed(1)))
    assert torch.equal(before, HONEST)


@pytest.mark.parametrize("example", AGGREGATORS, ids=lambda example: str(example.rule))
def test_a_faulty_row_is_dropped_or_gives_a_finite_result(example: AggregatorExample) -> None:
    context = context_for(example.rule, HONEST)
    expected = example.rule(HONEST, context=context)
    for name, row in faulty_rows(HONEST, count=len(FAULTS), generator=torch.Generator().manual_seed(1)):
        result = example.rule(torch.cat([HONEST[:4], row[None], HONEST[4:]]), context=context)
        if row.isfinite().all():
            assert result.isfinite().all(), name
        else:
            assert torch.equal(result, expected), name


@pytest.mark.parametrize("example", AGGREGATORS, ids=lambda example: str(example.rule))
def test_rows_that_are_all_faulty_are_one_error(example: AggregatorExample) -> None:
    with pytest.raises(PreconditionError, match="needs a finite update; got n=9, of which 0 are finite"):
        example.rule(torch.full((9, 3), torch.inf))
