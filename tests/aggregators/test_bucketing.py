"""Bucketing: the rule sees means of a few random clients each."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import Bucketing, FoolsGold, Krum, Mean, Pipeline
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.types import RoundContext, Updates


def test_every_client_is_in_one_bucket_and_the_last_is_the_smaller_one() -> None:
    rows = torch.eye(7)
    dealt, mixing = Bucketing(size=3).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    assert dealt.matrix.shape == (3, 7)
    assert dealt.matrix.count_nonzero(dim=1).tolist() == [3, 3, 1]
    torch.testing.assert_close(dealt.matrix.sum(dim=1), torch.ones(3))
    assert torch.equal(dealt.matrix.count_nonzero(dim=0), torch.ones(7, dtype=torch.int64))
    torch.testing.assert_close(mixing.float(), dealt.matrix)


def test_the_deal_changes_from_round_to_round_and_follows_the_client_not_its_place() -> None:
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    context = RoundContext.for_matrix(rows)
    one = Bucketing().transform(Updates.of(rows), context)[0].matrix
    assert not torch.equal(one, Bucketing().transform(Updates.of(rows), dataclasses.replace(context, round=1))[0].matrix)
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    moved = dataclasses.replace(Updates.of(rows[order]), ids=order)
    torch.testing.assert_close(Bucketing().transform(moved, context)[0].matrix, one)


def test_the_rule_behind_it_must_stand_its_f_among_the_buckets() -> None:
    rule = Pipeline((Bucketing(size=2), Krum(num_byzantine=2)))
    with pytest.raises(PreconditionError, match="Krum needs n >= 2f \\+ 3 updates; got n=6, f=2"):
        rule(torch.ones(12, 3))
    assert torch.equal(rule(torch.ones(13, 3)), torch.ones(3))


def test_a_weighted_mean_behind_it_counts_a_bucket_as_much_as_its_clients() -> None:
    rows = torch.tensor([[3.0], [0.0], [0.0]])
    assert Pipeline((Bucketing(size=2), Mean()))(rows).item() == pytest.approx(1.0)


def test_behind_it_every_client_keeps_its_weight() -> None:
    rows, weights = torch.eye(4), torch.tensor([1000.0, 10.0, 1000.0, 1000.0])
    updates = dataclasses.replace(Updates.of(rows), weights=weights)
    result, _ = Pipeline((Bucketing(size=2), Mean())).aggregate(updates, {}, RoundContext.for_matrix(rows))
    torch.testing.assert_close(result.update, weights / weights.sum())
    torch.testing.assert_close(result.influence, (weights / weights.sum()).double())


def test_a_rule_that_needs_to_know_who_is_who_cannot_stand_behind_it() -> None:
    with pytest.raises(ConfigError, match=r"FoolsGold needs a durable identity .*; Bucketing in front hides it"):
        Pipeline((Bucketing(), FoolsGold()))
