"""The maps of rules and attacks, and the table of worst cases."""

import pytest

from phalanx.experiments import Losses
from phalanx.report.group import of_sweep
from phalanx.report.panel import Grid, Plot
from phalanx.report.panels.robustness import Robustness
from phalanx.report.worst_cases import by_worst_case, table, to_markdown

RULES = {"mean": {"aggregator.kind": "mean"}, "median": {"aggregator.kind": "median"}}
ATTACKS = {
    "none": {"adversary": {"when": {"kind": "never"}, "update": {"kind": "sign_flip"}}},
    "flip": {"adversary.update": {"kind": "sign_flip"}},
}
FULL = {
    ("mean", "none"): {"accuracy": 0.9},
    ("mean", "flip"): {"accuracy": 0.1},
    ("median", "none"): {"accuracy": 0.85},
    ("median", "flip"): {"accuracy": 0.8, "attack_success": 0.25},
}


def a_map(where: str, worst: dict[str, tuple[float, str]], rows=("a", "b|c", "d")) -> Losses:
    lost = {(row, attack): share for row, (share, attack) in worst.items()}
    return Losses(where, rows, ("none", "flip"), frozenset({"none"}), 0.9, lost, {})


def test_a_sweep_over_rules_and_attacks_has_maps_and_worst_cases(written):
    record = written({"rule": RULES, "attack": ATTACKS}, FULL)
    grid, lost, success = Robustness().show(of_sweep(record))
    assert isinstance(grid, Grid)
    assert [list(row) for row in grid.rows] == [["median", "10.0 flip"], ["mean", "80.0 flip"]]
    assert isinstance(lost, Plot)
    assert "median worst 10.0" in lost.alt
    assert "mean none 0.0" in lost.alt
    assert lost.caption == "Points below 90.0 %, the best rule's accuracy when nobody attacks."
    assert (success.name, success.alt) == ("attack-success", "median flip 25.0.")


def test_further_axes_make_a_picture_of_the_worst_cases_and_a_map_each(written):
    axes = {"rounds": {"few": {"run.rounds": 2}, "many": {"run.rounds": 5}}, "rule": RULES, "attack": ATTACKS}
    scores = {(where, *place): final for where in ("few", "many") for place, final in FULL.items()}
    pieces = Robustness().show(of_sweep(written(axes, scores)))
    names = [piece.name for piece in pieces if isinstance(piece, Plot)]
    assert names == ["worst-cases", "accuracy-lost-1", "attack-success-1", "accuracy-lost-2", "attack-success-2"]


def test_runs_and_sweeps_without_an_unattacked_cell_have_no_section(written):
    assert Robustness().show(of_sweep(written({"rule": RULES, "attack": ATTACKS}, {}))) is None


def test_rules_stand_in_the_order_of_their_worst_cases_those_that_lack_one_last():
    maps = [
        a_map("x", {"a": (0.3, "flip"), "b|c": (0.1, "flip"), "d": (0.0, "flip")}),
        a_map("y", {"a": (0.1, "flip"), "b|c": (0.2, "flip")}),
    ]
    assert by_worst_case(maps) == ["b|c", "a", "d"]
    assert table(maps, "rule") == (
        ["rule", "x", "y"],
        [["b|c", "10.0 flip", "20.0 flip"], ["a", "30.0 flip", "10.0 flip"], ["d", "0.0 flip", "–"]],
    )
    assert to_markdown(maps, "rule").splitlines()[:3] == [
        "| rule | x | y |",
        "| --- | ---: | ---: |",
        "| b\\|c | 10.0 flip | 20.0 flip |",
    ]


@pytest.mark.parametrize("where", ["", "some"])
def test_a_single_map_has_a_name_for_its_column(where):
    assert table([a_map(where, {"a": (0.5, "flip")})], "rule")[0] == ["rule", where or "worst case"]


def test_a_worst_case_over_fewer_attacks_says_so_and_competes_with_nobody():
    lost = {("strong", "A"): 0.02, ("strong", "B"): 0.1, ("lucky", "A"): 0.01}
    found = Losses("", ("lucky", "strong"), ("none", "A", "B"), frozenset({"none"}), 0.9, lost, {})
    assert table([found], "rule")[1] == [["strong", "10.0 B"], ["lucky", "≥ 1.0 A"]]
