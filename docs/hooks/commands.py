"""`<!-- commands -->` becomes the reference of the command line, read off the commands themselves."""

from collections.abc import Iterator
from typing import Any

import click
import typer

from fields import table
from phalanx.cli.main import app

MARKER = "<!-- commands -->"
EXAMPLES = {
    "demo": "phalanx demo",
    "run": "phalanx run experiment.toml --set training.lr=0.05 --out runs/first",
    "resume": "phalanx resume runs/first",
    "sweep": "phalanx sweep compare.toml --jobs 2 --out runs/compare",
    "show": "phalanx show runs/compare",
    "report": "phalanx report runs/compare --out compare.html --plots figures",
    "list": "phalanx list multi_krum",
    "data": "phalanx data digits --set partition.kind=dirichlet --set partition.alpha=0.1",
    "schema": "phalanx schema > phalanx.schema.json",
    "conformance": "phalanx conformance --library byzfl --json > byzfl.json",
    "audit": "phalanx audit private.toml --json > audit.json",
    "privacy plan": "phalanx privacy plan --epsilon 2 --delta 1e-5 --steps 300 --sample-rate 0.05",
    "privacy search-policies": "phalanx privacy search-policies private.toml --policies 1600 --jobs 2 --out runs/policies",
    "flower init": "phalanx flower init experiment.toml my-federation",
    "flower keys": "phalanx flower keys keys --nodes 3 --host superlink.example.org",
    "flower up": "phalanx flower up my-federation",
    "flower resume": "phalanx flower resume my-federation",
}
"""One line for every command; `tests/test_documents.py` parses them."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs calls this for every page."""
    return markdown.replace(MARKER, commands()) if MARKER in markdown else markdown


def commands() -> str:
    """All commands in the order of `phalanx --help`."""
    return "\n\n".join(command(name, found) for name, found in each_command(typer.main.get_command(app)))


def each_command(group: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its name, those of groups with both: `privacy plan`."""
    for name, found in group.commands.items():  # type: ignore[attr-defined]
        if isinstance(found, click.Group):
            yield from each_command(found, *names, name)
        else:
            yield " ".join([*names, name]), found


def command(name: str, found: click.Command) -> str:
    """One command: what it does, its usage, an example, its arguments and options."""
    context = click.Context(found, info_name=f"phalanx {name}")
    usage = " ".join(found.collect_usage_pieces(context))
    rows = [[f"`{shown(parameter)}`", help_of(parameter)] for parameter in found.params if parameter.name != "help"]
    heading = f"## phalanx {name} {{ #{name.replace(' ', '-')} }}"
    text = [
        heading,
        found.help or "",
        f"```text\nphalanx {name} {usage}\n```",
        "For example:",
        f"```bash\n{EXAMPLES[name]}\n```",
    ]
    return "\n\n".join([*text, *([table(["argument", "meaning"], rows)] if rows else [])])


def shown(parameter: click.Parameter) -> str:
    """A parameter as one types it."""
    if parameter.param_type_name == "argument":
        return parameter.metavar or str(parameter.name).upper()
    value = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar or parameter.type.name.upper()}"
    return ", ".join(parameter.opts) + value


def help_of(parameter: click.Parameter) -> str:
    """A parameter's help."""
    return str(getattr(parameter, "help", "") or "")
