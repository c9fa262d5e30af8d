"""`phalanx list`: every component that a config can name, read off the classes themselves."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from phalanx.cli.completing import GROUPS
from phalanx.cli.describing import Description, FieldDescription, describe, short_reference, toml
from phalanx.cli.terminal import console
from phalanx.config import Experiment  # which imports every family
from phalanx.core.component import Component, families, members
from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest


def known_families() -> dict[str, type[Component]]:
    """All families by name, also those that live beside their only user. Importing the config has imported them all."""
    return dict(sorted(item for item in families().items() if item[0] != "stage"))


def list_all(*, as_json: bool = False) -> None:
    """One line a component, with its paper, grouped by family."""
    described = {name: found for name, family in known_families().items() if (found := _descriptions(family))}
    if as_json:
        _print_json(described)
        return
    _print_lines(described)


def sections() -> dict[str, type[Component]]:
    """The sections of a config: a family, or the one component that the section holds."""
    types: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(Experiment)}
    return {name: next(iter(get_args(kind)), kind) for name, kind in types.items()}  # tracking holds a tuple of its family


def list_named(name: str, *, as_json: bool = False) -> None:
    """A family with all its members, a section of the config, or every component of this kind; a line a member of a group of
    families.

    Raises: ConfigError if there is none, with the nearest name.
    """
    known = known_families()
    family = known.get(name) or sections().get(name)
    if name in GROUPS:
        found = {key: _descriptions(known[key]) for key in GROUPS[name]}
    elif family is not None:
        found = {name: _descriptions(family)}
    else:
        found = {key: tuple(one for one in _descriptions(family) if one.kind == name) for key, family in known.items()}
        found = {key: those for key, those in found.items() if those}
    if not found:
        kinds = {kind for family in known.values() for kind in members(family)}
        raise ConfigError(_unknown(name, [*known, *GROUPS, *sections(), *sorted(kinds)]))
    if as_json:
        _print_json(found)
        return
    if name in GROUPS:
        _print_lines(found)
        return
    shown = console()
    for key, those in found.items():
        for one in those:
            _print_one(shown, one, title=one.kind if one.family else key)


def _unknown(name: str, names: list[str]) -> str:
    """One sentence with the nearest name; all two hundred would bury it."""
    guess = nearest(name, names).partition(" Allowed: ")[0]
    return f"{name!r} is no family, section or kind{guess} All of them: phalanx list"


def _descriptions(family: type[Component]) -> tuple[Description, ...]:
    return tuple(map(describe, members(family).values() if family.family and family is families()[family.family] else [family]))


def _print_lines(found: Mapping[str, Iterable[Description]]) -> None:
    shown = console()
    for name, those in found.items():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        table.add_column(no_wrap=True, style="dim")
        for one in those:
            table.add_row(f"  {one.kind}", Text(one.summary), short_reference(one.reference) or "–")
        shown.print(Text(name, style="cyan"))
        shown.print(table)
    shown.print("\nFields, defaults, papers, and when to use what: phalanx list NAME", markup=False, highlight=False)


def _print_json(found: Mapping[str, Iterable[Description]]) -> None:
    tables = {name: [one.to_table() for one in those] for name, those in found.items()}
    print(json.dumps(tables, indent=2, ensure_ascii=False))  # noqa: T201 - the command's output


def _print_one(shown: Console, one: Description, *, title: str) -> None:
    shown.print(Text(title, style="bold cyan"))
    parts: list[RenderableType] = [Text(one.summary)]
    if one.text:
        parts += ["", _flowed(one.text)]
    if one.fields:
        parts += ["", _fields(one.fields)]
    origin = (("Paper", one.reference), ("Differs", one.differs), ("Refuses", one.raises))
    labelled: list[RenderableType] = [Text(f"{label}: {content}", style="dim") for label, content in origin if content]
    if labelled:
        parts += ["", *labelled]
    shown.print(Padding(Group(*parts), (0, 0, 1, 4), expand=False))


def _fields(fields: Iterable[FieldDescription]) -> Table:
    """Names, and beside each its type, range and default; what it means, where that is said, below."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="green", no_wrap=True)
    table.add_column()
    for field in fields:
        default = "" if field.default is None else f", default {toml(field.default)}"
        meaning = Text(f"\n{field.text}", style="dim") if field.text else ""
        table.add_row(field.name, Text.assemble(f"{field.type}{', required' if field.is_required else default}", meaning))
    return table


def _flowed(text: str) -> Text:
    """Paragraphs as one line each, for the console to wrap; code between ``` keeps its lines."""
    parts = re.split(r"\n?```\n?", text)
    flowed = [_code(part) if number % 2 else Text(re.sub(r"(?<!\n)\n(?!\n)", " ", part)) for number, part in enumerate(parts)]
    return Text("\n").join(part for part in flowed if part)


def _code(block: str) -> Text:
    """A block of code, its comments drawn nearer so that it fits."""
    return Text("\n".join(f"  {re.sub(r' {2,}#', '  #', line)}" for line in block.split("\n")), style="green")
