"""`inflated_to`: no answer is unpacked beyond the size that one may have.

Flower unpacks an answer while it fetches it, and lays an array together from chunks of which one may be named a million times:
a message of a megabyte would be a terabyte before anybody could look at it. What is no array needs no chunks to be a gigabyte.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message.arraychunk import ArrayChunk
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_object_body,
    get_object_children_ids_from_object_content,
)
from flwr.supercore.inflatable.inflatable_utils import inflatable_class_registry

MOST_WORDS = 2**16
"""Bytes for all of an answer but its arrays: three numbers are read of it."""
_ROOM = threading.local()


@contextmanager
def inflated_to(nbytes: int) -> Iterator[None]:
    """Inside, and in this thread, Flower raises ValueError rather than unpack arrays of more bytes than this altogether.

    Names and forms of arrays count as theirs; everything else together may take MOST_WORDS.
    """
    for bounded in _BOUNDED:  # where Flower looks up who unpacks what
        inflatable_class_registry[bounded.kind.__qualname__] = cast(type[InflatableObject], bounded)
    _ROOM.left = {"arrays": nbytes, "words": MOST_WORDS}
    try:
        yield
    finally:
        del _ROOM.left


@dataclass(frozen=True)
class _Bounded:
    """A class of Flower's, as far as unpacking goes; in threads without a bound it is nothing else."""

    kind: type[InflatableObject]
    room: str

    def inflate(self, object_content: bytes, children: Mapping[str, InflatableObject] | None = None) -> InflatableObject:
        if hasattr(_ROOM, "left"):
            _charge(self.room, len(object_content))  # before anything is parsed
            if self.kind is Array:
                _charge(self.room, _chunks_nbytes(object_content, children or {}))
        return self.kind.inflate(object_content, dict(children or {}))


def _charge(room: str, nbytes: int) -> None:
    _ROOM.left[room] -= nbytes
    if _ROOM.left[room] < 0:
        raise ValueError(f"The {room} of this answer are larger than any that was asked for.")


def _chunks_nbytes(object_content: bytes, children: Mapping[str, InflatableObject]) -> int:
    named = json.loads(get_object_body(object_content, Array))["arraychunk_ids"]
    ids = get_object_children_ids_from_object_content(object_content)
    return sum(len(cast(ArrayChunk, children[ids[number]]).data) for number in named)


_BOUNDED = (
    *(_Bounded(kind, "arrays") for kind in (Array, ArrayRecord)),
    *(_Bounded(kind, "words") for kind in (ConfigRecord, MetricRecord, Message, RecordDict)),
)
