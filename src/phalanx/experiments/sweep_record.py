"""`SweepRecord`: a sweep's folder as a value: which cells are finished, which failed and why, which are still to come.

DIR/sweep.toml       the sweep as it was last run       DIR/failures.json   why a cell failed, by its folder's name
DIR/cells/NAME/      a run folder for every cell; the name holds the experiment's digest, so cells are never mixed up
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.json_files import read_json
from phalanx.experiments.record import SWEEP_FILE, RunRecord
from phalanx.experiments.sweep import Cell, Sweep

FILE, CELLS, FAILURES = SWEEP_FILE, "cells", "failures.json"


@dataclass(frozen=True)
class SweepRecord:
    """What a sweep's folder holds: its cells, and what became of each."""

    folder: Path
    sweep: Sweep
    failures: Mapping[str, str]

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read a sweep's folder.

        Raises: CheckpointError in one sentence if it is none, or damaged.
        """
        folder = Path(folder)
        if not is_sweep(folder):
            raise CheckpointError(f"{folder} is not a sweep's folder: it has no {FILE}.")
        try:
            sweep = Sweep.load(folder / FILE)
            _ = sweep.cells
        except ConfigError as error:
            raise CheckpointError(f"The sweep in {folder} is damaged, or another version's: {error}") from None
        return cls.of(folder, sweep)

    @classmethod
    def of(cls, folder: Path, sweep: Sweep) -> Self:
        """What a folder holds of a sweep; it may not exist yet, or have been left by a similar sweep.

        Raises: CheckpointError if the account of what failed is damaged.
        """
        failures = read_json(folder / FAILURES) if (folder / FAILURES).exists() else {}
        names = {cell.folder_name for cell in sweep.cells}
        return cls(folder, sweep, {name: str(reason) for name, reason in failures.items() if name in names})

    def folder_of(self, cell: Cell) -> Path:
        """A cell's run folder; it may not exist yet."""
        return self.folder / CELLS / cell.folder_name

    def final(self, cell: Cell) -> Mapping[str, Any] | None:
        """The final row of a finished cell, read from its result alone; None if it is not finished, or another experiment's."""
        try:
            result = read_json(self.folder_of(cell) / "result.json")
        except CheckpointError:
            return None
        final = result.get("final")
        return final if result.get("experiment") == cell.experiment.digest() and isinstance(final, dict) else None

    @cached_property
    def runs(self) -> Mapping[Cell, RunRecord]:
        """The record of every cell that has begun and is not damaged."""
        return {cell: found for cell, found in self._read.items() if isinstance(found, RunRecord)}

    def failure(self, cell: Cell) -> str | None:
        """Why a cell has no score: what it failed with when it was last tried, or how its folder is damaged; None otherwise."""
        found = self._read.get(cell)
        if isinstance(found, RunRecord) and found.is_finished:
            return None  # it may have been resumed alone, without a word to the sweep
        return found if isinstance(found, str) else self.failures.get(cell.folder_name)

    @property
    def cells_by_reason(self) -> Mapping[str, list[Cell]]:
        """The cells without a score by what they failed with: one cause often fails many."""
        found: dict[str, list[Cell]] = {}
        for cell in self.sweep.cells:
            if (reason := self.failure(cell)) is not None:
                found.setdefault(reason, []).append(cell)
        return found

    @cached_property
    def _read(self) -> Mapping[Cell, RunRecord | str]:
        folders = {cell: self.folder_of(cell) for cell in self.sweep.cells}
        return {cell: _read_cell(folder) for cell, folder in folders.items() if (folder / "config.toml").exists()}


def _read_cell(folder: Path) -> RunRecord | str:
    try:
        return RunRecord.read(folder)
    except CheckpointError as error:
        return str(error)


def is_sweep(folder: Path) -> bool:
    """Whether a folder is a sweep's."""
    return (folder / FILE).exists()
