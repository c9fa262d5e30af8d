"""`follow`: all trackers of a run at once. One that fails is switched off and said so; the run goes on."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

from phalanx.core.errors import ConfigError, PhalanxError
from phalanx.core.events import Event, RunFacts, Sink
from phalanx.core.families import Tracker

LOG = logging.getLogger("phalanx")


@contextmanager
def follow(trackers: Sequence[Tracker], run: RunFacts) -> Iterator[list[Sink]]:
    """Sinks of the trackers, open inside.

    Raises: ConfigError if one cannot start.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_Tolerant(tracker, run)) for tracker in trackers]


class _Tolerant:
    """A tracker's sink that fails once at most, in one sentence: the run's own events.jsonl holds everything anyway."""

    def __init__(self, tracker: Tracker, run: RunFacts) -> None:
        self._kind = tracker.kind
        self._tracker, self._run = tracker, run
        self._context: AbstractContextManager[Sink] | None = None

    def __enter__(self) -> Self:
        try:
            context = self._tracker.open(self._run)
            self._sink = context.__enter__()
        except PhalanxError:
            raise
        except Exception as error:
            raise ConfigError(f"tracking by {self._kind} cannot start: {_reason(error)}") from error
        self._context = context
        return self

    def emit(self, event: Event) -> None:
        """Hand the event on, as long as that works."""
        if self._context is None:
            return
        try:
            self._sink.emit(event)
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, the run must not end by it
            LOG.warning(
                "Tracking by %s failed in round %d and is off from here on; the run goes on: %s",
                self._kind,
                event.round,
                _reason(error),
            )
            self._close(type(error), error, error.__traceback__, is_said=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(kind, error, trace, is_said=False)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, *, is_said: bool
    ) -> None:
        context, self._context = self._context, None
        try:
            if context is not None:
                context.__exit__(kind, error, trace)
        except Exception as failure:  # noqa: BLE001 - as above
            if not is_said:
                LOG.warning("Tracking by %s could not be closed: %s", self._kind, _reason(failure))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 300 else text[:297] + '...'}"
