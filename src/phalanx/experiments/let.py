"""`let`: values that several settings of a sweep share, such as the f of the attackers and of the rule."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest
from phalanx.experiments.axis import Settings, nested

_NAME = re.compile(r"\$([\w-]+)")


def with_values(settings: Settings, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's settings `a.b: value` without `let`, in which every string `"$name"` has become the value of that name.

    Names are `shared` ones, or set by the settings themselves: `let.f = 2`.

    Raises: ConfigError for a name that has no value.

    >>> with_values({"let.f": 2, "aggregator.num_byzantine": "$f", "training.lr": "$lr"}, {"lr": 0.1})
    {'aggregator.num_byzantine': 2, 'training.lr': 0.1}
    """
    values = {**shared, **_own(settings)}

    def replaced(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: replaced(item) for name, item in value.items()}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        name = _NAME.fullmatch(value) if isinstance(value, str) else None
        if name is None:
            return value
        if name[1] not in values:
            raise ConfigError(f"{value!r} has no value in let{nearest(name[1], values)}")
        return values[name[1]]

    return {name: replaced(value) for name, value in settings.items() if not _is_let(name)}


def check_names(shared: Mapping[str, Any], variants: Iterable[Settings]) -> None:
    """Fail for values that no variant uses, which a mistyped name leaves behind, and for values that are names themselves.

    Raises: ConfigError.
    """
    variants = list(variants)
    tables = [shared, *(_own(settings) for settings in variants)]
    if chained := [name for table in tables for name in table if list(_names(table[name]))]:
        raise ConfigError(f"let.{chained[0]} must be a value, not the name of another.")
    used = {name for settings in variants for path, value in settings.items() if not _is_let(path) for name in _names(value)}
    if unused := [name for table in tables for name in table if name not in used]:
        raise ConfigError(f'let.{unused[0]} is used nowhere, that is, no variant says "${unused[0]}"{nearest(unused[0], used)}')


def _own(settings: Settings) -> Mapping[str, Any]:
    own = nested({path: value for path, value in settings.items() if _is_let(path)}).get("let", {})
    if not isinstance(own, Mapping):
        raise ConfigError(f"let must be a table of values such as {{ f = 2 }}; got {own!r}.")
    return own


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, str) and (name := _NAME.fullmatch(value)):
        yield name[1]


def _is_let(path: str) -> bool:
    return path.split(".")[0] == "let"
