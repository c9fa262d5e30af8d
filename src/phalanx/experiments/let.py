"""`let`: values that several settings of a sweep share, such as the f of the attackers and of the rule."""

from collections.abc import Mapping
from typing import Any

from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest
from phalanx.experiments.axis import Settings, nested


def with_values(settings: Settings, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's settings `a.b: value` without `let`, in which every string `"$name"` has become the value of that name.

    Names are `shared` ones, or set by the settings themselves: `let.f = 2`.

    Raises: ConfigError for a name that has no value.

    >>> with_values({"let.f": 2, "aggregator.num_byzantine": "$f", "training.lr": "$lr"}, {"lr": 0.1})
    {'aggregator.num_byzantine': 2, 'training.lr': 0.1}
    """
    own = nested({name: value for name, value in settings.items() if _is_let(name)}).get("let", {})
    if not isinstance(own, Mapping):
        raise ConfigError(f"let must be a table of values such as {{ f = 2 }}; got {own!r}.")
    values = {**shared, **own}

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

    return {name: replaced(value) for name, value in settings.items() if not _is_let(name)}


def _is_let(name: str) -> bool:
    return name.split(".")[0] == "let"
