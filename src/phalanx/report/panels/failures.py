"""The cells of a sweep that have no score, and why."""

from collections.abc import Sequence

from phalanx.report.group import Subject
from phalanx.report.numbers import count
from phalanx.report.panel import Grid, Panel, Piece, Text, left_out

MOST_ROWS, MOST_NAMED = 100, 3


class Failures(Panel):
    """Failed cells by their reason, for one cause often fails many; unfinished ones are counted."""

    title = "Without a score"
    explains = "Cells that failed, and cells that are still to come. phalanx sweep goes on with both."
    place = 15

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A table of the failed, a sentence about the unfinished; nothing when all is done."""
        if subject.sweep is None:
            return None
        sweep = subject.sweep
        reasons = sweep.cells_by_reason
        failed = {cell for cells in reasons.values() for cell in cells}
        runs = sweep.runs
        begun = sum(1 for cell, run in runs.items() if not run.is_finished and cell not in failed)
        waiting = sum(1 for cell in sweep.sweep.cells if cell not in runs and cell not in failed)
        pieces: list[Piece] = []
        if reasons:
            rows = [[_named([cell.name for cell in cells]), reason] for reason, cells in reasons.items()]
            pieces.append(Grid(["failed", "why"], rows[:MOST_ROWS]))
            pieces += left_out(len(rows) - MOST_ROWS, "more reason", "phalanx show --json has them all")
        if begun or waiting:
            pieces.append(Text(f"{begun} begun, but not finished; {waiting} not begun."))
        return pieces or None


def _named(cells: Sequence[str]) -> str:
    """
    >>> _named(["a"]), _named(["a", "b", "c"]), _named(["a", "b", "c", "d", "e"])
    ('a', '3 cells: a; b; c', '5 cells: a; b; c; …')
    """
    if len(cells) == 1:
        return cells[0]
    return f"{count(len(cells), 'cell')}: {'; '.join([*cells[:MOST_NAMED], *(['…'] if len(cells) > MOST_NAMED else [])])}"
