"""Agreement with ByzFL on float64 rows, where its conventions are ours (its Krum counts one neighbour more)."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from phalanx.aggregators import (
    ARC,
    CAF,
    MDA,
    CenteredClipping,
    ClipNorm,
    GeometricMedian,
    MeaMed,
    Mean,
    Median,
    MoNNA,
    MultiKrum,
    NearestNeighborMixing,
    TrimmedMean,
)
from phalanx.core.errors import ConfigError
from phalanx.core.types import RoundContext, Updates
from phalanx.testing.conformance.libraries import import_byzfl


@pytest.fixture(scope="module")
def byzfl() -> ModuleType:
    """ByzFL's aggregators alone."""
    try:
        return import_byzfl()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[(9, 2, 30), (20, 4, 7), (15, 0, 11)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Tensor, int]:
    n, f, d = request.param
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(n)), f


def same(ours: Tensor, theirs: Tensor) -> None:
    """ByzFL gives float32 for float64 rows."""
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-5, atol=1e-5)


def test_mean_median_and_trimmed_mean_are_byzfls(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, f = case
    same(Mean()(rows), byzfl.Average()(rows))
    same(TrimmedMean(num_byzantine=f)(rows), byzfl.TrMean(f)(rows))
    if len(rows) % 2:  # for an even number torch's median, which ByzFL takes, is the lower of the two middle values
        same(Median()(rows), byzfl.Median()(rows))


def test_mixing_and_clipping_are_byzfls(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, f = case
    context = RoundContext.for_matrix(rows)
    mixed, _ = NearestNeighborMixing(num_byzantine=f).transform(Updates.of(rows), context)
    same(mixed.matrix, byzfl.NNM(f)(rows.clone()))
    clipped, _ = ClipNorm(max_norm=2.0).transform(Updates.of(rows), context)
    same(clipped.matrix, byzfl.Clipping(2.0)(rows.clone()))


def test_multi_krum_is_byzfls_where_attackers_are_far(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, f = case
    rows[:f] += 100
    same(MultiKrum(num_byzantine=f)(rows), byzfl.MultiKrum(f)(rows))


def test_meamed_and_centered_clipping_are_byzfls(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, f = case
    same(MeaMed(num_byzantine=f)(rows), byzfl.Meamed(f)(rows))
    for steps in (1, 4):
        same(CenteredClipping(max_norm=1.5, num_iterations=steps)(rows), byzfl.CenteredClipping(L=steps, tau=1.5)(rows))


def test_the_geometric_median_is_byzfls_if_that_takes_enough_steps(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, _ = case
    same(GeometricMedian()(rows), byzfl.GeometricMedian(nu=1e-9, T=2000)(rows))


def test_mda_and_monna_are_byzfls(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, f = case
    rows[:f] += 100  # so far that no two subsets are as tight
    same(MoNNA(num_byzantine=f, trusted_client=len(rows) - 1)(rows), byzfl.MoNNA(f, idx=len(rows) - 1)(rows))
    same(MDA(num_byzantine=f)(rows), byzfl.MDA(f)(rows))


def test_arc_is_byzfls(byzfl: ModuleType, case: tuple[Tensor, int]) -> None:
    rows, f = case
    rows[:f] *= 4
    clipped, _ = ARC(num_byzantine=f).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    same(clipped.matrix, byzfl.ARC(f)(rows.clone()))


def test_byzfls_caf_gives_another_answer_every_time_where_the_paper_takes_the_eigenvector(byzfl: ModuleType) -> None:
    rows = torch.randn(15, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows[:4] += 3
    theirs = {tuple(byzfl.CAF(4)(rows).tolist()) for _ in range(10)}  # one power step from a random start
    assert len(theirs) > 1
    assert len({tuple(CAF(num_byzantine=4)(rows).tolist()) for _ in range(3)}) == 1
