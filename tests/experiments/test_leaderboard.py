from dataclasses import dataclass, field
from statistics import fmean, stdev

import pytest
from scipy.stats import ttest_rel

from phalanx.core.errors import ConfigError
from phalanx.experiments import Grid, Sweep, leaderboards


@dataclass
class Finished:
    """As much of a run's record as a leaderboard reads."""

    final: dict
    is_finished: bool = True


@dataclass
class Record:
    sweep: Sweep
    runs: dict = field(default_factory=dict)


RULES = {"mean": {"aggregator.kind": "mean"}, "median": {"aggregator.kind": "median"}, "flame": {"aggregator.kind": "flame"}}


def boards(values, *, metric="accuracy", seeds=(1, 2, 3), **options):
    """`values`: rule -> scores by seed; None for a cell that has none."""
    rules = {name: RULES[name] for name in values}
    record = Record(Sweep.from_tables({}, {"seeds": list(seeds), "rule": rules}))
    for cell in record.sweep.cells:
        value = values[cell.place["rule"]][seeds.index(cell.seed)]
        if value is not None:
            record.runs[cell] = Finished({"accuracy": 0.5, metric: value} if metric != "accuracy" else {metric: value})
    return leaderboards(record, **options)


def best(board):
    return {row for (row, _), score in board.scores.items() if score.is_best}


def tied(board):
    return {row for (row, _), score in board.scores.items() if score.is_tied}


def test_mean_and_deviation_by_hand():
    (board,) = boards({"mean": [0.5, 0.6, 0.7], "median": [0.1, 0.2, 0.9]})
    assert board.scores["mean", ""].mean == pytest.approx(0.6)
    assert board.scores["mean", ""].deviation == pytest.approx(0.1)
    assert board.scores["median", ""].values == {1: 0.1, 2: 0.2, 3: 0.9}
    assert (board.metric, board.row_axis, board.column_axis, board.rows, board.columns) == (
        "accuracy", "rule", "", ("mean", "median"), ("",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "rival",
    [[0.80, 0.82, 0.85], [0.79, 0.83, 0.80], [0.70, 0.80, 0.90], [0.60, 0.59, 0.62], [0.8, 0.81, 0.86], [0.5, 0.83, 0.80]],
)
def test_a_tie_is_what_a_one_sided_paired_t_test_does_not_show_to_be_worse(rival):
    top = [0.81, 0.84, 0.88]
    (board,) = boards({"mean": top, "median": rival})
    assert best(board) == {"mean"}
    assert tied(board) == ({"median"} if ttest_rel(top, rival, alternative="greater").pvalue > 0.05 else set())


def test_the_t_test_by_hand():
    # Gaps 1, 2, 6 points: mean 3, deviation 2.646, t = 3 / (2.646 / √3) = 1.964 with 2 degrees: p = 0.09, a tie.
    gaps = [0.01, 0.02, 0.06]
    assert fmean(gaps) / (stdev(gaps) / 3**0.5) == pytest.approx(1.964, abs=1e-3)
    (board,) = boards({"mean": [0.9, 0.9, 0.9], "median": [0.89, 0.88, 0.84]})
    assert (best(board), tied(board)) == ({"mean"}, {"median"})
    # Gaps 5, 6, 5 points: t = 16: no tie, although two deviations overlap where seeds differ more than rules.
    (board,) = boards({"mean": [0.5, 0.7, 0.9], "median": [0.45, 0.64, 0.85]})
    assert (best(board), tied(board)) == ({"mean"}, set())


def test_a_gap_that_is_the_same_for_every_seed_is_no_tie_and_equal_values_are_both_the_best():
    (board,) = boards({"mean": [0.5, 0.75, 1.0], "median": [0.25, 0.5, 0.75], "flame": [0.5, 0.75, 1.0]})
    assert (best(board), tied(board)) == ({"mean", "flame"}, set())


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_with_fewer_than_three_seeds_nothing_is_tested(seeds):
    top, rival = [0.8, 0.9][: len(seeds)], [0.79, 0.91 - 1e-6][: len(seeds)]
    (board,) = boards({"mean": top, "median": top, "flame": rival}, seeds=seeds)
    assert (best(board), tied(board)) == ({"mean", "median"}, set())


def test_a_single_seed_has_no_deviation():
    (board,) = boards({"mean": [0.8]}, seeds=(1,))
    assert board.scores["mean", ""].deviation is None


def test_less_attack_success_is_better():
    accuracy, success = boards({"mean": [0.9, 0.8, 0.95], "median": [0.1, 0.0, 0.05]}, metric="attack_success")
    assert best(success) == {"median"}
    assert not success.higher_is_better
    assert accuracy.higher_is_better


def test_a_row_that_lacks_a_seed_of_its_column_is_incomplete_and_neither_best_nor_tied():
    (board,) = boards({"mean": [0.99, 0.98, None], "median": [0.89, 0.82, 0.1], "flame": [None, None, None]})
    assert set(board.scores) == {("mean", ""), ("median", "")}
    assert board.scores["mean", ""].values == {1: 0.99, 2: 0.98}
    assert {row for (row, _), score in board.scores.items() if not score.is_complete} == {"mean"}
    assert (best(board), tied(board)) == ({"median"}, set())
    assert board.rows == ("mean", "median", "flame")


def test_where_every_row_lacks_a_seed_none_is_the_best():
    (board,) = boards({"mean": [0.9, None, None], "median": [None, 0.9, 0.8]})
    assert (best(board), tied(board)) == (set(), set())
    assert not any(score.is_complete for score in board.scores.values())


def test_nothing_finished_is_no_leaderboard():
    assert boards({"mean": [None, None, None]}) == ()


def test_the_last_axis_goes_across_unless_another_is_named_and_the_rest_is_joined():
    crossed = {"a": {"a1": {}, "a2": {"run.rounds": 2}}, "b": {"b1": {}, "b2": {"training.lr": 0.5}}}
    crossed["c"] = {"c1": {}, "c2": {"evaluation.every": 3}}
    sweep = Sweep.from_tables({}, crossed)
    grid = Grid.of(sweep)
    assert (grid.row_axis, grid.column_axis, grid.columns) == ("a, b", "c", ("c1", "c2"))
    assert grid.rows == ("a1, b1", "a1, b2", "a2, b1", "a2, b2")
    grid = Grid.of(sweep, columns="a")
    assert (grid.row_axis, grid.columns, grid.rows[0]) == ("b, c", ("a1", "a2"), "b1, c1")
    with pytest.raises(ConfigError, match=r"The sweep has no axis 'd'; it has: a, b, c\."):
        Grid.of(sweep, columns="d")


def test_a_column_without_the_metric_is_left_out():
    rules = {"a": {"a1": {}, "a2": {"run.rounds": 2}}, "b": {"b1": {}, "b2": {"training.lr": 0.5}}}
    record = Record(Sweep.from_tables({}, rules))
    for cell in record.sweep.cells:
        record.runs[cell] = Finished({"accuracy": 0.5, **({"attack_success": 0.1} if cell.place["b"] == "b2" else {})})
    accuracy, success = leaderboards(record)
    assert accuracy.columns == ("b1", "b2")
    assert success.columns == ("b2",)
