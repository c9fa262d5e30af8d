"""`phalanx list`: every component that a config can name, read off the classes themselves."""

import dataclasses
import inspect
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import phalanx.config  # noqa: F401 - every family is imported with it
from phalanx.core.component import Component, families, members
from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest


def known_families() -> dict[str, type[Component]]:
    """All families by name, also those that live beside their only user. Importing the config has imported them all."""
    return dict(sorted(item for item in families().items() if item[0] != "stage"))


def list_all() -> None:
    """One line a component, grouped by family."""
    console = Console()
    for name, family in known_families().items():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for kind, member in members(family).items():
            table.add_row(f"  [bold]{kind}[/]", escape(first_sentence(member)))
        if table.row_count:
            console.print(f"[cyan]{name}[/]")
            console.print(table)
    console.print("\nFields, defaults and papers of a family: phalanx list FAMILY")


def list_family(name: str) -> None:
    """The members of one family with fields, defaults and reference."""
    known = known_families()
    if name not in known:
        raise ConfigError(f"{name!r} is no family{nearest(name, known)}")
    console = Console()
    for kind, member in members(known[name]).items():
        console.print(f"[bold cyan]{kind}[/]  {escape(first_sentence(member))}")
        for field in dataclasses.fields(member):  # type: ignore[arg-type]
            console.print(f"    {escape(field_line(field))}", highlight=False)
        if reference := paper(member):
            console.print(f"    [dim]{escape(reference)}[/]", highlight=False)


def first_sentence(member: type[Component]) -> str:
    """The first line of a component's docstring."""
    return (inspect.getdoc(member) or "").split("\n\n")[0].replace("\n", " ")


def paper(member: type[Component]) -> str | None:
    """The reference in a component's docstring, on one line."""
    found = re.search(r"Reference: (.+?)(?:\n\n|\n *>>>|\Z)", inspect.getdoc(member) or "", re.DOTALL)
    return found and re.sub(r"\s+", " ", found[1]).strip()


def field_line(field: "dataclasses.Field[object]") -> str:
    """`name: type = default`."""
    shown = f"{field.name}: {type_name(field.type)}"
    if field.default is not dataclasses.MISSING:
        return shown if field.default is None else f"{shown} = {field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        return f"{shown} = {field.default_factory()!r}"
    return f"{shown}  (required)"


def type_name(annotation: Any) -> str:
    """A field's type as a reader would write it.

    >>> type_name(Annotated[float, "positive"] | None), type_name(tuple[int, ...]), type_name(Literal["a", "b"])
    ('float, optional', 'tuple[int, ...]', "'a' | 'b'")
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(parts[0])
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if origin in (Union, UnionType):
        names = " | ".join(type_name(part) for part in parts if part is not NoneType)
        return f"{names}, optional" if NoneType in parts else names
    if origin is tuple:
        return f"tuple[{', '.join('...' if part is Ellipsis else type_name(part) for part in parts)}]"
    return str(getattr(annotation, "__name__", annotation))
