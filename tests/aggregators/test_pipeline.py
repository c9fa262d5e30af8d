"""Pipeline: pre-aggregators and a rule, as one rule."""

import dataclasses

import pytest
import torch
from torch import Tensor

from phalanx.aggregators import (
    ARC,
    ClipNorm,
    Flame,
    Krum,
    Mean,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    Pipeline,
    TrimmedMean,
)
from phalanx.core.capabilities import Capability
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator, PreAggregator
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, RoundContext, State, Updates

ROWS = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))


def aggregate(rule: Aggregator, rows: Tensor = ROWS) -> Aggregate:
    return rule.aggregate(Updates.of(rows), rule.init(Layout.flat(rows.shape[1])), RoundContext.for_matrix(rows))[0]


class _Counting(Mean):
    """A rule that remembers how often it was asked and needs the model."""

    needs = frozenset({Capability.MODEL})

    def init(self, layout: Layout) -> State:
        return {"rounds": torch.zeros(())}

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        return super().combine(updates, state, context)[0], {"rounds": state["rounds"] + 1}


class _Pairs(PreAggregator):
    """Halves the rows: the mean of each two neighbours."""

    def rows_out(self, n: int) -> int:
        return n // 2

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        mixing = torch.eye(len(updates) // 2, dtype=torch.float64).repeat_interleave(2, dim=1) / 2
        return Updates.of((mixing @ updates.matrix.double()).float()), mixing


def test_clipping_then_mean_is_norm_clipping() -> None:
    pipeline, rule = aggregate(Pipeline((ClipNorm(max_norm=1.0), Mean()))), aggregate(NormClipping(max_norm=1.0))
    torch.testing.assert_close(pipeline.update, rule.update)
    torch.testing.assert_close(pipeline.influence, rule.influence)


def test_stages_run_in_order_as_by_hand() -> None:
    rows = torch.tensor([[0.0], [1.0], [2.0], [99.0]])
    # Clipped to 1: 0, 1, 1, 1; the mean of the nearest three: 2/3, 1, 1, 1; trimmed by one: 1.
    stages = (ClipNorm(max_norm=1.0), NearestNeighborMixing(num_byzantine=1), TrimmedMean(num_byzantine=1))
    assert Pipeline(stages)(rows).item() == pytest.approx(1)
    # The other way round: 1, 1, 1 and 34 clipped to 1.
    assert Pipeline((NearestNeighborMixing(num_byzantine=1), ClipNorm(max_norm=1.0), Mean()))(rows).item() == pytest.approx(1)


def test_influence_is_carried_back_to_the_original_rows() -> None:
    rule = Pipeline((ClipNorm(max_norm=1.5), NearestNeighborMixing(num_byzantine=2), MultiKrum(num_byzantine=2)))
    result = aggregate(rule)
    assert result.influence is not None
    assert result.update is not None
    torch.testing.assert_close((result.influence @ ROWS.double()).float(), result.update)


def test_a_nested_pipeline_is_the_flat_one() -> None:
    clip, mix, krum = ClipNorm(max_norm=1.5), NearestNeighborMixing(num_byzantine=2), Krum(num_byzantine=2)
    nested, flat = aggregate(Pipeline((clip, Pipeline((mix, krum))))), aggregate(Pipeline((clip, mix, krum)))
    assert nested.update is not None
    assert flat.update is not None
    assert torch.equal(nested.update, flat.update)
    torch.testing.assert_close(nested.influence, flat.influence)


def test_a_rule_alone_is_a_pipeline() -> None:
    assert torch.equal(Pipeline((Krum(num_byzantine=2),))(ROWS), Krum(num_byzantine=2)(ROWS))


def test_preconditions_of_the_whole_chain_are_checked_with_the_rows_that_reach_each_stage() -> None:
    with pytest.raises(PreconditionError, match="NearestNeighborMixing needs n > 2f updates; got n=6, f=3"):
        Pipeline((NearestNeighborMixing(num_byzantine=3), Mean())).require(6)
    with pytest.raises(PreconditionError, match=r"Krum needs n >= 2f \+ 3 updates; got n=4, f=1"):
        Pipeline((_Pairs(), Krum(num_byzantine=1))).require(9)
    Pipeline((_Pairs(), Krum(num_byzantine=1))).require(10)


def test_rows_that_were_merged_share_their_influence() -> None:
    result = aggregate(Pipeline((_Pairs(), Krum(num_byzantine=0))), ROWS[:8])
    assert result.influence is not None
    assert sorted(result.influence.tolist()) == [0] * 6 + [0.5] * 2


def test_state_and_needs_are_the_rules() -> None:
    rule = Pipeline((ClipNorm(max_norm=1.0), _Counting()))
    assert rule.needs == {Capability.MODEL, Capability.INDIVIDUAL_UPDATES}
    state = rule.init(Layout.flat(6))
    for _ in range(2):
        _, state = rule.aggregate(Updates.of(ROWS), state, RoundContext.for_matrix(ROWS))
    assert state["rounds"] == 2


def test_a_rule_that_does_not_attribute_stays_so() -> None:
    assert aggregate(Pipeline((NearestNeighborMixing(num_byzantine=1), TrimmedMean(num_byzantine=1)))).influence is None


def test_flame_behind_a_clip_keeps_its_metrics() -> None:
    assert "acceptance" in aggregate(Pipeline((ClipNorm(max_norm=1.0), Flame()))).metrics


def test_a_mean_behind_a_stage_averages_no_buffers() -> None:
    assert aggregate(Pipeline((Mean(),))).buffers is not None
    assert aggregate(Pipeline((ClipNorm(max_norm=1.0), Mean()))).buffers is None


@pytest.mark.parametrize("stages", [(), (ClipNorm(max_norm=1.0),), (Mean(), ClipNorm(max_norm=1.0)), (Mean(), Mean())])
def test_anything_but_pre_aggregators_and_one_rule_is_refused(stages: tuple[PreAggregator | Aggregator, ...]) -> None:
    with pytest.raises(ConfigError, match="Pipeline needs pre-aggregators followed by exactly one aggregator"):
        Pipeline(stages)


def test_a_pipeline_survives_its_table() -> None:
    rule = Pipeline((ClipNorm(max_norm=1.0), Pipeline((NearestNeighborMixing(num_byzantine=1), Krum(num_byzantine=1)))))
    assert Aggregator.from_table(rule.to_table()) == rule


def test_scores_and_places_of_mixed_rows_are_nobodys() -> None:
    class _Scores(Mean):
        def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
            aggregate, state = super().combine(updates, state, context)
            numbers = torch.arange(len(updates)).double()
            return dataclasses.replace(aggregate, scores=numbers, embedding=numbers[:, None].expand(-1, 2)), state

    assert aggregate(Pipeline((_Scores(),)), ROWS).scores.tolist() == list(range(len(ROWS)))
    assert aggregate(Pipeline((_Scores(),)), ROWS).embedding.shape == (len(ROWS), 2)
    mixed = aggregate(Pipeline((NearestNeighborMixing(1), _Scores())), ROWS)
    assert (mixed.scores, mixed.embedding) == (None, None)


def test_clipping_twice_before_krum_makes_no_second_matrix() -> None:
    rows = torch.randn(8, 300, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)[:, None]
    updates, context = Updates.of(rows), RoundContext.for_matrix(rows)
    for stage in (ClipNorm(60.0), ARC(num_byzantine=2)):
        updates, _ = stage.transform(updates, context)
    update = Krum(num_byzantine=2).aggregate(updates, {}, context)[0].update
    assert "whole" not in vars(updates.rows)
    assert updates.rows.parent.whole is rows, "the factors are multiplied"
    torch.testing.assert_close(update, Krum(num_byzantine=2)(updates.matrix))


class _EveryOther(Aggregator):
    """A third party's rule: the mean of every other client, told by weights."""

    def combine(self, updates, state, context):
        weights = (updates.ids % 2 == 0).double()
        return Mean().aggregate(dataclasses.replace(updates, weights=weights), state, context)


def test_a_rule_behind_a_stage_may_replace_weights() -> None:
    rows = torch.tensor([[4.0, 0.0], [100.0, 100.0], [0.0, 0.5]])
    assert Pipeline((ClipNorm(1.0), _EveryOther()))(rows).tolist() == [0.5, 0.25]


def test_rows_beyond_the_square_root_of_the_largest_number_are_clipped_and_not_lost() -> None:
    rows = 1e155 * torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.nn.functional.normalize(rows / 1e155, dim=1).mean(dim=0)
    torch.testing.assert_close(Pipeline((ClipNorm(1.0), Mean()))(rows), expected)
