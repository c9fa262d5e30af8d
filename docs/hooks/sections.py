"""`<!-- sections -->` becomes the sections of a config, with the fields of those that hold no family."""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, get_args

from docstrings import to_markdown
from fields import family_link, field_table
from phalanx.cli.describing import toml
from phalanx.config import Experiment
from phalanx.core.component import Component, members

MARKER = "<!-- sections -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs calls this for every page."""
    return markdown.replace(MARKER, sections()) if MARKER in markdown else markdown


def sections() -> str:
    """All sections in the order of the file."""
    defaults = Experiment().to_table()
    fields = dataclasses.fields(Experiment)  # type: ignore[arg-type]
    return "\n\n".join(section(field.name, field.type, defaults.get(field.name)) for field in fields)


def section(name: str, held: Any, default: Any) -> str:
    """One section: a family as its choices, a plain component as its fields; a tuple is an array of tables."""
    component: type[Component] = (get_args(held) or (held,))[0]
    brackets = f"[[{name}]]" if get_args(held) else f"[{name}]"
    lines = [f"## `{brackets}` {{ #{name} }}"]
    if component.family is None:
        below = [section(f"{name}.{field}", part, None) for field, part in _tables(component)]
        return "\n\n".join([*lines, to_markdown(inspect.getdoc(component) or ""), field_table(component), *below])
    kinds = ", ".join(f"`{kind}`" for kind in members(component))
    return "\n\n".join([*lines, f"A {family_link(component.family)}: {kinds}.", f"Default: `{toml(default)}`"])


def _tables(component: type[Component]) -> Iterator[tuple[str, type[Component]]]:
    """The optional fields of a component that are tables of their own, with no kinds to choose among."""
    for field in dataclasses.fields(component):  # type: ignore[arg-type]
        for part in get_args(field.type):
            if isinstance(part, type) and issubclass(part, Component) and part.family is None:
                yield field.name, part
