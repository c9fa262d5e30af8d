"""FromFile: what is written is dealt, anything doubtful is refused."""

import pytest
import torch

from phalanx.core.errors import DataError
from phalanx.data import FromFile


def split(path, text: str) -> list[torch.Tensor]:
    path.write_text(text)
    return FromFile(str(path)).split(torch.zeros(6), None, torch.Generator())


def test_the_lists_are_the_clients(tmp_path):
    parts = split(tmp_path / "parts.json", "[[5, 0], [], [3]]")
    assert [part.tolist() for part in parts] == [[5, 0], [], [3]]
    assert {part.dtype for part in parts} == {torch.int64}


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "JSON list of lists"),
        ("[[0], [1", "JSON list of lists"),
        ('{"0": [1]}', "JSON list of lists"),
        ("[0, 1]", "JSON list of lists"),
        ("[[0.0]]", "JSON list of lists"),
        ("[[true]]", "JSON list of lists"),
        ('[["1"]]', "JSON list of lists"),
        ("[]", "a client or more"),
        ("[[1], [1]]", "no position twice"),
        ("[[1, 1]]", "no position twice"),
        ("[[6]]", r"positions in \[0, 6\).*got 6 to 6"),
        ("[[-1]]", r"positions in \[0, 6\)"),
        ("[" * 100_000, "JSON list of lists"),
        ("[[1" + "0" * 40 + "]]", r"positions in \[0, 6\)"),
    ],
    ids=range(14),
)
def test_a_doubtful_file_is_an_error_that_names_it(tmp_path, text, complaint):
    with pytest.raises(DataError, match=rf"parts\.json must.*{complaint}") as error:
        split(tmp_path / "parts.json", text)
    assert "\n" not in str(error.value)
    assert "http" not in str(error.value)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json"):
        FromFile(str(tmp_path / "gone.json")).split(torch.zeros(6), None, torch.Generator())


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "parts.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"parts\.json"):
        FromFile(str(tmp_path / "parts.json")).split(torch.zeros(6), None, torch.Generator())


def test_the_place_of_a_mistake_is_named(tmp_path):
    with pytest.raises(DataError, match=r"one list a client \(1\.2: input should be a valid integer; got 'x'\)\.$"):
        split(tmp_path / "parts.json", '[[0], [1, 2, "x"], ["y"]]')
