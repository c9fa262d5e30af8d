"""`PolicyRecord`: the folder of a search. What has been scored is on the disk, a line each, and never scored again.

search.json      what the scores depend on        policies.jsonl   one JSON object a policy
pretrained/      the run of the trained model
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from phalanx.core.errors import CheckpointError
from phalanx.core.files import open_regular, refuse_link, write_atomically
from phalanx.core.json_files import parse_json, read_json, to_json
from phalanx.server.lock import locked


@dataclass(frozen=True)
class ScoredPolicy:
    """A policy, S_pri (lower is more private) and S_acc (higher costs less accuracy). Number 0 transforms nothing."""

    number: int
    policy: tuple[int, ...]
    privacy: float
    accuracy: float

    @property
    def name(self) -> str:
        """As papers write it.

        >>> ScoredPolicy(1, (3, 1, 7), 0.5, -60.0).name
        '3-1-7'
        """
        return "-".join(map(str, self.policy)) or "none"


class PolicyRecord:
    """The open folder, locked against other processes; `scored` are the policies in it, by number. A context manager.

    Raises: CheckpointError if it holds another search, is in use, damaged, or cannot be written.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = folder, dict(facts)
        self.scored: dict[int, ScoredPolicy] = {}

    def __enter__(self) -> Self:
        self._lock = locked(self.folder, "search's folder")
        try:
            refuse_link(self.folder / "pretrained")
            self._claim()
            self._read()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.close()

    @property
    def path(self) -> Path:
        """Where the lines are."""
        return self.folder / "policies.jsonl"

    def append(self, scored: ScoredPolicy) -> None:
        """Write a line to the disk. Raises: CheckpointError if that is not possible."""
        try:
            with open_regular(self.path, "ab") as file:
                file.write(json.dumps(asdict(scored), allow_nan=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error.strerror}.") from None
        self.scored[scored.number] = scored

    def _claim(self) -> None:
        path = self.folder / "search.json"
        if not path.exists():
            write_atomically(path, to_json(self.facts))
        elif read_json(path) != self.facts:
            raise CheckpointError(f"{self.folder} holds a search with other settings; choose another folder with --out.")

    def _read(self) -> None:
        if not self.path.exists():
            return
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):  # the last line was being written when the search was killed
            with open_regular(self.path, "r+b") as file:
                file.truncate(whole)
        try:
            for line in text[:whole].splitlines():
                values = parse_json(line)
                self.scored[values["number"]] = ScoredPolicy(**values | {"policy": tuple(values["policy"])})
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{self.path} is damaged; delete it to search again.") from None
