"""Each panel's numbers, worked out by hand from the events that `conftest.py` writes."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from phalanx.aggregators import Mean
from phalanx.config import Experiment
from phalanx.experiments.custom import CustomModel
from phalanx.report.panel import Code, Text
from phalanx.report.panels import (
    Configuration,
    Curves,
    Detection,
    Failures,
    Norms,
    Partition,
    Rejections,
    Reproduction,
    Results,
    Scores,
    Times,
)
from phalanx.report.panels.partition import class_counts
from phalanx.report.panels.rejections import rejected
from phalanx.report.panels.times import phases
from phalanx.tracking import MLflow

FINALS = {("mean", "none"): (0.9, 0.1), ("mean", "backdoor"): (0.9, 0.9), ("krum", "none"): (0.6, 0.1)}


def plain(texts):
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts]


def test_results_are_a_row_per_experiment_with_harm_and_state(build, rules):
    mean = replace(build.attacked, aggregator=rules["mean"])
    subject = build.subject(*build.seeds(0.8, 0.9), build.run("mean", mean, build.usual_events(2, success=0.9), finished=False))
    (grid,) = Results().show(subject)
    assert grid.head == ["experiment", "accuracy", "attack success", "base rate", "harm", "seeds", "state"]
    assert plain(grid.rows[0]) == ["flame", "85.0 ± 7.1 %", "20.0 ± 0.0 %", "10.0 ± 0.0 %", "not measured", "1, 2", "finished"]
    assert plain(grid.rows[1]) == ["mean", "90.0 %", "90.0 %", "10.0 %", "yes", "1", "not finished: 2 of 3 rounds"]


def test_curves_of_runs_are_two_plots_with_their_last_values_in_words(build):
    accuracy, success, band = Curves().show(build.subject(*build.seeds(0.8, 0.9)))
    assert accuracy.alt == "Accuracy over rounds. At round 3: flame 85.0 %."
    assert success.alt == "Attack success over rounds. At round 3: flame 20.0 %."
    assert "from the lowest to the highest seed" in band.text
    assert [len(line.get_xdata()) for line in accuracy.figure.axes[0].lines] == [3]


def test_a_stopped_seed_does_not_turn_an_early_round_into_the_end(build):
    first = build.run("first", events=build.usual_events(3))
    second = replace(build.attacked, run=replace(build.attacked.run, seed=2))
    late = build.run("late", second, build.usual_events(3)[:2], finished=False)
    assert Curves().show(build.subject(first, late))[0].alt == "Accuracy over rounds. At round 1: flame 30.0 %."


def test_curves_of_a_sweep_are_a_plot_per_column_with_a_line_per_row(build):
    pieces = Curves().show(build.sweep(FINALS))
    assert [piece.name for piece in pieces[:-1]] == [
        "accuracy-attack-none",
        "attack-success-attack-none",
        "accuracy-attack-backdoor",
        "attack-success-attack-backdoor",
    ]
    assert pieces[0].alt.endswith("At round 3: mean 91.5 %, krum 61.5 %.")
    assert [line.get_label() for line in pieces[0].figure.axes[0].lines] == ["mean", "krum"]


def test_more_lines_than_can_be_told_apart_are_the_best_ones(build):
    folders = [
        build.run(
            f"r{place}",
            replace(build.attacked, run=replace(build.attacked.run, rounds=3 + place)),
            build.usual_events(3, accuracy=place / 10),
        )
        for place in range(10)
    ]
    accuracy = Curves().show(build.subject(*folders))[0]
    assert accuracy.caption == "The 8 best of 10."
    assert [line.get_label() for line in accuracy.figure.axes[0].lines] == [f"run.rounds {3 + place}" for place in range(2, 10)]


def test_detection_of_one_run_shows_both_rates(build):
    (plot,) = Detection().show(build.one())
    assert plot.alt == "Without weight over rounds. On average: attackers 100.0 %, honest clients 50.0 %."


def test_without_attackers_there_is_nothing_to_detect(build):
    events = build.usual_events(malicious=[], tpr=None, fpr=None, honest_norm=None, malicious_norm=None)
    assert Detection().show(build.one(events)) is None
    assert Norms().show(build.subject(build.folder / "one")) is None


def test_rejections_are_counted_by_who_and_why(build):
    assert rejected(build.one().groups[0]) == {
        "no weight: attackers": [1.0, 1.0, 1.0],
        "screened: not finite": [1.0, 1.0, 1.0],
    }
    (plot,) = Rejections().show(build.subject(build.folder / "one"))
    assert plot.alt == "Rejected updates over rounds, on average 1.0 no weight: attackers, 1.0 screened: not finite."


def test_rejections_count_honest_clients_and_the_absent(build):
    events = build.usual_events(influence=[0.0, 0.0, 1.0], rejected={}, dropped_out=2)
    assert rejected(build.one(events).groups[0]) == {
        "no weight: attackers": [1.0] * 3,
        "no weight: honest": [1.0] * 3,
        "dropped out": [2.0] * 3,
    }


def test_rejections_of_many_rounds_are_means_over_bins(build):
    events = [build.round_event(number, dropped_out=number % 2) for number in range(400)]
    found = rejected(build.one([*events, build.evaluation_event(399, 0.5)]).groups[0])
    assert found["dropped out"] == [0.5] * 200


def test_where_nothing_was_rejected_there_is_no_section(build):
    assert Rejections().show(build.one(build.usual_events(influence=[0.3, 0.3, 0.4], rejected={}))) is None


def test_norms_show_attackers_beside_honest(build):
    (plot,) = Norms().show(build.one())
    assert plot.alt == "Median norms over rounds. At round 3: attackers 4, honest 1."
    assert plot.figure.axes[0].get_yscale() == "log"


def test_the_partition_is_read_from_the_manifest(build):
    subject = build.one()
    ids, counts = class_counts(subject.groups[0])
    assert ids == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(counts, [[1, 0, 1, 4, 2], [0, 2, 2, 0, 3]])
    (plot,) = Partition().show(subject)
    assert plot.caption == ("5 clients, 1 to 5 samples each. The deepest blue is 4 samples of a class. Attackers are orange.")


def test_a_partition_of_which_every_fifth_client_was_kept_names_the_right_clients(build):
    manifest = build.manifest | {"client_samples": [1] * 10, "client_classes": {"step": 5, "counts": ["1 0", "0 1"]}}
    subject = build.one(manifest=manifest)
    assert class_counts(subject.groups[0])[0] == [0, 5]
    assert "Shown are 2 of them, evenly spaced." in Partition().show(subject)[0].caption


def test_an_older_manifest_without_classes_still_shows_the_sizes(build):
    manifest = {name: value for name, value in build.manifest.items() if name != "client_classes"}
    (plot,) = Partition().show(build.one(manifest=manifest))
    assert len(plot.figure.axes) == 1


def test_runs_with_one_split_share_its_picture(build):
    assert len(Partition().show(build.subject(*build.seeds(0.8, 0.9)))) == 1


def test_times_are_seconds_a_round(build):
    subject = build.one()
    assert {name: round(value, 6) for name, value in phases(subject.groups[0]).items()} == {
        "train": 0.2,
        "aggregate": 0.1,
        "evaluate": 0.3,
    }
    _, grid = Times().show(subject)
    assert grid.rows == [["flame", "200 ms", "100 ms", "300 ms", "1.8 s"]]


def test_the_config_is_complete_and_can_be_run(build):
    (code,) = Configuration().show(build.one())
    import tomllib

    assert Experiment.from_table(tomllib.loads(code.text)) == build.attacked


def test_configs_that_differ_have_a_table_of_what_does(build):
    other = replace(build.attacked, run=replace(build.attacked.run, rounds=4))
    grid = Configuration().show(build.subject(build.run("a"), build.run("b", other, build.usual_events(3))))[0]
    assert grid.rows == [["run.rounds", "3", "4"]]


def test_trackers_whose_address_may_hold_a_password_are_on_no_page(build):
    tracker = MLflow(tracking_uri="https://me:secret@example.org")
    tracked = replace(build.attacked, tracking=(tracker,))
    subject = build.subject(build.run("tracked", tracked), build.run("mean", replace(build.attacked, aggregator=Mean())))
    assert [group.label for group in subject.groups] == ["flame", "mean"]
    pieces = Configuration().show(subject)
    assert "secret" not in str(pieces)
    code = next(piece for piece in pieces if isinstance(piece, Code))
    assert Experiment.from_table(tomllib.loads(code.text)) == build.attacked


def test_how_to_run_it_again_has_command_versions_checksums_and_digest(build):
    commands, versions, data, results = Reproduction().show(build.one())
    assert commands.text.splitlines()[-1] == "phalanx run experiment.toml --out again"
    assert ["torch", "2.13.0"] in versions.rows
    assert data.rows == [["digits", "digits.csv.gz", "09f66e6d"]]
    assert results.rows == [["one", "1", build.attacked.digest(), "feed" * 16]]


def test_commands_can_be_pasted_whatever_the_folders_are_called(build):
    second = replace(build.attacked, run=replace(build.attacked.run, seed=2))
    commands, *_ = Reproduction().show(build.subject(build.run("a b; rm"), build.run("b", second)))
    assert "phalanx run 'a b; rm'/config.toml --out again/'a b; rm'" in commands.text


def test_a_run_with_a_model_from_python_promises_no_command_that_fails(build):
    own = replace(build.attacked, model=CustomModel(digest="feed"))
    commands, *_ = Reproduction().show(build.subject(build.run("own", own)))
    assert commands.text == "# own: its model came from Python, not from the config: phalanx.run(experiment, model=…)"
    commands, *_ = Reproduction().show(build.subject(build.folder / "own", build.run("other")))
    assert commands.text.splitlines()[0].startswith("# own: its model came from Python")
    assert commands.text.splitlines()[-1] == "phalanx run other/config.toml --out again/other"


def many(build, number):
    """Attacked experiments that differ in how many samples the backdoor poisons, and each in its split."""
    folders = []
    for place in range(number):
        data = replace(build.attacked.adversary.data, share=(place + 1) / (number + 1))
        experiment = replace(build.attacked, adversary=replace(build.attacked.adversary, data=data))
        manifest = build.manifest | {"partition": str(place)}
        folders.append(build.run(f"run{place}", experiment, build.usual_events(1), manifest=manifest, finished=False))
    return build.subject(*folders)


@pytest.mark.parametrize(
    ("panel", "number", "sentence"),
    [
        (Norms, 5, "5 plots are left out: "),
        (Rejections, 5, "5 plots are left out: "),
        (Partition, 5, "1 more split is left out: "),
        (Detection, 9, "1 more experiment is left out: "),
        (Detection, 17, "17 experiments are left out: "),
        (Times, 13, "1 more experiment is left out: "),
        (Configuration, 13, "1 more config is left out: "),
    ],
)
def test_what_a_page_has_no_room_for_is_counted(build, panel, number, sentence):
    assert panel().show(many(build, number))[-1].text.startswith(sentence)


def test_rows_that_a_table_has_no_room_for_are_counted(build, monkeypatch):
    subject = many(build, 3)
    monkeypatch.setattr("phalanx.report.panels.reproduction.MOST_RUNS", 1)
    assert Reproduction().show(subject)[-1].text == "2 more runs are left out: each result.json holds its own."
    monkeypatch.setattr("phalanx.report.panels.configuration.MOST_ROWS", 0)
    assert Text("1 more differing setting is left out: the configs below have them all.") in Configuration().show(subject)


def test_a_leaderboard_too_large_for_a_picture_says_so(build, monkeypatch):
    monkeypatch.setattr("phalanx.report.panels.scores.MOST_FIELDS", 3)
    text, *_ = Scores().show(build.sweep(FINALS))
    assert text.text.startswith("2 heat maps are left out: more than 3 fields;")


def test_several_runs_have_a_command_each_and_mixed_versions_are_remarked_on(build):
    first = build.run("a")
    second = replace(build.attacked, run=replace(build.attacked.run, seed=2))
    manifest = build.manifest | {"versions": build.manifest["versions"] | {"torch": "2.14.0"}}
    commands, versions, *_ = Reproduction().show(build.subject(first, build.run("b", second, manifest=manifest)))
    assert "phalanx run b/config.toml --out again/b" in commands.text
    assert ["torch", "2.13.0, 2.14.0"] in versions.rows
    assert versions.caption == "These runs were not all made with the same versions."


def test_a_run_that_has_not_begun_still_says_how_to_run_it(build):
    _, text, _ = Reproduction().show(build.one([], finished=False, manifest=None))
    assert text.text == "No run has begun yet."


def test_leaderboards_mark_the_best_and_leave_a_dash_where_nothing_finished(build):
    accuracy_plot, success_plot, accuracy, success = Scores().show(build.sweep(FINALS))
    assert accuracy.head == ["rule", "none", "backdoor"]
    assert plain(accuracy.rows[0]) == ["mean", "91.5 ± 0.7 %", "91.5 ± 0.7 %"]
    assert plain(accuracy.rows[1]) == ["krum", "61.5 ± 0.7 %", "–"]
    assert accuracy.best == {(0, 1), (0, 2)}
    assert success.best == {(0, 1), (1, 1), (0, 2)}  # 10 % is 10 %: both are the best
    assert (accuracy.tied, success.tied) == (frozenset(), frozenset())
    assert accuracy.caption.endswith("★: the best of its column. No test is made with fewer than 3 seeds.")
    assert accuracy_plot.alt == "Accuracy in percent: mean none 92 %, mean backdoor 92 %, krum none 62 %."
    assert [text.get_text() for text in success_plot.figure.axes[0].texts] == ["10", "90", "10", "–"]


def test_failed_cells_have_their_reason_and_the_others_are_counted(build):
    grid, text = Failures().show(build.sweep(FINALS, failures={"rule krum, attack backdoor, seed 2": "n >= 2f + 3"}))
    assert grid.rows == [["rule krum, attack backdoor, seed 2", "n >= 2f + 3"]]
    assert text.text == "0 begun, but not finished; 1 not begun."


def test_cells_that_failed_for_one_reason_are_one_row(build):
    failures = {f"rule krum, attack {attack}, seed {seed}": "no data" for attack in ("none", "backdoor") for seed in (1, 2)}
    failures["rule mean, attack none, seed 1"] = "too few"
    grid, _ = Failures().show(build.sweep({}, failures=failures))
    assert [row[1] for row in grid.rows] == ["too few", "no data"]
    assert grid.rows[1][0].startswith("4 cells: rule krum, attack none, seed 1; rule krum, attack none, seed 2; ")


@pytest.mark.parametrize("panel", [Scores, Failures])
def test_what_belongs_to_sweeps_is_not_shown_for_runs(build, panel):
    assert panel().show(build.one()) is None
