"""What is printed is text: a stranger's words move no cursor."""

import json

import pytest
from rich.table import Table
from rich.text import Text

from phalanx.cli.main import main
from phalanx.cli.terminal import console, printable

HOSTILE = "ok\x1b]0;title\x07\x1b[2J\x9b31m\x1b]52;c;Y3VybA=="


def test_control_characters_are_replaced_and_lines_and_tabs_stay():
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("\x1b[31m\r\x7f\x85\ud800é") == "�[31m����é"


@pytest.mark.parametrize("wrapped", [str, Text, lambda text: _table(text)])
def test_whatever_is_printed_is_printable(wrapped, capsys):
    console().print(wrapped(HOSTILE))
    out = capsys.readouterr().out
    assert "�]0;title" in out
    assert printable(out) == out


def test_colours_of_our_own_pass(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console().print(Text("red", style="red"))
    assert "\x1b[31m" in capsys.readouterr().out


def test_an_error_about_a_strangers_file_is_printable(tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.toml"
    config.write_text(f"[data]\nkind = {json.dumps(HOSTILE)}\n")
    monkeypatch.setattr("sys.argv", ["phalanx", "run", str(config)])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert "title" in told
    assert printable(told) == told


def _table(text: str) -> Table:
    table = Table("column")
    table.add_row(Text(text))
    return table
