"""`phalanx show` of a sweep's folder: its leaderboards, and what became of cells without a score."""

import json
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from rich.text import Text

from phalanx.cli.summarising import state
from phalanx.cli.terminal import console
from phalanx.experiments import Leaderboard, SweepRecord, leaderboards
from phalanx.experiments.sweep import Cell
from phalanx.report.numbers import count
from phalanx.report.tables import rich_table, to_document

MOST_REASONS = 10


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
    _draw(console(), record, cells, boards)


def _draw(shown: Console, record: SweepRecord, cells: list[dict[str, Any]], boards: tuple[Leaderboard, ...]) -> None:
    states = [cell["state"] for cell in cells]
    told = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(sorted(states)))
    shown.print(Text.assemble((str(record.folder), "bold"), f"  {count(len(cells), 'cell')}: {told}"), soft_wrap=True)
    for board in boards:
        shown.print()
        shown.print(rich_table(board))
    folder = quote(str(record.folder))
    reasons = list(record.cells_by_reason.items())
    if reasons:
        shown.print()
        for reason, failed in reasons[:MOST_REASONS]:
            which = failed[0].name if len(failed) == 1 else f"{len(failed)} cells, the first of them {failed[0].name}"
            shown.print(Text.assemble((f"× {which}: ", "red"), reason))
        if len(reasons) > MOST_REASONS:
            more = f"… and {count(len(reasons) - MOST_REASONS, 'more reason')}; all of them: phalanx show {folder} --json"
            shown.print(Text(more), soft_wrap=True)
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
