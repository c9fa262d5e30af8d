"""What one of Flower's own strategies has learnt, as tensors and JSON: a checkpoint holds no pickle, which could run code."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from phalanx.core.errors import ConfigError


def taken(strategy: Strategy) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All attributes of a strategy but for its functions: settings and moments alike.

    Raises: ConfigError naming the attribute that neither JSON nor tensors can hold.
    """
    tensors: dict[str, Tensor] = {}
    told: dict[str, Any] = {}
    for name, value in vars(strategy).items():
        if callable(value):
            continue
        try:
            told[name] = _told(value, tensors)
        except TypeError:
            raise ConfigError(
                f"{type(strategy).__name__} keeps {name}, of type {type(value).__name__}, which no checkpoint can hold: only "
                "numbers, text, numpy arrays, Flower's records of arrays, and lists and dictionaries of these. Leave "
                "out folder, or use RobustStrategy and its server."
            ) from None
    return told, tensors


def give_back(strategy: Strategy, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Give a strategy what was taken from another one of its class, bit by bit."""
    for name, value in told.items():
        setattr(strategy, name, _made(value, tensors))


def _told(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for a value, whose arrays go into `tensors` by number. Raises: TypeError for what neither can hold."""
    match value:
        case None | bool() | str():
            return value
        case np.ndarray() | np.generic():
            name = str(len(tensors))
            tensors[name] = torch.from_numpy(np.array(value, order="C"))
            return {"array" if isinstance(value, np.ndarray) else "number": name}
        case int() | float():
            return value
        case ArrayRecord():
            return {"record": {name: _told(array.numpy(), tensors) for name, array in value.items()}}
        case list() | tuple():
            return {type(value).__name__: [_told(part, tensors) for part in value]}
        case dict() if all(isinstance(name, str) for name in value):
            return {"dict": {name: _told(part, tensors) for name, part in value.items()}}
    raise TypeError


def _made(told: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(told, dict):
        return told
    [(kind, content)] = told.items()
    match kind:
        case "array":
            return tensors[content].numpy()
        case "number":
            return tensors[content].numpy()[()]
        case "record":
            return ArrayRecord({name: Array(_made(part, tensors)) for name, part in content.items()})
        case "dict":
            return {name: _made(part, tensors) for name, part in content.items()}
    parts = [_made(part, tensors) for part in content]
    return tuple(parts) if kind == "tuple" else parts
