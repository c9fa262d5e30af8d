import json
from dataclasses import replace

import pytest

from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.report.group import read


def test_runs_that_differ_in_the_seed_only_are_one_group_in_order_of_seed(build, rules):
    first, second = build.seeds(0.8, 0.9, name="flame")
    other = build.run("mean", replace(build.attacked, aggregator=rules["mean"]))
    groups = build.subject(second, other, first).groups
    assert [(group.label, group.seeds) for group in groups] == [("flame", (1, 2)), ("mean", (1,))]


def test_workers_do_not_make_another_experiment(build):
    hurried = replace(build.attacked, run=replace(build.attacked.run, seed=2, workers=2))
    assert len(build.subject(build.run("a"), build.run("b", hurried)).groups) == 1


def test_the_same_experiment_twice_is_refused(build):
    with pytest.raises(ConfigError, match=r"a and .*b hold the same experiment; give one of them"):
        build.subject(build.run("a"), build.run("b"))


def test_the_same_folder_twice_is_one_run(build):
    folder = build.run("a")
    assert len(read([folder, folder / ".." / "a"]).groups[0].runs) == 1


def test_attackers_are_those_that_were_malicious_in_any_round(build):
    events = [build.round_event(0, malicious=[0]), build.round_event(1, malicious=[3]), build.evaluation_event(1, 0.5)]
    assert build.one(events).groups[0].attackers == {0, 3}


def test_a_group_is_attacked_only_if_its_attackers_ever_attack(build):
    subject = build.sweep({("mean", "none"): (0.9, 0.1), ("mean", "backdoor"): (0.9, 0.9)})
    assert [(group.label, group.is_attacked) for group in subject.groups] == [("mean, none", False), ("mean, backdoor", True)]


def test_a_sweep_is_read_from_its_folder_and_refused_beside_others(build, tmp_path):
    build.sweep({("mean", "none"): (0.9, 0.1)})
    assert read([tmp_path / "sweep"]).sweep is not None
    with pytest.raises(ConfigError, match=r"about one sweep, or about runs\. Give it alone"):
        read([tmp_path / "sweep", build.run("a")])


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda folder: (folder / "config.toml").unlink(), "is not a run folder: it has no config.toml"),
        (lambda folder: (folder / "config.toml").write_text("[run\n"), "The config of a run is damaged"),
        (lambda folder: (folder / "events.jsonl").write_text("{\n{}\n"), "events.jsonl is damaged; delete"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json is damaged"),
        (lambda folder: (folder / "result.json").write_text('{"experiment": "x"}'), "is not this run's"),
    ],
)
def test_damage_is_found_while_reading_in_one_sentence(build, spoil, sentence):
    good, bad = build.run("good"), build.run("bad", replace(build.attacked, run=replace(build.attacked.run, seed=9)))
    spoil(bad)
    with pytest.raises(CheckpointError, match=sentence):
        read([good, bad])


@pytest.mark.parametrize(
    "changed",
    [
        lambda event: {"malicious": None},
        lambda event: {"clients": ["a"]},
        lambda event: {"rejected": [1]},
        lambda event: {"influence": ["all"]},
        lambda event: {"seconds": {"train": "long"}},
        lambda event: {"accuracy": "high"} if event["event"] == "evaluation" else {},
    ],
)
def test_valid_json_that_is_no_event_of_ours_is_one_sentence(build, changed):
    events = [event | changed(event) for event in build.usual_events()]
    with pytest.raises(
        CheckpointError, match=r"^The events or the result in .*one are damaged, or another version's \(Phalanx 0"
    ):
        build.one(events, finished=False)


@pytest.mark.parametrize("final", [{"round": 2, "accuracy": "high"}, {"accuracy": 0.5}, {"round": None, "accuracy": 0.5}])
def test_a_result_with_odd_values_is_one_sentence(build, final):
    folder = build.run("one")
    (folder / "result.json").write_text(json.dumps({"experiment": build.attacked.digest(), "final": final}))
    with pytest.raises(CheckpointError, match=r"result in .* damaged"):
        build.subject(folder)


def test_events_without_a_list_that_every_page_reads_are_one_sentence(build):
    finals = {("mean", "none"): (0.9, 0.1)}
    subject = build.sweep(finals)
    folder = subject.groups[0].runs[0].folder
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    lines = [json.dumps({name: value for name, value in event.items() if name != "rejected"}) + "\n" for event in events]
    (folder / "events.jsonl").write_text("".join(lines))
    with pytest.raises(CheckpointError, match="are damaged, or another version's"):
        read([subject.sweep.folder])
