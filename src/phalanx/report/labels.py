"""What to call runs that stand side by side: by what differs between their configs, and by nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

Table = Mapping[str, Any]


def labels(tables: Sequence[Table]) -> list[str]:
    """A short name for each config, such as `flame, partition.alpha 0.1`; empty where nothing differs.

    Where two kinds differ, the fields below them say nothing new and are left out.
    """
    configs = [_without_idle_adversary(leaves(table)) for table in tables]
    return [", ".join(_parts(config, configs)) for config in configs]


def differing(tables: Sequence[Table]) -> list[str]:
    """The dotted paths whose values are not the same in all configs, in the order of the file."""
    return _differing([leaves(table) for table in tables])


def leaves(table: Table, prefix: str = "") -> dict[str, Any]:
    """A nested table as `a.b: value`.

    >>> leaves({"run": {"seed": 1}, "aggregator": {"kind": "mean"}})
    {'run.seed': 1, 'aggregator.kind': 'mean'}
    """
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _differing(configs: Sequence[Table]) -> list[str]:
    paths = dict.fromkeys(path for config in configs for path in config)
    return [path for path in paths if any(config.get(path) != configs[0].get(path) for config in configs)]


def _without_idle_adversary(config: Table) -> dict[str, Any]:
    """Without attackers only that is worth a word."""
    if "adversary.who.kind" in config and config.get("adversary.when.kind") != "never":
        return dict(config)
    return {path: value for path, value in config.items() if not path.startswith("adversary.")} | {"adversary.kind": "none"}


def _parts(config: Table, configs: Sequence[Table]) -> list[str]:
    parts = []
    for path in _differing(configs):
        comparable = [other for other in configs if all(other.get(kind) == config.get(kind) for kind in _kinds_above(path))]
        if path in config and any(other.get(path) != config[path] for other in comparable):
            parts.append(_part(path, config[path]))
    return parts


def _kinds_above(path: str) -> list[str]:
    """The kinds that a setting belongs to: those of the tables around it."""
    tables = path.split(".")[: -2 if path.endswith(".kind") else -1]
    return [".".join([*tables[: depth + 1], "kind"]) for depth in range(len(tables))]


def _part(path: str, value: Any) -> str:
    """`flame`, `data cifar10`, `partition.alpha 0.1`."""
    section, _, field = path.rpartition(".")
    if path == "adversary.kind":
        return "no attack"
    if path == "aggregator.kind":
        return str(value)
    return f"{section if field == 'kind' else path} {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, Mapping):
        rest = " ".join(f"{name}={_shown(item)}" for name, item in value.items() if name != "kind")
        return f"{value.get('kind', '')} {rest}".strip()
    return str(value).lower() if isinstance(value, bool) else str(value)
