import hashlib
import json
import os
import random
import shutil

import pytest
import torch

from phalanx.core.errors import CheckpointError
from phalanx.server.checkpoint import Checkpoint, newest, save, serialised

FACTS = {"experiment": "abc"}


def found_in(folder, facts):
    return newest(folder, facts, lambda checkpoint: checkpoint)


def checkpoint(round: int) -> Checkpoint:
    return Checkpoint(round, {"params": torch.full((5,), float(round)), "rule/v": torch.arange(3)}, {**FACTS, "events": "17"})


@pytest.fixture
def folder(tmp_path):
    for round in (10, 20, 30):
        save(tmp_path, checkpoint(round))
    return tmp_path


def test_the_newest_comes_back_whole(folder):
    found, remarks = found_in(folder, FACTS)
    assert found.round == 30
    assert found.facts["events"] == "17"
    assert torch.equal(found.tensors["params"], torch.full((5,), 30.0))
    assert torch.equal(found.tensors["rule/v"], torch.arange(3))
    assert remarks == []


def test_two_are_kept(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "000000020.json",
        "000000020.safetensors",
        "000000030.json",
        "000000030.safetensors",
    ]


def test_saving_an_earlier_round_forgets_the_future_it_replaces(folder):
    save(folder, checkpoint(25))
    assert found_in(folder, FACTS)[0].round == 25
    assert not (folder / "000000030.safetensors").exists()


def test_what_a_kill_left_of_a_write_is_cleared_away_by_the_next(folder):
    (folder / ".000000040.safetensors.0123abcd.draft").write_bytes(b"half")
    save(folder, checkpoint(40))
    assert not list(folder.glob(".*"))


def test_an_empty_folder_has_none(tmp_path):
    assert found_in(tmp_path, FACTS) == (None, [])


def test_a_file_without_its_seal_was_never_finished(folder):
    (folder / "000000030.json").unlink()
    assert found_in(folder, FACTS)[0].round == 20


def damage(folder, rng: random.Random) -> None:
    """One random byte flip, truncation, growth or swap of the newest checkpoint's two files."""
    path = folder / f"000000030.{rng.choice(['json', 'safetensors'])}"
    data = bytearray(path.read_bytes())
    match rng.choice(["flip", "truncate", "grow", "swap", "empty"]):
        case "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "truncate":
            del data[rng.randrange(len(data)) :]
        case "grow":
            data += bytes([rng.randrange(256)])
        case "swap":
            data = bytearray((folder / path.name.replace("30", "20")).read_bytes())
        case "empty":
            data = bytearray()
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_is_never_loaded_and_the_previous_one_is(folder, tmp_path_factory, count):
    rng = random.Random(0)
    for _ in range(count):
        copy = tmp_path_factory.mktemp("copy")
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        damage(copy, rng)
        found, remarks = found_in(copy, FACTS)
        assert found.round == 20
        assert remarks == ["The checkpoint 000000030.safetensors is damaged and was not loaded."]
        shutil.rmtree(copy)


def test_both_files_of_another_round_are_not_taken_for_this_one(folder):
    for suffix in ("json", "safetensors"):
        shutil.copy(folder / f"000000020.{suffix}", folder / f"000000030.{suffix}")
    found, remarks = found_in(folder, FACTS)
    assert found.round == 20
    assert "belongs to another run or round" in remarks[0]


def test_a_checkpoint_of_another_run_is_not_loaded(folder):
    with pytest.raises(CheckpointError, match="belongs to another run"):
        found_in(folder, {"experiment": "xyz"})


def test_when_all_are_damaged_nothing_is_loaded_and_nothing_deleted(folder):
    for path in folder.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="delete the run folder to start again"):
        found_in(folder, FACTS)
    assert len(list(folder.iterdir())) == 4


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match=r"000000040.safetensors cannot be written: No space left on device\.$"):
        save(folder, checkpoint(40))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_foreign_files_in_the_folder_are_left_alone(folder):
    for name in ("old.safetensors", "old.json", "notes.txt"):
        (folder / name).write_text("{}")
    save(folder, checkpoint(40))
    assert found_in(folder, FACTS)[0].round == 40
    assert {"old.safetensors", "old.json", "notes.txt"} < {path.name for path in folder.iterdir()}


def test_tensors_that_share_memory_or_are_not_contiguous_are_kept_as_they_are(tmp_path):
    square = torch.arange(6.0).view(2, 3)
    save(tmp_path, Checkpoint(1, {"a": square, "b": square.t(), "c": square[:1].expand(4, 3)}, FACTS))
    found = found_in(tmp_path, FACTS)[0].tensors
    assert torch.equal(found["a"], square)
    assert torch.equal(found["b"], square.t())
    assert torch.equal(found["c"], square[:1].expand(4, 3))


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, RecursionError])
def test_a_sealed_checkpoint_that_does_not_hold_what_it_should_is_damaged(folder, error):
    def read(found):
        if found.round == 30:
            raise error("params")
        return found.round

    assert newest(folder, FACTS, read) == (20, ["The checkpoint 000000030.safetensors is damaged and was not loaded."])


@pytest.mark.parametrize("position", ["x", "-5", "9" * 5000, None])
def test_a_position_that_is_no_length_is_damage(tmp_path, position):
    save(tmp_path, Checkpoint(1, {}, FACTS if position is None else {**FACTS, "events": position}))
    with pytest.raises(CheckpointError, match=r"000000001\.safetensors is damaged and was not loaded"):
        newest(tmp_path, FACTS, lambda found: found.position("events"))


def test_a_sealed_file_without_facts_is_damaged(tmp_path):
    data = serialised({"params": torch.zeros(1)})
    (tmp_path / "000000001.safetensors").write_bytes(data)
    (tmp_path / "000000001.json").write_text(json.dumps({"sha256": hashlib.sha256(data).hexdigest()}) + "\n")
    with pytest.raises(CheckpointError, match="is damaged and was not loaded"):
        found_in(tmp_path, FACTS)
