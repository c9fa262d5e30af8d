"""Client apps that misbehave: what servers of federations have been seen to fall over, to try one's own with.

    app = ClientApp(mods=[FAULTS["one NaN"]])

Each fault is a mod around any honest app, whether it sends whole models or, as `client_app`, updates. `phalanx.testing.faulty`
has the same for rows; who attacks instead, with a well-formed answer, is `phalanx.flower.attacking`.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from phalanx.flower.wire import UPDATE

FIRST = "phalanx.first/"
Numbers = NDArray[np.generic]


@dataclass(frozen=True)
class Fault:
    """A Flower mod: `spoil` is what becomes of an honest answer, `reason` why Phalanx drops it."""

    reason: str
    spoil: Callable[[RecordDict], RecordDict]

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        if reply.has_content():
            reply.content = self.spoil(reply.content)
        return reply


def hanging(seconds: float) -> Mod:
    """A mod that lets the server wait before it trains."""

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        time.sleep(seconds)
        return call_next(message, context)

    return mod


def stale(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A mod that sends its first answer for ever. That is well-formed; what comes of it is the rule's to withstand."""
    reply = call_next(message, context)
    first = {name.removeprefix(FIRST): one for name, one in context.state.array_records.items() if name.startswith(FIRST)}
    for name, record in () if first else reply.content.array_records.items():
        context.state[FIRST + name] = record
    reply.content = RecordDict({**reply.content, **first})
    return reply


def _arrays(change: Callable[[dict[str, Array]], dict[str, Array]]) -> Callable[[RecordDict], RecordDict]:
    """The answer with another record of arrays: its update, or else its model."""

    def spoil(content: RecordDict) -> RecordDict:
        records = content.array_records
        name = UPDATE if UPDATE in records else next(iter(records))
        return RecordDict({**content, name: ArrayRecord(change(dict(records[name].items())))})

    return spoil


def _one(change: Callable[[Array], Array]) -> Callable[[RecordDict], RecordDict]:
    """The answer with its largest array changed."""

    def spoil(arrays: dict[str, Array]) -> dict[str, Array]:
        largest = max(arrays, key=lambda name: math.prod(arrays[name].shape))
        return arrays | {largest: change(arrays[largest])}

    return _arrays(spoil)


def _numbers(change: Callable[[Numbers], Numbers]) -> Callable[[RecordDict], RecordDict]:
    return _one(lambda array: Array(np.ascontiguousarray(change(array.numpy().copy()))))


def _filled(value: float) -> Callable[[RecordDict], RecordDict]:
    return _numbers(lambda numbers: np.full_like(numbers, value))


def _one_entry(value: float) -> Callable[[RecordDict], RecordDict]:
    def spoil(numbers: Numbers) -> Numbers:
        numbers.flat[0] = value
        return numbers

    return _numbers(spoil)


def _declared(*, dtype: str = "", shape: tuple[int, ...] = (), stype: str = "") -> Callable[[RecordDict], RecordDict]:
    """The same bytes under another declaration."""

    def spoil(array: Array) -> Array:
        shown = {"dtype": dtype or array.dtype, "stype": stype or array.stype}
        return Array(**shown, shape=shape or array.shape, data=array.data)

    return _one(spoil)


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[RecordDict], RecordDict]:
    return _one(lambda array: Array(dtype=array.dtype, shape=array.shape, stype=array.stype, data=change(array.data)))


def _reordered(array: Array) -> Array:
    """A header that says the shape backwards."""
    data = array.data.replace(str(tuple(array.shape)).encode(), str(tuple(reversed(array.shape))).encode())
    return Array(dtype=array.dtype, shape=array.shape, stype=array.stype, data=data)


def _failing(content: RecordDict) -> RecordDict:
    raise RuntimeError("This app fails on purpose.")


FAULTS: Mapping[str, Fault] = {
    "NaN": Fault("not finite", _filled(math.nan)),
    "one NaN": Fault("not finite", _one_entry(math.nan)),
    "one infinity": Fault("not finite", _one_entry(math.inf)),
    "1e38": Fault("norm over the cap", _filled(1e38)),
    "a huge norm": Fault("norm over the cap", _filled(1e9)),
    "a missing array": Fault("missing or extra tensor", _arrays(lambda arrays: dict(list(arrays.items())[1:]))),
    "an extra array": Fault("missing or extra tensor", _arrays(lambda arrays: arrays | {"x": Array(np.zeros(1, np.float32))})),
    "a renamed array": Fault("missing or extra tensor", _arrays(lambda arrays: {f"{name}x": a for name, a in arrays.items()})),
    "no array": Fault("missing or extra tensor", _arrays(lambda arrays: {})),
    "another record of arrays": Fault("wrong records", lambda content: RecordDict({**content, "more": ArrayRecord()})),
    "no record of arrays": Fault("wrong records", lambda content: RecordDict(dict(content.metric_records.items()))),
    "nothing": Fault("wrong records", lambda content: RecordDict()),
    "one number for all": Fault("wrong size", _numbers(lambda numbers: numbers.reshape(-1)[:1])),
    "a million numbers": Fault("wrong size", _numbers(lambda numbers: np.zeros(10**6, np.float32))),
    "transposed": Fault("wrong shape", _numbers(lambda numbers: numbers.T)),
    "flattened": Fault("wrong shape", _numbers(lambda numbers: numbers.reshape(-1))),
    "float64": Fault("wrong dtype", _numbers(lambda numbers: numbers.astype(np.float64))),
    "integers": Fault("wrong dtype", _numbers(lambda numbers: numbers.astype(np.int64))),
    "complex": Fault("wrong dtype", _numbers(lambda numbers: numbers.astype(np.complex64))),
    "big-endian": Fault("wrong bytes", _bytes(lambda data: data.replace(b"<f4", b">f4"))),
    "an unknown serialisation": Fault("wrong dtype", _declared(stype="pickle")),
    "a dtype that there is not": Fault("wrong dtype", _declared(dtype="object")),
    "a terabyte declared": Fault("wrong size", _declared(shape=(10**12,))),
    "a million dimensions": Fault("wrong size", _declared(shape=(10**18,) * 10**6)),
    "a negative shape": Fault("wrong size", _declared(shape=(-5, 6))),
    "empty bytes": Fault("wrong number of bytes", _bytes(lambda data: b"")),
    "truncated bytes": Fault("wrong number of bytes", _bytes(lambda data: data[:12])),
    "one byte short": Fault("wrong bytes", _bytes(lambda data: data[:-1])),
    "a megabyte behind": Fault("wrong number of bytes", _bytes(lambda data: data + bytes(10**6))),
    "one byte behind": Fault("wrong bytes", _bytes(lambda data: data + b"\0")),
    "another format": Fault("wrong bytes", _bytes(lambda data: b"\x80\x04" + data[2:])),
    "a header that says another shape": Fault("wrong bytes", _one(_reordered)),
    "a header of nested brackets": Fault("wrong bytes", _bytes(lambda data: data[:10] + b"(" * 118 + data[128:])),
    "an exception": Fault("error", _failing),
}
"""Every fault by name."""
