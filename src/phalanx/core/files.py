"""Files in folders that a stranger may have packed: nothing is written through a link, into a pipe, or by half.

A folder may hold a symbolic link under any name that is written to, and an archive can carry one: followed, it would let a run
that goes on overwrite whatever else its user may write. The folder that a user names may be a link; what lies in it may not.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from phalanx.core.errors import CheckpointError

_GUARDS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # Windows has neither; to open a pipe does not wait


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace `path` by `data`: whoever reads it, even after a crash, sees the old bytes or the new, never a part.

    A link of that name is replaced, not followed: the draft beside it has a name that nobody can have put there before.

    Raises: CheckpointError in one sentence (full disk, read-only folder …); nothing half-written stays behind.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        if path.is_char_device() or path.is_fifo():  # also behind a link: /dev/stdout is not to become a file
            raise OSError(errno.EINVAL, "it is no regular file")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _GUARDS, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}.") from None


def sync_folder(folder: Path) -> None:
    """See that the names of a folder's files are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path, mode: str) -> IO[Any]:
    """`path.open(mode)` of a regular file, which is made where the mode says so.

    Raises: CheckpointError if it is a link, a pipe or another thing that is no file; OSError as `open` does.
    """
    return open(path, mode, opener=_opened)


def refuse_link(path: Path) -> None:
    """Raises: CheckpointError if there is a symbolic link of that name, whatever it leads to."""
    if path.is_symlink():
        raise CheckpointError(f"{path} is a symbolic link, which may lead out of its folder, and is not used; remove it.")


def make_subfolder(path: Path) -> None:
    """Make a folder inside of a folder, or take the one that is there.

    Raises: CheckpointError if it is a link; OSError as `mkdir` does.
    """
    refuse_link(path)
    path.mkdir(exist_ok=True)


def _opened(name: str, flags: int) -> int:
    path = Path(name)
    refuse_link(path)
    with suppress(FileNotFoundError):
        _require_regular(path, path.lstat())
    descriptor = os.open(path, flags | _GUARDS, 0o666)
    try:
        _require_regular(path, os.fstat(descriptor))  # it may have been exchanged meanwhile
    except CheckpointError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise CheckpointError(f"{path} is no regular file, and is not used; remove it.")
