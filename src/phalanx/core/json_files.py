"""JSON from a folder that a stranger may have packed: what is read is finite and not too deep to walk, or it is damaged."""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from phalanx.core.errors import CheckpointError

DEEPEST = 100
"""Nothing of ours nests as deep, and whoever walks a value by recursion comes through."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises: CheckpointError if the file does not hold one."""
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged; delete it, or the run folder to start again.")
    return value


def parse_json(data: bytes) -> Any:
    """Any JSON value; halves of surrogate pairs, which no file and no terminal takes, are question marks in it.

    Raises: ValueError, also for NaN, for numbers that no float holds, and for what nests too deeply.
    """
    try:
        value = json.loads(data.decode(), parse_float=_finite, parse_int=_whole, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if data.count(b"[") + data.count(b"{") > DEEPEST:
        _refuse_depth(value)
    if b"\\ud" in data.lower():
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    return value


def to_json(value: Mapping[str, Any]) -> bytes:
    """Readable JSON that is the same bytes for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text:.20} is no finite number")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _refuse_depth(value: Any) -> None:
    layer, depth = [value], 0
    while layer:
        layer = [inner for outer in layer if isinstance(outer, list | dict) for inner in _parts(outer)]
        depth += 1
        if depth > DEEPEST:
            raise ValueError("nested too deeply")


def _parts(value: list[Any] | dict[str, Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value
