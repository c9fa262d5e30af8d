"""FLTrust: clients count by how much their update points where the server's own does."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.aggregators import FLTrust, Mean
from phalanx.core.errors import CapabilityError, PreconditionError
from phalanx.core.types import Aggregate, Root, RoundContext, Samples, Updates

NOTHING = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)


def aggregate(rows: Tensor, root: Tensor) -> Aggregate:
    context = dataclasses.replace(RoundContext.for_matrix(rows), root=Root(NOTHING, lambda: root))
    return FLTrust().aggregate(Updates.of(rows), {}, context)[0]


def slow_fltrust(rows: list[list[float]], root: list[float]) -> list[float]:
    """The paper's loops."""
    length = math.hypot(*root)
    trusts, scaled = [], []
    for row in rows:
        norm = math.hypot(*row)
        cosine = sum(a * b for a, b in zip(row, root)) / (norm * length) if norm * length else 0.0
        trusts.append(max(cosine, 0.0))
        scaled.append([length / norm * value if norm else 0.0 for value in row])
    total = sum(trusts)
    return [sum(t * row[j] for t, row in zip(trusts, scaled)) / total if total else 0.0 for j in range(len(root))]


def test_fltrust_by_hand() -> None:
    rows = torch.tensor([[4.0, 0.0], [3.0, 3.0], [-9.0, 0.0], [0.0, 7.0]])
    result = aggregate(rows, torch.tensor([2.0, 0.0]))
    half = math.sqrt(0.5)
    # Trust 1, √½, 0, 0; all at length 2.
    assert result.update.tolist() == pytest.approx([(2 + half * 2 * half) / (1 + half), half * 2 * half / (1 + half)])
    expected = [1 / (1 + half) * 2 / 4, half / (1 + half) * 2 / (3 * math.sqrt(2)), 0, 0]
    assert result.influence.tolist() == pytest.approx(expected)
    assert result.scores.tolist() == pytest.approx([0, 1 - half, 2, 1])


@given(seed=st.integers(0, 10_000), n=st.integers(1, 8), d=st.integers(1, 5))
def test_it_is_the_papers_loops(seed: int, n: int, d: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, root = (torch.randn(shape, d, dtype=torch.float64, generator=generator) for shape in (n, 1))
    update = aggregate(rows, root[0]).update
    found = [0.0] * d if update is None else update.tolist()
    assert found == pytest.approx(slow_fltrust(rows.tolist(), root[0].tolist()))


def test_nobody_trusted_keeps_the_model() -> None:
    for rows, root in (([[-1.0, 0.0]], [1.0, 0.0]), ([[1.0, 0.0]], [0.0, 0.0]), ([[0.0, 0.0]], [1.0, 0.0])):
        result = aggregate(torch.tensor(rows), torch.tensor(root))
        assert result.update is None
        assert not result.influence.any()


def test_a_row_of_any_length_has_the_servers() -> None:
    for size in (1e-30, 1.0, 1e30):
        result = aggregate(torch.tensor([[size, 0.0]]), torch.tensor([2.0, 0.0]))
        assert result.update.tolist() == pytest.approx([2.0, 0.0])


def test_without_root_data_and_with_an_update_that_diverged_it_is_an_error() -> None:
    with pytest.raises(CapabilityError, match="FLTrust needs a trusted root data set"):
        FLTrust()(torch.ones(3, 2))
    with pytest.raises(PreconditionError, match="finite root update"):
        aggregate(torch.ones(3, 2), torch.full((2,), torch.nan))


def test_it_holds_against_a_majority_that_breaks_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(50, generator=generator)
    rows = truth + 0.5 * torch.randn(20, 50, generator=generator)
    rows[8:] = -20 * truth
    update = aggregate(rows, truth + 0.3 * torch.randn(50, generator=generator)).update
    assert Mean()(rows) @ truth < -5 * truth @ truth
    assert (update - truth).norm() < 0.4 * truth.norm()
