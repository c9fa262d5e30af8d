"""`phalanx sweep`: from a file to a folder with a run for every cell, and to leaderboards."""

import json
from pathlib import Path
from typing import Any

from phalanx.cli.sweep_progress import SweepProgress
from phalanx.cli.terminal import console
from phalanx.core.errors import CheckpointError, PhalanxError, Stopped
from phalanx.core.files import write_atomically
from phalanx.core.toml import parse_setting
from phalanx.experiments import Leaderboard, Sweep, SweepRecord, leaderboards, losses, run_sweep
from phalanx.experiments.sweep_record import FILE
from phalanx.report.numbers import count
from phalanx.report.tables import rich_table, to_csv, to_document, to_latex, to_markdown
from phalanx.report.worst_cases import to_markdown as worst_cases_to_markdown

WORST_CASES = "worst_cases.md"


def sweep_file(
    file: Path, settings: list[str], out: Path | None, *, jobs: int | None, dry_run: bool, as_json: bool = False
) -> None:
    """Run the cells of a sweep that are not finished, and show and write its leaderboards.

    Raises: PhalanxError if a cell failed; the reasons have been said.
    """
    sweep = Sweep.load(file, dict(map(parse_setting, settings)))
    folder = out or default_folder(file)
    if dry_run:
        _say_what_is_left(SweepRecord.of(folder, sweep), as_json=as_json)
        return
    shown = console(stderr=as_json)
    if kept := _cells_of_another_sweep(sweep, folder):
        text = f"{folder} held another sweep, of which it keeps {count(kept, 'cell')}."
        console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    try:
        with SweepProgress(sweep, shown) as progress:
            record = run_sweep(sweep, out=folder, jobs=jobs, listeners=[progress])
    except Stopped:  # the leaderboards are of this sweep, too, as far as it has come
        reached = SweepRecord.of(folder, sweep)
        write(leaderboards(reached), folder)
        write_worst_cases(reached)
        raise
    boards = leaderboards(record)
    written = [*write(boards, folder), *write_worst_cases(record)]
    if as_json:
        print(json.dumps(document(record, boards), indent=2))  # noqa: T201 - the command's output
    else:
        for board in boards:
            shown.print(rich_table(board))
            shown.print()
        if written:
            shown.print(f"{folder}: {', '.join(written)}", markup=False, highlight=False, soft_wrap=True)
            shown.print(f"Next: phalanx report {folder}", markup=False, highlight=False, soft_wrap=True)
    _fail(record)


def default_folder(file: Path) -> Path:
    """runs/STEM; for the sweep.toml of a sweep's own folder that folder."""
    return file.parent if file.name == FILE and (file.parent / "cells").is_dir() else Path("runs") / file.stem


def write(boards: tuple[Leaderboard, ...], folder: Path) -> list[str]:
    """Write the leaderboards as CSV, Markdown and LaTeX; the files' names. If no cell has finished, there are none afterwards.

    Raises: CheckpointError if the folder cannot be written.
    """
    texts = {"leaderboard.csv": to_csv, "leaderboard.md": to_markdown, "leaderboard.tex": to_latex}
    if not boards:
        for name in texts:
            (folder / name).unlink(missing_ok=True)
        return []
    for name, form in texts.items():
        write_atomically(folder / name, form(boards).encode())
    return list(texts)


def write_worst_cases(record: SweepRecord) -> list[str]:
    """Write what the worst attack costs each rule as Markdown, if the sweep crosses rules, attacks and no attack.

    Raises: CheckpointError if the folder cannot be written.
    """
    maps, path = [found for found in losses(record) if found.worst], record.folder / WORST_CASES
    if not maps:
        path.unlink(missing_ok=True)
        return []
    write_atomically(path, worst_cases_to_markdown(maps, record.sweep.axes[-2].name).encode())
    return [WORST_CASES]


def document(record: SweepRecord, boards: tuple[Leaderboard, ...]) -> dict[str, Any]:
    """What `--json` prints: how far the sweep is, the leaderboards (shares, not percent), and why cells failed."""
    return {
        "kind": "sweep",
        "folder": str(record.folder),
        "num_cells": len(record.sweep.cells),
        "num_finished": sum(run.is_finished for run in record.runs.values()),
        "leaderboards": [to_document(board) for board in boards],
        "failures": [
            {"cell": cell.name, "folder": str(record.folder_of(cell)), "reason": reason}
            for cell in record.sweep.cells
            if (reason := record.failure(cell)) is not None
        ],
    }


def _cells_of_another_sweep(sweep: Sweep, folder: Path) -> int:
    """How many runs of the folder's last sweep are none of this one's: folders are named after files, and two may share one."""
    try:
        last = SweepRecord.read(folder)
    except CheckpointError:  # none, or a damaged one, which is replaced
        return 0
    names = {cell.folder_name for cell in sweep.cells}
    return sum(cell.folder_name not in names and last.folder_of(cell).exists() for cell in last.sweep.cells)


def _say_what_is_left(record: SweepRecord, *, as_json: bool) -> None:
    counts = dict.fromkeys(("finished", "failed before", "to go on", "to run"), 0)
    for cell in record.sweep.cells:
        if record.final(cell) is not None:
            counts["finished"] += 1
        elif cell.folder_name in record.failures:
            counts["failed before"] += 1
        else:
            has_begun = (record.folder_of(cell) / "config.toml").exists()
            counts["to go on" if has_begun else "to run"] += 1
    if as_json:
        found = {f"num_{name.replace(' ', '_')}": cells for name, cells in counts.items()}
        document = {"kind": "sweep", "folder": str(record.folder), "num_cells": len(record.sweep.cells), **found}
        print(json.dumps(document))  # noqa: T201
        return
    parts = ", ".join(f"{cells} {name}" for name, cells in counts.items())
    text = f"{len(record.sweep.cells)} cells in {record.folder}: {parts}. The fields of every cell are valid; nothing was run."
    console().print(text, markup=False, highlight=False, soft_wrap=True)


def _fail(record: SweepRecord) -> None:
    for reason, cells in record.cells_by_reason.items():
        which = cells[0].name if len(cells) == 1 else f"{len(cells)} cells, the first of them {cells[0].name}"
        console(stderr=True).print(f"failed: {which}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if failed := sum(map(len, record.cells_by_reason.values())):
        raise PhalanxError(f"{failed} of {len(record.sweep.cells)} cells failed; the same command tries them again.")
