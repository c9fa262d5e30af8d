"""`<!-- family: aggregator -->` in a page becomes the family's members: docstring and fields of each.

`<!-- overview: aggregator -->` becomes a table of them. Both come from the catalogue, so a new method is in the site at once.
"""

import re
from typing import Any

import phalanx.config  # noqa: F401 - imports every family
from fields import field_table, page_of, table
from phalanx.cli.describing import describe
from phalanx.core.component import Component, families, members

MARKER = re.compile(r"<!-- (family|overview): (\w+) -->")
_FOLDERS = ("aggregators", "attacks", "data", "inversion", "models", "privacy", "server", "training")
PACKAGES = tuple(f"phalanx.{name}" for name in _FOLDERS)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs calls this for every page."""
    write = {"family": family_section, "overview": overview}
    return MARKER.sub(lambda found: write[found[1]](found[2]), markdown)


def family_section(family: str) -> str:
    """All members of a family, a heading each, below the family's own place."""
    sections = "\n\n".join(member_section(member) for member in own_members(family).values())
    return f'<span id="{family}s"></span>\n\n{sections}'


def member_section(member: type[Component]) -> str:
    """Name, docstring and fields of a member."""
    package = next((name for name in PACKAGES if member.__module__.startswith(name)), member.__module__.rpartition(".")[0])
    return "\n".join(
        [
            f"### {member.kind} {{ #{member.family}-{member.kind} }}",
            f'`kind = "{member.kind}"` · `from {package} import {member.__name__}`',
            "",
            f"::: {member.__module__}.{member.__name__}",
            "    options: {show_root_heading: false, show_root_toc_entry: false}",
            "",
            field_table(member),
        ]
    )


def overview(family: str) -> str:
    """One line a member: what it does, with a link to the rest."""
    page = page_of(family)
    rows = [
        [f"[`{kind}`](../{page}.md#{family}-{kind})", describe(member).summary] for kind, member in own_members(family).items()
    ]
    return table([family.replace("pre_", "pre-").replace("_", " "), "what it does"], rows)


def own_members(family: str) -> dict[str, type[Component]]:
    """Phalanx's own members of a family, without those of other packages that happen to be installed."""
    found = members(families()[family])
    return {kind: member for kind, member in found.items() if member.__module__.startswith("phalanx.")}
