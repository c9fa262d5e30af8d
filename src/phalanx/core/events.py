"""What a run says while it goes on: plain events that any sink can take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

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

    @classmethod
    def from_dict(cls, event: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        return cls(event["event"], event["round"], {name: event[name] for name in event if name not in ("event", "round")})


@runtime_checkable
class Sink(Protocol):
    """Anything that takes events: a file, a progress bar, a tracker."""

    def emit(self, event: Event) -> None:
        """Take one event. Called in order, from the run's own thread."""


@runtime_checkable
class SearchSink(Sink, Protocol):
    """A sink that also shows how far a search is that takes long inside of a round."""

    def searched(self, made: int, most: int, lowest: float) -> None:
        """So many steps are made, of so many at most; the lowest loss so far."""


@dataclass(frozen=True)
class RunFacts:
    """What a tracker may know of a run: its name, its folder (None: all in memory), its config as a table, tags such as its
    digest, and, if it goes on, the events that it has had already."""

    name: str
    folder: Path | None
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    events: Sequence[Event] = ()
