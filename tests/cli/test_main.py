"""The help says what is meant, and every expected error has its exit code."""

import errno

import click
import pytest
import typer
from rich.text import Text

from phalanx.cli.main import EPILOG, app, main
from phalanx.core.errors import (
    CapabilityError,
    CheckpointError,
    ConfigError,
    DataError,
    PreconditionError,
    PrivacyBudgetExhausted,
    Stopped,
    WorkerError,
)

GROUP = typer.main.get_command(app)


def each_command(group, *names):
    """Every command by its name, groups and what is in them alike."""
    for name, command in group.commands.items():
        yield " ".join([*names, name]), command
        if isinstance(command, click.Group):
            yield from each_command(command, *names, name)


COMMANDS = dict(each_command(GROUP))
TEXTS = {
    "phalanx": [GROUP.help, GROUP.epilog],
    **{
        name: [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]
        for name, command in COMMANDS.items()
    },
}


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_in_a_help_text_is_taken_for_markup(name):
    for text in filter(None, TEXTS[name]):
        assert Text.from_markup(text).plain == text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_argument_and_option_is_explained(name):
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no"), 2),
        (DataError("no"), 2),
        (CapabilityError("no"), 2),
        (PreconditionError("no"), 2),
        (CheckpointError("no"), 1),
        (WorkerError("no"), 1),
        (PrivacyBudgetExhausted("no"), 3),
        (Stopped("no", exit_code=143), 143),
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
    ],
)
def test_an_expected_error_is_one_sentence_on_stderr_and_a_documented_code(error, code, monkeypatch, capsys):
    def fails():
        raise error

    monkeypatch.setattr("sys.argv", ["phalanx", "schema"])
    monkeypatch.setattr("phalanx.cli.main.app", fails)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == code
    assert str(code) in EPILOG
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("phalanx: ")


def test_a_wrong_option_is_a_usage_error():
    with pytest.raises(click.UsageError) as error:
        GROUP.main(["list", "--jsno"], standalone_mode=False)
    assert error.value.exit_code == 2
