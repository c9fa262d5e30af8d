"""`EventFile`: events.jsonl while it is written, and cut to a checkpoint when what made it goes on."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event
from phalanx.core.files import open_regular
from phalanx.core.json_files import parse_json


class EventFile:
    """A sink: one JSON object an event, appended and flushed.

    Raises: CheckpointError if the path is a link or no regular file; OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path, "ab")

    def emit(self, event: Event) -> None:
        """Append an event. Raises: CheckpointError if that is not possible."""
        try:
            self._file.write(json.dumps(event.as_dict(), allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error.strerror}.") from None

    def sync(self) -> None:
        """See that all events are on the disk. Raises: CheckpointError if they are not."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error.strerror}.") from None

    def position(self) -> int:
        """Its length in bytes: a checkpoint says how far it has come."""
        return int(self._file.tell())

    def cut(self, position: int) -> None:
        """Forget what is behind `position`. Raises: CheckpointError if it is shorter: what is missing cannot be made up."""
        if self._file.seek(0, os.SEEK_END) < position:
            raise CheckpointError(f"{self.path} is shorter than its checkpoint says; delete {self.path.parent} to start again.")
        self._file.truncate(position)
        self._file.seek(position)

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):  # a full disk has been told of already, by whoever wrote last
            self._file.close()


def read_events(path: Path) -> list[dict[str, Any]]:
    """All events in a file, in order. Raises: CheckpointError if a line is no event, or cannot be read."""
    try:
        return [parse_event(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError):
        raise CheckpointError(f"{path} is damaged; delete {path.parent} to start again.") from None


def parse_event(line: bytes) -> dict[str, Any]:
    """A line of events.jsonl. Raises: ValueError if it is none."""
    event = parse_json(line)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str) or not isinstance(event.get("round"), int):
        raise ValueError("no event")
    return event
