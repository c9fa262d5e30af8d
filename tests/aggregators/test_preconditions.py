"""What rules need, at every n and f: the documented number of rows is enough, one fewer is an error, f never shrinks."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import (
    ARC,
    Bucketing,
    Bulyan,
    DnC,
    IterativeBulyan,
    IterativeMultiKrum,
    Krum,
    Mean,
    MultiKrum,
    NearestNeighborMixing,
    Pipeline,
)
from phalanx.core.component import members
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator, PreAggregator
from phalanx.testing import AGGREGATORS

FEWEST = {
    Krum.kind: lambda f: 2 * f + 3,
    MultiKrum.kind: lambda f: 2 * f + 3,
    IterativeMultiKrum.kind: lambda f: 2 * f + 3,
    Bulyan.kind: lambda f: 4 * f + 3,
    IterativeBulyan.kind: lambda f: 4 * f + 3,
    DnC.kind: lambda f: 2 * f + 1,
}
"""The others need a majority, n > 2f."""
KINDS = {example.rule.kind: example.rule for example in AGGREGATORS if hasattr(example.rule, "num_byzantine")}


@pytest.mark.parametrize("f", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_documented_number_of_rows_is_enough_and_one_fewer_is_an_error_with_the_numbers(kind: str, f: int) -> None:
    changed = {"num_byzantine": f} | ({"num_selected": None} if kind == MultiKrum.kind else {})
    rule = dataclasses.replace(KINDS[kind], **changed)
    fewest = FEWEST.get(kind, lambda f: 2 * f + 1)(f)
    rule.require(fewest)
    rule.require(fewest + 1)
    if fewest > 1:
        with pytest.raises(PreconditionError, match=rf"n={fewest - 1}\b.*f={f}\b"):
            rule.require(fewest - 1)


def test_every_rule_with_an_f_is_tried() -> None:
    ours = {kind: rule for kind, rule in members(Aggregator).items() if rule.__module__.startswith("phalanx.")}
    assert {kind for kind, rule in ours.items() if "num_byzantine" in rule.__dataclass_fields__} == set(KINDS)


def test_rows_that_screening_would_drop_make_it_an_error_and_not_a_smaller_f() -> None:
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    Krum(2)(rows)
    rows[3, 1] = torch.nan
    with pytest.raises(PreconditionError, match=r"n=6, f=2"):
        Krum(2)(rows)


def test_a_number_of_selected_rows_is_kept_or_an_error() -> None:
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(PreconditionError, match="n=7, num_selected=8"):
        MultiKrum(2, 8)(rows)


@pytest.mark.parametrize("stage", [NearestNeighborMixing(2), ARC(2)], ids=lambda stage: stage.kind)
def test_a_stage_in_front_keeps_its_own_f(stage: PreAggregator) -> None:
    Pipeline((stage, Mean())).require(5)
    with pytest.raises(PreconditionError, match="n=4, f=2"):
        Pipeline((stage, Mean())).require(4)


def test_behind_buckets_the_rule_keeps_its_f_and_counts_buckets() -> None:
    Pipeline((Bucketing(2), Krum(2))).require(13)
    with pytest.raises(PreconditionError, match="n=6, f=2"):
        Pipeline((Bucketing(2), Krum(2))).require(12)
