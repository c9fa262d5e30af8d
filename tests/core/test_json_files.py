import json

import pytest

from phalanx.core.errors import CheckpointError
from phalanx.core.json_files import DEEPEST, parse_json, read_json, to_json

HOSTILE = {
    "deep": "[" * 100_000,
    "deep enough to be read and too deep to be written": "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    "deep objects": '{"a":' * 300 + "1" + "}" * 300,
    "nan": "NaN",
    "infinity": "-Infinity",
    "a float that is infinite": "1e999",
    "an integer that no float holds": "1" + "0" * 400,
    "an integer that Python does not read": "1" * 5000,
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_nobody_could_use_is_damaged(tmp_path, text):
    data = text.encode(errors="surrogateescape")
    with pytest.raises(ValueError):
        parse_json(data)
    (tmp_path / "result.json").write_bytes(b'{"final": ' + data + b"}")
    with pytest.raises(CheckpointError, match=r"result\.json is damaged; delete it, or the run folder to start again\.$"):
        read_json(tmp_path / "result.json")


def test_what_is_no_object_or_not_there_is_damaged(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    for name in ("a.json", "b.json"):
        with pytest.raises(CheckpointError, match="is damaged"):
            read_json(tmp_path / name)


def test_half_of_a_surrogate_pair_is_a_question_mark_and_a_whole_one_is_what_it_was():
    assert parse_json(b'{"\\ud800": ["a\\udfffb", "\\ud83d\\ude00", "\\\\ud800"]}') == {"?": ["a?b", "\U0001f600", "\\ud800"]}


def test_what_is_written_is_read_back(tmp_path):
    value = {
        "wide": [[float(number), number, None] for number in range(200)],
        "seed": 2**128,
        "text": "ε ≤ 8, \U0001f600",
        "n": -0.0,
    }
    (tmp_path / "a.json").write_bytes(to_json(value))
    assert read_json(tmp_path / "a.json") == value == json.loads(to_json(value))
