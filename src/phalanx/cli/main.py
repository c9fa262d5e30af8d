"""The `phalanx` command. Heavy imports happen inside the commands: `--help` answers without torch."""

import errno
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from phalanx.cli import commands, flower_commands
from phalanx.cli.terminal import printable
from phalanx.core.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    PhalanxError,
    PreconditionError,
    PrivacyBudgetExhausted,
    Stopped,
)

EPILOG = """Exit codes: 0 done · 1 the run failed, a cell did, a folder cannot be used, or an audit found a claim false · 2 the
input was wrong, and nothing has started · 3 the privacy budget was spent, and the result is of fewer rounds · 130 stopped by
Ctrl-C, 143 by SIGTERM: what was done is saved, go on with phalanx resume.

First steps: phalanx demo · phalanx list · phalanx run FILE"""

app = typer.Typer(
    help="Secure, robust and private federated learning for PyTorch.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(commands.demo)
app.command("run")(commands.run)
app.command("resume")(commands.resume)
app.command("sweep")(commands.sweep)
app.command("show")(commands.show)
app.command("report")(commands.report)
app.command("list")(commands.list_components)
app.command("data")(commands.data)
app.command("schema")(commands.schema)
app.command("conformance")(commands.conformance)
app.command("audit")(commands.audit)
privacy = typer.Typer(
    help="What privacy costs: differential privacy, transformation policies.", no_args_is_help=True, rich_markup_mode="rich"
)
privacy.command("plan")(commands.plan)
privacy.command("search-policies")(commands.search_policies)
app.add_typer(privacy, name="privacy")
app.add_typer(flower_commands.app, name="flower")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Secure, robust and private federated learning for PyTorch."""
    if show_version:
        typer.echo(f"phalanx {version('phalanx')}")
        raise typer.Exit


def main() -> None:
    """Run the command line: every expected error is one sentence and one of the exit codes in `EPILOG`."""
    try:
        app()
    except Stopped as stopped:
        _fail(str(stopped), stopped.exit_code)
    except PrivacyBudgetExhausted as spent:
        _fail(str(spent), 3)
    except (ConfigError, DataError, CapabilityError, PreconditionError) as error:
        _fail(str(error), 2)
    except PhalanxError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("Stopped.", 130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail("No space is left where this was to be written; what is there is not complete.", 1)


def _fail(message: str, code: int) -> None:
    typer.echo(f"phalanx: {printable(message)}", err=True)
    sys.exit(code)
