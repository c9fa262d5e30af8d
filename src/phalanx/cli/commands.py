"""The commands' arguments and help. What they do is one module each, imported when called: it needs torch."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from phalanx.core.toml import read_toml

Setting = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads Optional
    typer.Option(
        "--set", metavar="a.b=v", help="Change one value of the config; repeat for more. A new kind drops the old fields."
    ),
]
Out = Annotated[Optional[Path], typer.Option("--out", metavar="DIR", help="The run folder. Default: runs/NAME-DIGEST.")]  # noqa: UP045


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An experiment as TOML.")],
    settings: Setting = None,
    out: Out = None,
) -> None:
    """Run an experiment; go on with it if its folder holds an unfinished run."""
    read_toml(file)  # a broken file is refused before torch is imported
    from phalanx.cli.running import run_file

    run_file(file, settings or [], out)


def resume(run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]) -> None:
    """Go on with a stopped or killed run; it ends in the same bytes as if it had never stopped."""
    from phalanx.cli.running import resume_folder

    resume_folder(run)


def list_components(
    family: Annotated[Optional[str], typer.Argument(metavar="[FAMILY]", help="aggregator, update_attack, dataset …")] = None,  # noqa: UP045
) -> None:
    """What a config can name: all families, or one with fields, defaults and papers."""
    from phalanx.cli.listing import list_all, list_family

    list_all() if family is None else list_family(family)


def demo() -> None:
    """Attack and defend a small federation: three attacks, four rules, one table, about a minute."""
    from phalanx.cli.demonstration import demonstrate

    demonstrate()
