"""How an event becomes named scalars, and a config named parameters: the same for every tracker."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from phalanx.core.events import Event, Value

Parameter = str | int | float | bool


def scalars(event: Event) -> dict[str, float]:
    """Every number of an event by name: round/loss, evaluation/accuracy, rule/…, attack/…, seconds/…

    Lists under a name are counted: rejected/REASON is how many clients. What is None or text has no point. A round also says
    how many rows were rejected in all, how many of the others the rule gave no influence, and whether it kept the model.

    >>> scalars(Event("round", 3, {"loss": 0.5, "rejected": {"not finite": [4, 7]}, "seconds": {"train": 0.1}}))
    {'round/loss': 0.5, 'rejected/not finite': 2.0, 'seconds/train': 0.1, 'round/rejected': 2.0, 'round/kept_model': 0.0}
    """
    found = dict(_numbers(event))
    if event.kind == "round":
        found["round/rejected"] = float(sum(value for name, value in found.items() if name.startswith("rejected/")))
        if isinstance(influence := event.values.get("influence"), list):
            found["round/without_influence"] = float(influence.count(0.0))
        found["round/kept_model"] = float("kept_model" in event.values)
    return found


def parameters(config: Mapping[str, Any], prefix: str = "") -> dict[str, Parameter]:
    """A config as flat parameters, `aggregator.num_byzantine` and so on; a list of tables is numbered from 0.

    >>> parameters({"model": {"kind": "mlp", "hidden": [8, 4]}, "stages": [{"kind": "krum"}]})
    {'model.kind': 'mlp', 'model.hidden': '8, 4', 'stages.0.kind': 'krum'}
    """
    found: dict[str, Parameter] = {}
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = dict(zip(map(str, range(len(value))), value))
        if isinstance(value, Mapping):
            found |= parameters(value, f"{path}.")
        else:
            found[path] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return found


def _numbers(event: Event) -> Iterator[tuple[str, float]]:
    for name, value in event.values.items():
        if name == "over_tau":  # a curve, not a count
            continue
        if isinstance(value, Mapping):
            for key, item in value.items():
                if (number := _number(item)) is not None:
                    yield _name(name, key), number
        elif isinstance(value, int | float):
            yield _name(event.kind, name), float(value)


def _number(value: Value) -> float | None:
    if isinstance(value, list):
        return float(len(value))
    return float(value) if isinstance(value, int | float) else None


def _name(section: str, key: str) -> str:
    """A name of letters, digits and _ - . / and spaces, which every tracker takes."""
    return re.sub(r"[^\w\-. ]", "_", section, flags=re.ASCII) + "/" + re.sub(r"[^\w\-. ]", "_", key, flags=re.ASCII)
