"""`phalanx show` of a sweep's folder: its leaderboards, and what became of cells without a score."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from phalanx.cli.summarising import state
from phalanx.cli.terminal import console
from phalanx.experiments import Leaderboard, SweepRecord, leaderboards
from phalanx.experiments.sweep import Cell
from phalanx.report.numbers import count
from phalanx.report.tables import rich_table, to_document

MOST_FAILURES = 10


def show_sweep(folder: Path, *, as_json: bool) -> None:
    """Show a sweep.

    Raises: CheckpointError in one sentence if it is damaged.
    """
    record = SweepRecord.read(folder)
    boards = leaderboards(record)
    cells = [_cell(record, cell) for cell in record.sweep.cells]
    if as_json:
        document = {"kind": "sweep", "folder": str(folder), "cells": cells, "leaderboards": list(map(to_document, boards))}
        print(json.dumps(document, indent=2))  # noqa: T201 - the command's output
        return
    _draw(console(), folder, cells, boards)


def _draw(shown: Console, folder: Path, cells: list[dict[str, Any]], boards: tuple[Leaderboard, ...]) -> None:
    states = [cell["state"] for cell in cells]
    told = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(sorted(states)))
    shown.print(Text.assemble((str(folder), "bold"), f"  {count(len(cells), 'cell')}: {told}"), soft_wrap=True)
    for board in boards:
        shown.print()
        shown.print(rich_table(board))
    failed = [cell for cell in cells if cell["state"] == "failed"]
    if failed:
        shown.print()
        for cell in failed[:MOST_FAILURES]:
            shown.print(Text.assemble((f"× {cell['name']}: ", "red"), cell["failure"]))
        if len(failed) > MOST_FAILURES:
            shown.print(f"… and {len(failed) - MOST_FAILURES} more; all of them: phalanx show {folder} --json", soft_wrap=True)
    shown.print()
    lines = [f"One cell: phalanx show {folder}/cells/NAME", f"As a page: phalanx report {folder}"]
    if states.count("finished") < len(states):
        lines.insert(0, f"Go on: phalanx sweep {folder}/sweep.toml --out {folder}")
    for line in lines:
        shown.print(Text(line, style="dim"), soft_wrap=True)


def _cell(record: SweepRecord, cell: Cell) -> dict[str, Any]:
    """name, place, seed, folder, state ("failed" beside those of a run), failure, final."""
    run, failure = record.runs.get(cell), record.failure(cell)
    begun = "not begun" if run is None else state(run)
    return {
        "name": cell.name,
        "place": dict(cell.place),
        "seed": cell.seed,
        "folder": str(record.folder_of(cell)),
        "state": "failed" if failure is not None and begun != "finished" else begun,
        "failure": failure,
        "final": dict(run.final) if run is not None and run.is_finished else {},
    }
