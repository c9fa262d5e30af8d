"""`let`: values that a sweep's variant names and other settings use, such as the f of the attackers and of the rule."""

from collections.abc import Mapping
from typing import Any

from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest


def with_values(table: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's table without `let`, in which every string `"$name"` has become the value `let.name`.

    Raises: ConfigError for a name that has no value.

    >>> with_values({"let": {"f": 2}, "aggregator": {"kind": "krum", "num_byzantine": "$f"}})
    {'aggregator': {'kind': 'krum', 'num_byzantine': 2}}
    """
    values = table.get("let", {})
    if not isinstance(values, Mapping):
        raise ConfigError(f"let must be a table of values such as {{ f = 2 }}; got {values!r}.")

    def replaced(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: replaced(item) for name, item in value.items()}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if not isinstance(value, str) or not value.startswith("$") or not value[1:].isidentifier():
            return value
        if value[1:] not in values:
            raise ConfigError(f"{value!r} has no value in let{nearest(value[1:], values)}")
        return values[value[1:]]

    return {name: replaced(item) for name, item in table.items() if name != "let"}
