"""What a run says while it goes on: plain events that any sink can take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

Value: TypeAlias = "float | int | str | bool | list[Value] | dict[str, Value] | None"


@dataclass(frozen=True)
class Event:
    """One thing that happened: `kind` ("round", "evaluation", "end" …), the round, and named JSON values.

    Values that only describe the machine (seconds) are under "seconds", so that two runs can be compared without them.
    """

    kind: str
    round: int
    values: Mapping[str, Value]

    def as_dict(self) -> dict[str, Value]:
        """The event as one flat JSON object."""
        return {"event": self.kind, "round": self.round, **self.values}


@runtime_checkable
class Sink(Protocol):
    """Anything that takes events: a file, a progress bar, a tracker."""

    def emit(self, event: Event) -> None:
        """Take one event. Called in order, from the run's own thread."""
