"""TOML files and `--set`, without torch: a broken file is refused before anything heavy is imported."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phalanx.core.errors import ConfigError

_DEEPEST = 50
"""Tables around a field that `--set` names: no config has nearly as many, and Python's stack ends at some hundred."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a table.

    Raises: ConfigError if it is missing, unreadable or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file in UTF-8.") from None
    except ValueError as error:  # TOMLDecodeError, and Python's own limit on the digits of an integer
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: it is nested too deeply.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def outermost_first(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Settings in the order in which all of them hold: a table before what lies in it, a `kind` before its other fields.

    >>> [path for path, _ in outermost_first({"data.seed": 1, "data.kind": "synthetic", "run.rounds": 2})]
    ['data.kind', 'data.seed', 'run.rounds']
    """

    def depth(setting: tuple[str, Any]) -> float:
        *parents, name = setting[0].split(".")
        return len(parents) + (0.5 if name == "kind" else 1)

    return sorted(settings.items(), key=depth)


def override(table: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b = value` in place. A new `kind` empties its table first: the other kind's fields would not fit.

    >>> table = {"aggregator": {"kind": "krum", "num_byzantine": 2}}
    >>> override(table, "aggregator.kind", "mean"); table
    {'aggregator': {'kind': 'mean'}}
    """
    *parents, name = dotted.split(".")
    if len(parents) > _DEEPEST:
        raise ConfigError(f"A setting has at most {_DEEPEST} tables before its field; got {len(parents)}: {dotted[:40]}…")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{dotted} cannot be set: {parent} is a value, not a table.")
    if not name or "" in parents:
        raise ConfigError(f"A setting has the form section.field=value; got {dotted!r}.")
    if name == "kind" and table.get("kind") != value:
        table.clear()
    table[name] = value


def parse_setting(text: str) -> tuple[str, Any]:
    """`a.b=v` as a path and a TOML value; what is no TOML value is a string.

    >>> parse_setting("run.rounds=3"), parse_setting("aggregator.kind=flame")
    (('run.rounds', 3), ('aggregator.kind', 'flame'))
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"A setting has the form section.field=value; got {text!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return path.strip(), value.strip()
    return path.strip(), parsed["value"] if len(parsed) == 1 else value.strip()
