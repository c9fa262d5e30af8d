"""One folder, one process: a lock that ends with whoever holds it."""

import time
from pathlib import Path
from typing import IO

from phalanx.core.errors import CheckpointError
from phalanx.core.files import open_regular

try:
    import fcntl
except ImportError:  # Windows has no flock: two processes on one folder are not detected there
    fcntl = None  # type: ignore[assignment]

TRIES, SECONDS = 10, 0.02  # whoever only looks (`is_locked`) holds a lock too, for a moment


def locked(folder: Path, what: str) -> IO[str]:
    """Make `folder` and hold it until the file that is returned is closed; `what` is what errors call it.

    Raises: CheckpointError if it cannot be made, its lock is a link or no file, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open_regular(folder / ".lock", "a")
    except OSError as error:
        raise CheckpointError(f"The {what} {folder} cannot be used: {error.strerror}.") from None
    try:
        _hold(lock)
    except OSError as error:
        lock.close()
        taken = isinstance(error, BlockingIOError)
        why = "another process is running it" if taken else f"it cannot be locked: {error.strerror}"
        raise CheckpointError(f"The {what} {folder} cannot be used: {why}.") from None
    return lock


def _hold(lock: IO[str]) -> None:
    for left in reversed(range(TRIES)):
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(SECONDS)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder now. False where that cannot be told: without flock or a lock that is a
    file, or without the right to look."""
    try:
        with open_regular(folder / ".lock", "r") as lock:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, CheckpointError):
        return False
    return False
