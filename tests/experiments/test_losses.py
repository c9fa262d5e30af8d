"""What attacks cost in a sweep, worked out on paper."""

import pytest

from phalanx.experiments import SweepRecord, losses

NEVER = {"adversary": {"when": {"kind": "never"}, "update": {"kind": "sign_flip"}}}
RULES = {"mean": {"aggregator.kind": "mean"}, "median": {"aggregator.kind": "median"}}
ATTACKS = {
    "none": NEVER,
    "flip": {"adversary.update": {"kind": "sign_flip"}},
    "noise": {"adversary.update": {"kind": "gaussian"}},
}


def accuracy(value):
    return {"accuracy": value}


def test_lost_is_what_a_rule_is_below_the_best_unattacked_one_and_the_worst_attack_is_named(written):
    scores = {
        ("mean", "none"): accuracy(0.9),
        ("mean", "flip"): accuracy(0.1),
        ("mean", "noise"): accuracy(0.4),
        ("median", "none"): accuracy(0.85),
        ("median", "flip"): accuracy(0.8),
        ("median", "noise"): accuracy(0.7) | {"attack_success": 0.3},
    }
    (found,) = losses(written({"rule": RULES, "attack": ATTACKS}, scores))
    assert (found.where, found.rows, found.columns) == ("", ("mean", "median"), ("none", "flip", "noise"))
    assert found.unattacked == {"none"}
    assert found.reference == 0.9
    assert found.lost["median", "none"] == pytest.approx(0.05)  # the price of the rule
    assert found.worst == {"mean": (pytest.approx(0.8), "flip"), "median": (pytest.approx(0.2), "noise")}
    assert found.success == {("median", "noise"): 0.3}


def test_other_axes_make_a_map_each_with_a_reference_of_its_own_and_missing_cells_are_left_out(written):
    axes = {"rounds": {"few": {"run.rounds": 2}, "many": {"run.rounds": 5}}, "rule": RULES, "attack": ATTACKS}
    scores = {
        ("few", "mean", "none"): accuracy(0.5),
        ("few", "mean", "flip"): accuracy(0.4),
        ("many", "median", "none"): accuracy(0.8),
        ("many", "median", "noise"): accuracy(0.9),
    }
    few, many = losses(written(axes, scores))
    assert (few.where, few.reference, many.where, many.reference) == ("few", 0.5, "many", 0.8)
    assert few.worst == {"mean": (pytest.approx(0.1), "flip")}
    assert many.worst == {"median": (pytest.approx(-0.1), "noise")}  # an attack that helps is no rounding error: it is said


def test_a_place_counts_once_all_its_seeds_are_finished(written):
    record = written(
        {"seeds": [1, 2], "rule": RULES, "attack": ATTACKS},
        {("mean", "none"): accuracy(0.9), ("mean", "flip"): accuracy(0.5)},
    )
    assert losses(record)[0].lost["mean", "flip"] == pytest.approx(0.4)
    second = next(cell for cell in record.sweep.cells if cell.seed == 2 and tuple(cell.place.values()) == ("mean", "flip"))
    (record.folder_of(second) / "result.json").unlink()
    assert ("mean", "flip") not in losses(SweepRecord.read(record.folder))[0].lost


@pytest.mark.parametrize(
    "axes",
    [{"attack": ATTACKS}, {"rule": RULES, "attack": {"flip": ATTACKS["flip"]}}, {"attack": {"none": NEVER}, "rule": RULES}],
    ids=["one axis", "always attacked", "never attacked"],
)
def test_without_both_there_is_no_loss(written, axes):
    assert losses(written(axes, {})) == ()
