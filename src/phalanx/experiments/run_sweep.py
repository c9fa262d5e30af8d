"""`run_sweep`: every cell of a sweep in its folder, several at a time; what is finished is skipped, what fails is told."""

import shlex
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

import tomli_w

from phalanx.core.errors import CheckpointError, ConfigError, Stopped
from phalanx.core.events import Event
from phalanx.core.files import refuse_link, write_atomically
from phalanx.core.json_files import to_json
from phalanx.core.processes import cores
from phalanx.experiments.forecheck import check_machine
from phalanx.experiments.jobs import Jobs
from phalanx.experiments.signals import StopRequest, noted_signals
from phalanx.experiments.sweep import Cell, Sweep
from phalanx.experiments.sweep_record import CELLS, FAILURES, FILE, SweepRecord
from phalanx.server.lock import locked

SECONDS = 0.25  # how long a stop request waits, at most


class SweepListener(Protocol):
    """Who is told how a sweep goes on, from the sweep's own thread."""

    def emit(self, cell: Cell, event: Event) -> None:
        """Take an event of a cell: "started", "resumed", "round" and "evaluation" (not each of them), then "finished" with the
        final row, "failed" with a reason, or "stopped". Cells that were finished before are "found", with their final row."""

    def tick(self) -> None:
        """Called a few times a second."""


def run_sweep(
    sweep: Sweep | str | Path,
    *,
    out: str | Path,
    jobs: int | None = None,
    listeners: Sequence[SweepListener] = (),
) -> SweepRecord:
    """Run all cells of a sweep that are not finished.

    Args:
        sweep: what to run, or the TOML file that says it.
        out: the sweep's folder. Another sweep may have been run in it: the cells that both share are not run again.
        jobs: how many cells at a time, each in a process with one thread on one core; None: one for each core. Cells that train
            on a GPU share it, each with its own CUDA context there: set as many as fit into its memory.
        listeners: who is told.

    Returns: what the folder holds in the end. A cell that failed has its reason there, and the others have run.
    Raises: ConfigError, DataError before any work; CheckpointError if the folder cannot be used; Stopped after Ctrl-C or
        SIGTERM, when the running cells have saved themselves.
    """
    sweep = sweep if isinstance(sweep, Sweep) else Sweep.load(sweep)
    folder, cells = Path(out), sweep.cells
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}.")
    before = SweepRecord(folder, sweep, {})
    if left := [cell.experiment for cell in cells if before.final(cell) is None]:
        check_machine(left)
    with ExitStack() as stack:
        progress = stack.enter_context(_Progress(folder, sweep, listeners))
        waiting = deque(number for number, cell in enumerate(cells) if not progress.is_finished(cell))
        if waiting:
            request = stack.enter_context(noted_signals())
            places = [(cell, progress.record.folder_of(cell)) for cell in cells]
            count = min(jobs or len(cores()) or 1, len(waiting))
            _work(stack.enter_context(Jobs(count, places, request)), waiting, progress, request)
            if request.number:
                reached = f"Stopped; {len(progress.finished)} of {len(cells)} cells are finished"
                again = f"phalanx sweep {shlex.quote(str(folder / FILE))}"
                raise Stopped(f"{reached}; go on with: {again}", exit_code=128 + request.number)
        return SweepRecord(folder, sweep, progress.failures)


class _Progress:
    """The sweep's folder while it is run: locked, and up to date about what failed."""

    def __init__(self, folder: Path, sweep: Sweep, listeners: Sequence[SweepListener]) -> None:
        self.record = SweepRecord(folder, sweep, {})
        self.listeners = listeners
        self.finished: set[str] = set()
        self.failures: dict[str, str] = {}

    def __enter__(self) -> "_Progress":
        folder, sweep = self.record.folder, self.record.sweep
        if (folder / "config.toml").exists():
            raise CheckpointError(f"{folder} is the folder of a run; choose another for the sweep with --out.")
        self._lock = locked(folder, "sweep's folder")
        with suppress(CheckpointError):  # damaged: these cells are tried again anyway
            self.failures = dict(SweepRecord.of(folder, sweep).failures)
        try:
            refuse_link(folder / CELLS)
            write_atomically(folder / FILE, tomli_w.dumps(sweep.to_tables()).encode())
        except CheckpointError:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def is_finished(self, cell: Cell) -> bool:
        """Whether a cell's result is there already; listeners are told. No data and no model is loaded for it."""
        final = self.record.final(cell)
        if final is None:
            return False
        self.finished.add(cell.folder_name)
        self.tell(cell, Event("found", cell.experiment.run.rounds, final))
        return True

    def tell(self, cell: Cell, event: Event) -> None:
        """Keep the account of what failed, then tell the listeners.

        Raises: CheckpointError if the account cannot be written.
        """
        before = dict(self.failures)
        if event.kind in ("finished", "found"):
            self.finished.add(cell.folder_name)
        if event.kind in ("started", "finished", "found"):  # what it failed with before is of no interest any more
            self.failures.pop(cell.folder_name, None)
        if event.kind == "failed":
            self.failures[cell.folder_name] = str(event.values["reason"])
        if self.failures != before:
            write_atomically(self.record.folder / FAILURES, to_json(self.failures))
        for listener in self.listeners:
            listener.emit(cell, event)


def _work(jobs: Jobs, waiting: deque[int], progress: _Progress, request: StopRequest) -> None:
    """Until every cell has run or, after a stop request, every running one has saved itself."""
    cells, is_stopping = progress.record.sweep.cells, False
    while jobs.are_busy or (waiting and not request.number):
        while waiting and jobs.have_room and not request.number:
            number = waiting.popleft()
            progress.tell(cells[number], Event("started", 0, {}))
            jobs.give(number)
        if request.number and not is_stopping:
            jobs.stop()
            is_stopping = True
        for number, event in jobs.events(SECONDS):
            progress.tell(cells[number], event)
        for listener in progress.listeners:
            listener.tick()
