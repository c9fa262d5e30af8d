"""`inflated_to`: no answer is unpacked beyond the size that one may have.

Flower unpacks an answer while it fetches it, and lays an array together from chunks of which one may be named a million times:
a message of a megabyte would be a terabyte before anybody could look at it.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from flwr.app import Array
from flwr.app.message.arraychunk import ArrayChunk
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_object_body,
    get_object_children_ids_from_object_content,
)
from flwr.supercore.inflatable.inflatable_utils import inflatable_class_registry

_ROOM = threading.local()


@contextmanager
def inflated_to(nbytes: int) -> Iterator[None]:
    """Inside, and in this thread, Flower raises ValueError rather than unpack arrays of more bytes than this altogether."""
    inflatable_class_registry["Array"] = cast(type[InflatableObject], _Bounded)  # where Flower looks up who unpacks what
    _ROOM.left = nbytes
    try:
        yield
    finally:
        del _ROOM.left


class _Bounded:
    """Flower's Array, as far as unpacking goes; in threads without a bound it is nothing else."""

    @staticmethod
    def inflate(object_content: bytes, children: Mapping[str, InflatableObject] | None = None) -> Array:
        if hasattr(_ROOM, "left"):
            named = json.loads(get_object_body(object_content, Array))["arraychunk_ids"]
            ids, chunks = get_object_children_ids_from_object_content(object_content), children or {}
            _ROOM.left -= sum(len(cast(ArrayChunk, chunks[ids[number]]).data) for number in named)
            if _ROOM.left < 0:
                raise ValueError("The arrays of this answer are larger than any that was asked for.")
        return Array.inflate(object_content, dict(children or {}))
