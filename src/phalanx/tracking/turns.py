"""`one_at_a_time`: processes that would make the tables of one database file at once wait for each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phalanx.core.files import open_regular

try:
    import fcntl
except ImportError:  # Windows has no flock: a sweep's cells are not kept apart there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def one_at_a_time(uri: str | None) -> Iterator[None]:
    """Inside, no other process is inside with the same `sqlite:///…` file; other addresses need no turns."""
    if fcntl is None or uri is None or not uri.startswith("sqlite:///"):
        yield
        return
    with open_regular(Path(uri.removeprefix("sqlite:///") + ".lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
