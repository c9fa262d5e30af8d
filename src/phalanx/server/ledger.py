"""The ledger of a private run, privacy.jsonl: what each round spends is on the disk before anything noised leaves the process.

Noise from the seed is the same again when a run goes on after a crash, so what is made twice is paid once. Noise from the
operating system is another one, and on another machine the last bits are others: receipts after the last checkpoint are then
paid, too.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phalanx.core.errors import CheckpointError
from phalanx.core.files import open_regular, sync_folder
from phalanx.core.json_files import parse_json


class Ledger:
    """One JSON object a round, appended and flushed to the disk; nothing is ever taken out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def position(self) -> int:
        """Its length in bytes: a checkpoint says how far it has come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def write(self, receipt: Mapping[str, Any]) -> None:
        """Append a receipt. Raises: CheckpointError if that is not on the disk."""
        try:
            is_new = not self.path.exists()
            with open_regular(self.path, "ab") as file:
                file.write(json.dumps(receipt).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if is_new:  # its name is in the folder, which is a file of its own
                sync_folder(self.path.parent)
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be written: {error.strerror}. What is spent must be on record."
            ) from None

    def since(self, position: int) -> list[dict[str, Any]]:
        """The receipts behind `position`. A torn last line is cut off: what it was written for was never released.

        Raises: CheckpointError if the ledger is shorter than that, or damaged.
        """
        text = b""
        if self.path.exists():
            with open_regular(self.path, "rb") as file:
                text = file.read()
        if len(text) < position:
            raise CheckpointError(f"{self.path} is shorter than its checkpoint says: what was spent cannot be known any more.")
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            with open_regular(self.path, "r+b") as file:
                file.truncate(whole)
        try:
            return [parse_json(line) for line in text[position:whole].splitlines()]
        except ValueError:
            raise CheckpointError(f"{self.path} is damaged: what was spent cannot be known any more.") from None
