"""The arguments and help of `phalanx flower …`. What they do is in `federating.py`, imported when called."""

from pathlib import Path
from typing import Annotated

import typer

from phalanx.cli.commands import File, Setting
from phalanx.core.toml import read_toml

App = Annotated[Path, typer.Argument(metavar="APP", help="The folder of a Flower app, such as phalanx flower init writes.")]
Nodes = Annotated[
    int | None,
    typer.Option("--nodes", min=1, metavar="N", help="How many nodes. Default: the experiment's number of clients."),
]
Port = Annotated[
    int, typer.Option("--port", min=1024, max=60000, metavar="PORT", help="The SuperLink's; nodes take the next ones.")
]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="From phalanx flower keys. Default: made on the first start."),
]

app = typer.Typer(help="From an experiment to a federation on many machines.", no_args_is_help=True, rich_markup_mode="rich")


@app.command()
def init(
    file: File,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the app is written: a new or empty folder.")],
    settings: Setting = None,
) -> None:
    """Write an experiment as a small Flower app: server, client, config."""
    read_toml(file)
    from phalanx.cli.federating import write_app

    write_app(file, folder, settings or [])


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the keys are written: a new or empty folder.")],
    nodes: Annotated[int, typer.Option("--nodes", min=1, metavar="N", help="How many node keys.")] = 3,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="A name or address of the SuperLink beside 127.0.0.1; repeat for more."),
    ] = None,
) -> None:
    """Make a demo authority, a certificate for the SuperLink and a key pair for each node."""
    from phalanx.cli.federating import write_keys

    write_keys(folder, nodes, hosts or [])


@app.command()
def up(app: App, nodes: Nodes = None, port: Port = 9443, keys: Keys = None) -> None:
    """Run an app on this machine over TLS: a SuperLink and its nodes are started, and stopped when the run has ended."""
    from phalanx.cli.federating import run_here

    run_here(app, nodes, port, keys)


@app.command()
def resume(
    app: App,
    connection: Annotated[
        str | None,
        typer.Option("--connection", metavar="NAME", help="A SuperLink of Flower's config. Default: nodes here, as up does."),
    ] = None,
    nodes: Nodes = None,
    port: Port = 9443,
    keys: Keys = None,
) -> None:
    """Go on with a federation whose server died, after the last round that it has saved."""
    from phalanx.cli.federating import go_on

    go_on(app, connection, nodes, port, keys)
