"""Ctrl-C and SIGTERM: as an exception that a run can save itself on, or as a note for whoever looks in time."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Signalled(BaseException):
    """A signal asked the run to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Which signal asked to stop, 0 for none yet."""

    number: int = 0


@contextmanager
def stop_signals() -> Iterator[None]:
    """Inside, the first Ctrl-C or SIGTERM raises `Signalled`; further ones are ignored while the run is saved."""

    def stop(number: int, frame: FrameType | None) -> None:
        for name in STOPPING:
            signal.signal(name, _ignore)
        raise Signalled(number)

    with _handled_by(stop):
        yield


@contextmanager
def noted_signals() -> Iterator[StopRequest]:
    """Inside, Ctrl-C and SIGTERM are only noted; whoever holds the request looks at it between two steps."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.number = request.number or number

    with _handled_by(note):
        yield request


def _ignore(number: int, frame: FrameType | None) -> None:
    """As SIG_IGN, but for a signal that has come and waits for its turn Python would write of a race condition to stderr."""


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Only the main thread may set handlers; in others, signals stay what they were."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, handler) for name in STOPPING}
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(name, old)
