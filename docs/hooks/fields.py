"""A component's fields as a Markdown table, from what `phalanx list` says of them; families become links to their pages."""

import re

from phalanx.cli.describing import FieldDescription, describe, toml
from phalanx.core.component import Component

PAGES = {
    "methods/aggregators": ("aggregator", "pre_aggregator", "flame_noise"),
    "methods/attacks": ("update_attack", "data_attack", "trigger", "client_attack", "selection", "schedule"),
    "methods/training": ("trainer", "example_clipping", "step_hook", "learning_rate_schedule", "augmentation"),
    "methods/data": ("dataset", "partitioner"),
    "methods/models": ("architecture",),
    "methods/inversion": ("inversion_attack",),
    "methods/server": ("participation", "server_optimizer"),
    "guides/trackers": ("tracker",),
}
"""Which page holds which family."""


def field_table(component: type[Component]) -> str:
    """The fields of a component; a sentence if it has none."""
    fields = describe(component).fields
    if not fields:
        return "*No fields.*"
    columns = ["field", "value", "default", *(["meaning"] if any(field.text for field in fields) else [])]
    return table(columns, [[f"`{field.name}`", value_of(field), default_of(field), field.text] for field in fields])


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; cells beyond the columns are left out."""
    lines = [columns, ["---"] * len(columns), *(row[: len(columns)] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def value_of(field: FieldDescription) -> str:
    """What a field takes: a type with its range, or links to the families it may hold."""
    shown = field.type.removesuffix(", optional")
    linked = [family_link(word) for word in re.findall(r"\w+", shown) if word == "stage" or page_of(word)]
    is_list, inner = re.fullmatch(r"tuple\[(.+), \.\.\.\]", shown), ", ".join(linked)
    if is_list:
        return f"list of {inner or f'`{is_list[1]}`'}"
    return inner or f"`{shown.replace('tuple[', 'list[')}`"


def default_of(field: FieldDescription) -> str:
    """A field's default as TOML, a dash, or that there is none."""
    if field.is_required:
        return "*required*"
    return "–" if field.default is None else f"`{toml(field.default)}`"


def page_of(family: str) -> str | None:
    """The page that holds a family."""
    return next((page for page, held in PAGES.items() if family in held), None)


def family_link(family: str) -> str:
    """A family's name as a link to its members."""
    if family == "stage":
        return f"{family_link('pre_aggregator')}, the last one {family_link('aggregator')}"
    page = page_of(family)
    return f"[{family.replace('_', ' ')}](../{page}.md#{family}s)" if page else family.replace("_", " ")
