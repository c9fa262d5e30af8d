"""The cells of a sweep that have no score, and why."""

from collections.abc import Sequence

from phalanx.report.group import Subject
from phalanx.report.panel import Grid, Panel, Piece, Text

MOST_ROWS = 100


class Failures(Panel):
    """Failed cells with their reason; unfinished ones are counted."""

    title = "Without a score"
    explains = "Cells that failed, and cells that are still to come. phalanx sweep goes on with both."
    place = 15

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A table of the failed, a sentence about the unfinished; nothing when all is done."""
        if subject.sweep is None:
            return None
        sweep = subject.sweep
        reasons = {cell: reason for cell in sweep.sweep.cells if (reason := sweep.failure(cell)) is not None}
        runs = sweep.runs
        begun = sum(1 for cell, run in runs.items() if not run.is_finished and cell not in reasons)
        waiting = sum(1 for cell in sweep.sweep.cells if cell not in runs and cell not in reasons)
        pieces: list[Piece] = []
        if reasons:
            rows = [[cell.name, reason] for cell, reason in list(reasons.items())[:MOST_ROWS]]
            more = f"{len(reasons) - MOST_ROWS} more failed." if len(reasons) > MOST_ROWS else ""
            pieces.append(Grid(["failed cell", "why"], rows, more))
        if begun or waiting:
            pieces.append(Text(f"{begun} begun, but not finished; {waiting} not begun."))
        return pieces or None
