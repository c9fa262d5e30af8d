"""`Axis`: one direction of a sweep, from its table in `[sweep]` and back."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from phalanx.core.errors import ConfigError
from phalanx.core.toml import outermost_first, override

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """One direction of a sweep: what it is called, and its variants by name, each as settings `a.b: value`.

    `is_crossed`: it is values of the one setting that it is called, as under `[sweep.cross]`.
    """

    name: str
    variants: Mapping[str, Settings]
    is_crossed: bool = False


def override_sweep(table: dict[str, Any], dotted: str, value: Any) -> None:
    """As `--set` does. Under [sweep.cross] settings may be quoted, as a saved sweep has them: nested, they would lose order."""
    crossed, start = table.get("sweep"), "sweep.cross."
    cross = crossed.get("cross") if isinstance(crossed, dict) else None
    if not dotted.startswith(start) or not isinstance(cross, dict):
        override(table, dotted, value)
        return
    settings = dict(leaves(cross)) | dict(leaves({dotted.removeprefix(start): value}))
    cross.clear()
    cross.update(settings)


def nested(settings: Settings) -> dict[str, Any]:
    """Settings `a.b: value` as tables, so that a file of them can be overridden like any other."""
    table: dict[str, Any] = {}
    for dotted, value in outermost_first(settings):
        override(table, dotted, deepcopy(value))
    return table


def named_axis(name: str, table: Mapping[str, Any]) -> Axis:
    """`[sweep.NAME]`: every table in it is a variant. Raises: ConfigError."""
    for variant, settings in table.items():
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f'sweep.{name}.{variant} must be a table of settings such as {{ aggregator.kind = "krum" }}; got {settings!r}. '
                "Values of one setting are crossed under [sweep.cross]."
            )
    return Axis(name, {variant: dict(leaves(settings)) for variant, settings in table.items()})


def crossed_axes(table: Mapping[str, Any]) -> list[Axis]:
    """`[sweep.cross]`: every list in it is an axis of values of one setting. Raises: ConfigError."""
    axes = []
    for path, values in leaves(table):
        if not is_list(values):
            raise ConfigError(f"sweep.cross.{path} must be a list of values; got {values!r}.")
        variants = {_value_name(value): {path: value} for value in values}
        if len(variants) < len(values):
            raise ConfigError(f"sweep.cross.{path} holds a value twice: {values!r}.")
        axes.append(Axis(path, variants, is_crossed=True))
    return axes


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as settings `a.b: value`; keys may have dots already."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value_name(value: Any) -> str:
    if isinstance(value, Mapping) and "kind" in value:
        fields = " ".join(f"{name}={item}" for name, item in value.items() if name != "kind")
        return f"{value['kind']} {fields}".strip()
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_list(value: object) -> bool:
    """Whether a value is a list that holds something."""
    return isinstance(value, list | tuple) and len(value) > 0
