"""`phalanx show`: a run of any state, and a sweep, as text and as JSON; what is damaged is one sentence."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import tomli_w

from phalanx.aggregators import Flame, Krum, NormClipping
from phalanx.attacks import Adversary, Backdoor, FirstClients, FromTo, ModelReplacement, Patch
from phalanx.cli.showing import show_folder
from phalanx.cli.summarising import brief
from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import CheckpointError
from phalanx.data import IID, Digits
from phalanx.experiments import Sweep, SweepRecord, run
from phalanx.experiments.custom import CustomModel
from phalanx.experiments.folder import RunFolder
from phalanx.server import FixedSize
from phalanx.training import SGD

BACKDOOR = Backdoor(Patch(2), target=0, share=0.5)
ATTACKED = Experiment(
    run=RunSettings(rounds=6, seed=1),
    data=Digits(),
    partition=IID(num_clients=10),
    training=SGD(lr=0.3, steps=2),
    aggregator=Flame(),
    adversary=Adversary(who=FirstClients(count=2), when=FromTo(first=1, last=3), data=BACKDOOR, update=ModelReplacement()),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(ATTACKED, out=folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def shown(folder, capsys):
    show_folder(folder, as_json=False)
    return capsys.readouterr().out


def document(folder, capsys):
    show_folder(folder, as_json=True)
    return json.loads(capsys.readouterr().out)


def test_a_finished_run_shows_what_it_was_how_it_went_and_how_to_run_it_again(finished, capsys):
    text = shown(finished, capsys)
    assert text.startswith(f"{finished}  finished\n")
    for words in (
        "digits, dealt to 10 clients by iid",
        "first_clients (count 2), from_to (first 1, last 3): backdoor (target 0, share 0.5) + model_replacement",
        "of the attackers' updates",
        "after the last attack in round 4",
        f"phalanx run {finished}/config.toml",
        f"phalanx report {finished}",
    ):
        assert words in text
    accuracy = next(line for line in text.splitlines() if line.startswith("accuracy"))
    assert len(accuracy.split()[1]) == 6  # one block a round


def test_the_document_holds_what_the_events_hold(finished, capsys):
    events = [json.loads(line) for line in (finished / "events.jsonl").read_text().splitlines()]
    rounds = [event for event in events if event["event"] == "round"]
    run = document(finished, capsys)
    assert (run["state"], run["rounds_done"], run["attackers"]) == ("finished", 6, [0, 1])
    assert run["final"]["accuracy"] == run["series"]["accuracy"][-1]
    assert run["series"]["round"] == [0, 1, 2, 3, 4, 5]
    tprs = [event["tpr"] for event in rounds if event.get("tpr") is not None]
    assert len(tprs) == 3
    assert run["detection"]["tpr"] == pytest.approx(sum(tprs) / 3)
    assert run["seconds"]["train"] == pytest.approx(sum(event["seconds"]["train"] for event in rounds))
    assert Experiment.from_table(run["config"]) == ATTACKED
    assert "tracking" not in run["config"]  # its addresses may hold a password


def test_a_run_with_a_model_from_python_shows_no_command_that_fails(tmp_path, capsys):
    (tmp_path / "config.toml").write_text(replace(ATTACKED, model=CustomModel(digest="feed")).to_toml())
    text = shown(tmp_path, capsys)
    assert "its model came from Python, not from the config: phalanx.run(experiment, model=…)" in text
    assert "phalanx run " not in text
    assert "phalanx resume " not in text


def test_a_stopped_run_says_how_far_it_came_and_how_to_go_on(copy, capsys):
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join(lines[:4]) + '{"event": "round", "rou')
    (copy / "result.json").unlink()
    text = shown(copy, capsys)
    assert "stopped after round 2 of 6" in text
    assert f"phalanx resume {copy}" in text
    assert document(copy, capsys)["survival"] is None  # the attack has not ended


def test_a_run_that_a_process_holds_is_going_on_and_one_without_events_has_not_begun(copy, capsys):
    (copy / "result.json").unlink()
    with RunFolder(copy, ATTACKED):
        assert document(copy, capsys)["state"] == "going on"
    for name in ("events.jsonl", "manifest.json"):
        (copy / name).unlink()
    assert document(copy, capsys)["state"] == "not begun"
    assert "Nothing has been tested yet." in shown(copy, capsys)


def test_kept_rounds_and_a_backdoor_that_lives_on_are_told(tmp_path, capsys):
    few = replace(ATTACKED, aggregator=Krum(num_byzantine=2), participation=FixedSize(size=7, dropout=0.6))
    run(few, out=tmp_path / "few")
    assert "rounds: Krum needs n >= 2f + 3 updates; got n=" in shown(tmp_path / "few", capsys)
    taken = replace(ATTACKED, aggregator=NormClipping(max_norm=1000.0))
    run(taken, out=tmp_path / "taken")
    lived = document(tmp_path / "taken", capsys)["survival"]
    assert lived == {"last_attack": 3, "rounds": 2, "still_alive": True}
    assert "still alive at the last test, 2 rounds after the last attack in round 4" in shown(tmp_path / "taken", capsys)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.toml", "[run\n", "config of a run is damaged: .* is not valid TOML"),
        ("config.toml", '[aggregator]\nkind = "of_tomorrow"\n', "config of a run is damaged: .*of_tomorrow"),
        ("events.jsonl", "{}\n", "events.jsonl is damaged"),
        (
            "events.jsonl",
            '{"event": "round", "round": 0}\n',
            "are damaged, or another version's",
        ),
        ("result.json", '{"experiment"', "result.json is damaged"),
        ("result.json", "{}", "is not this run's"),
        ("manifest.json", "[]", "manifest.json is damaged"),
        ("manifest.json", '{"versions": []}', "manifest.json is damaged"),
        ("events.jsonl", '{"event": "evaluation", "round": 0, "accuracy": "high"}\n', "are damaged, or another version's"),
        ("result.json", "[" * 100_000, "result.json is damaged"),
        ("manifest.json", '{"data": ' + "[" * 500 + "]" * 500 + "}", "manifest.json is damaged"),
        ("events.jsonl", "[" * 100_000 + "\n", "events.jsonl is damaged"),
    ],
)
def test_a_damaged_folder_is_one_sentence_and_stays_as_it_is(copy, name, content, message):
    (copy / name).write_text(content)
    before = {path: path.read_bytes() for path in sorted(copy.rglob("*")) if path.is_file()}
    with pytest.raises(CheckpointError, match=message) as error:
        show_folder(copy, as_json=True)
    assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in sorted(copy.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("result.json", {"final": {"accuracy": float("nan")}}),
        ("result.json", {"final": {"accuracy": 10**400}}),
        ("result.json", {"final": {"accuracy": [1]}}),
        ("result.json", {"final": {"accuracy": 1e308}}),
        ("result.json", {"privacy": {"epsilon": 1}}),
        ("result.json", {"privacy": [1]}),
        ("result.json", {"stopped": [1]}),
        ("manifest.json", {"parameters": "many"}),
        ("events.jsonl", {"kept_model": [1]}),
        ("events.jsonl", {"tpr": 1e308}),
        ("events.jsonl", {"seconds": {"train": 1e308}}),
    ],
)
def test_what_is_well_formed_and_cannot_be_is_one_sentence_and_no_traceback(copy, name, change):
    path = copy / name
    if name == "events.jsonl":
        events = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(event | change) + "\n" for event in events))
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for as_json in (True, False):
        with pytest.raises(CheckpointError, match="damaged"):
            show_folder(copy, as_json=as_json)


def test_a_lock_that_is_a_pipe_does_not_hold_up_who_looks(copy, capsys):
    (copy / "result.json").unlink()
    (copy / ".lock").unlink()
    os.mkfifo(copy / ".lock")
    assert "stopped after round 6 of 6" in shown(copy, capsys)


def test_a_config_of_another_version_names_both(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["versions"]["phalanx"] = "9.9"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "config.toml").write_text('[aggregator]\nkind = "of_tomorrow"\n')
    with pytest.raises(CheckpointError, match=r"was made by Phalanx 9\.9, this is "):
        show_folder(copy, as_json=False)


def test_no_run_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not a run folder: it has no config\.toml"):
        show_folder(tmp_path, as_json=False)


@pytest.fixture
def grid(tmp_path):
    base = {"run": {"rounds": 2}, "partition": {"kind": "iid", "num_clients": 5}}
    rules = {
        "mean": {},
        "median": {"aggregator.kind": "median"},
        "krum": {"aggregator.kind": "krum", "aggregator.num_byzantine": 1},
    }
    sweep = Sweep.from_tables(base, {"seeds": [1, 2], "rule": rules})
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps(sweep.to_tables()))
    record = SweepRecord.read(tmp_path)
    for cell in sweep.cells[:3]:
        run(cell.experiment, out=record.folder_of(cell))
    (tmp_path / "failures.json").write_text(json.dumps({sweep.cells[3].folder_name: "It ran out of memory."}))
    return tmp_path


def test_a_sweep_shows_its_leaderboard_and_what_failed(grid, capsys):
    text = shown(grid, capsys)
    assert f"{grid}  6 cells: 1 failed, 3 finished, 2 not begun" in text
    assert "× rule median, seed 2: It ran out of memory." in text
    sweep = document(grid, capsys)
    assert [cell["state"] for cell in sweep["cells"]] == ["finished"] * 3 + ["failed"] + ["not begun"] * 2
    (board,) = sweep["leaderboards"]
    assert [score["row"] for score in board["scores"]] == ["mean", "median"]
    values = [cell["final"]["accuracy"] for cell in sweep["cells"][:2]]
    assert board["scores"][0]["mean"] == pytest.approx(sum(values) / 2)


def test_equal_reasons_are_told_once_and_commands_can_be_pasted(grid, capsys):
    (grid / "failures.json").unlink()
    record = SweepRecord.read(shutil.move(grid, grid.parent / "my sweep"))
    failures = {cell.folder_name: "There is no data." for cell in record.sweep.cells[3:]}
    (record.folder / "failures.json").write_text(json.dumps(failures))
    text = shown(record.folder, capsys)
    assert "× 3 cells, the first of them rule median, seed 2: There is no data." in text
    assert text.count("There is no data.") == 1
    assert f"phalanx report '{record.folder}'" in text


def test_a_cell_that_nests_too_deeply_costs_only_itself(grid, capsys):
    record = SweepRecord.read(grid)
    first, second, third = (record.folder_of(cell) for cell in record.sweep.cells[:3])
    (first / "result.json").write_text("[" * 100_000)
    result = json.loads((second / "result.json").read_text())
    (second / "result.json").write_text(json.dumps(result | {"final": {"accuracy": "high"}}))
    (third / "manifest.json").write_text("[" * 100_000)
    text = shown(grid, capsys)
    assert "6 cells: 4 failed, 2 not begun" in text
    assert [f"{name} is damaged" in text for name in ("result.json", "manifest.json")] == [True, True]


def test_a_damaged_sweep_is_one_sentence(grid):
    (grid / "sweep.toml").write_text("[sweep]\nseeds = 3\n")
    with pytest.raises(CheckpointError, match=r"damaged, or another version's: .*sweep\.seeds must be a list") as error:
        show_folder(grid, as_json=False)
    assert "\n" not in str(error.value)


def test_a_component_in_brief_names_what_is_not_as_by_default():
    assert brief(IID()) == "iid"
    assert brief(IID(num_clients=3)) == "iid (num_clients 3)"
    assert brief(IID(num_clients=3), never={"num_clients"}) == "iid"
    assert brief(SGD(lr=0.1, steps=2)) == "sgd (lr 0.1, steps 2)"
