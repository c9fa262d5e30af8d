"""What W&B's own file of a run holds: wandb writes these files and uploads them, and has nothing that reads one back.

A file is a head of 7 bytes and blocks of 32 KiB, cut into records as in a LevelDB log: checksum (4), length (2), kind (1),
bytes. A record that does not fit into a block is several: its first part, middle parts, and its last.
"""

from collections.abc import Iterator
from pathlib import Path

HEAD, BLOCK, RECORD_HEAD = b":W&B", 32768, 7
FULL, FIRST, LAST = 1, 2, 4


def newest_steps(files: list[Path]) -> dict[str, int]:
    """The newest step of every name that was logged; a file that was cut off counts as far as it is whole.

    Raises: ValueError for a file that is not W&B's.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    found: dict[str, int] = {}
    for file in files:
        for data in records(file.read_bytes()):
            history = Record.FromString(data).history
            for item in history.item:
                name = "/".join(item.nested_key) or item.key
                found[name] = max(history.step.num, found.get(name, -1))
    return found


def records(content: bytes) -> Iterator[bytes]:
    """The whole records of a file, in order."""
    if not HEAD.startswith(content[: len(HEAD)]):  # wandb was killed before it had written all of the head, or nothing
        raise ValueError("this is no file of a W&B run")
    at, parts = RECORD_HEAD, b""
    while at + RECORD_HEAD <= len(content):
        if (left := BLOCK - at % BLOCK) < RECORD_HEAD:  # too little for a head: the rest of a block is left empty
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        part = content[at + RECORD_HEAD : at + RECORD_HEAD + size]
        if kind == 0 or len(part) < size:  # written no further
            return
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield parts
        at += RECORD_HEAD + size
