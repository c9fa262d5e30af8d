"""Forked processes that run a sweep's cells, one after the other, each with one thread on one core.

A process lives as long as the sweep: what torch takes to import and a data set to read is not paid for every cell. It inherits
the cells at the fork, so only a cell's number and its events travel, by a pipe that no other process can write to.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import torch

from phalanx.core.errors import PhalanxError, Stopped, WorkerError
from phalanx.core.events import Event
from phalanx.core.families import Dataset
from phalanx.core.files import refuse_link
from phalanx.core.processes import cause_of_death, die_with_parent, own_core, pin
from phalanx.core.types import DataSplit
from phalanx.experiments.run import run_on
from phalanx.experiments.signals import StopRequest
from phalanx.experiments.sweep import Cell
from phalanx.simulation.devices import may_use_gpus

SECONDS_BETWEEN = 0.2
"""How often a cell tells of its rounds: a thousand small ones a second would keep the parent busy."""


@dataclass
class _Job:
    process: BaseProcess
    place: int
    cell: int | None = None


class Jobs:
    """`count` processes that run the cells, given as `(cell, folder)`. Use it as a context manager.

    Each has a core, and of several `[run] devices` one, in turns; how a cell's training is spread does not decide its result.
    One that dies takes only its cell with it: another takes its place. All end with this process.

    Raises: WorkerError if a process cannot be started.
    """

    def __init__(self, count: int, cells: Sequence[tuple[Cell, Path]], request: StopRequest) -> None:
        self._cells, self._request = cells, request
        self._jobs: dict[Connection, _Job] = {}
        self._count = count

    def __enter__(self) -> Self:
        try:
            for place in range(self._count):
                self._fork(place)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    @property
    def are_busy(self) -> bool:
        """Whether a cell is running."""
        return any(job.cell is not None for job in self._jobs.values())

    @property
    def have_room(self) -> bool:
        """Whether a process waits for a cell."""
        return any(job.cell is None for job in self._jobs.values())

    def give(self, number: int) -> None:
        """Let a waiting process run the cell of this number."""
        connection = next(connection for connection, job in self._jobs.items() if job.cell is None)
        self._jobs[connection].cell = number
        try:
            connection.send(number)
        except OSError:
            return  # it died while it waited: `events` finds its pipe at the end, and says so

    def events(self, seconds: float) -> Iterator[tuple[int, Event]]:
        """What the cells say within `seconds`; the last word of each is "finished", "failed" or "stopped"."""
        for connection in cast(list[Connection], wait(list(self._jobs), seconds)):
            job = self._jobs[connection]
            try:
                event: Event = connection.recv()
            except (EOFError, OSError):
                event = self._bury(connection)
            number = job.cell
            if event.kind in ("finished", "failed", "stopped"):
                job.cell = None
            if number is not None:
                yield number, event

    def stop(self) -> None:
        """Ask the running cells to save themselves and stop."""
        for job in self._jobs.values():
            if job.cell is not None and job.process.pid is not None and job.process.is_alive():
                os.kill(job.process.pid, signal.SIGTERM)

    def _fork(self, place: int) -> None:
        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe()
        # A child closes the ends that are the parent's: as long as one is open, the parent's death ends no pipe.
        process = fork.Process(target=self._serve, args=(theirs, [*self._jobs, ours], place), daemon=False)
        try:
            process.start()
        except OSError as error:
            raise WorkerError(f"A process for the sweep cannot be started: {error.strerror}. Lower --jobs.") from None
        theirs.close()
        self._jobs[ours] = _Job(process, place)

    def _bury(self, connection: Connection) -> Event:
        """Put another in the place of a process that died; what its cell failed with."""
        job = self._jobs.pop(connection)
        connection.close()
        how = cause_of_death(job.process)
        self._fork(job.place)
        reason = f"Its process died ({how}); was it killed, or the machine out of memory? The same sweep tries it again."
        return Event("failed", 0, {"reason": reason})

    def _end(self) -> None:
        """Let the processes end: the waiting at once, the running (after an error in this one) when they have saved."""
        self.stop()
        for connection in self._jobs:
            connection.close()
        for job in self._jobs.values():
            job.process.join()
            job.process.close()
        self._jobs = {}

    def _serve(self, connection: Connection, foreign: list[Connection], place: int) -> None:
        """A process' life: read a cell's number, run it, say how it ended; until the pipe ends."""
        die_with_parent()
        for end in foreign:
            end.close()
        torch.set_num_threads(1)
        pin(own_core(place, self._count))
        loaded = _Loaded()
        try:
            while True:
                cell, folder = self._cells[connection.recv()]
                teller = _Teller(connection, self._request)
                connection.send(_outcome(cell, folder, place, loaded, teller))
        except (EOFError, OSError):
            return


class _Loaded:
    """The samples of the last cell: most sweeps have one data set, and unpacking it takes longer than a small cell's rounds."""

    def __init__(self) -> None:
        self._dataset: Dataset | None = None
        self._split: DataSplit | None = None

    def of(self, dataset: Dataset) -> DataSplit:
        """All samples of a data set. Raises: DataError."""
        if self._split is None or self._dataset != dataset:
            self._split = None  # before the next one comes: two may be more than fits
            self._dataset, self._split = dataset, dataset.load()
        return self._split


@dataclass
class _Teller:
    """A sink in the process of a cell: it passes on what shows progress, and stops the run if that was asked for."""

    connection: Connection
    request: StopRequest
    _last: float = field(default=0.0)

    def emit(self, event: Event) -> None:
        """Tell the parent, not too often."""
        if self.request.number:  # noted before the rounds began; the run's own handler saves it
            signal.raise_signal(signal.SIGTERM)
        now = time.monotonic()
        if event.kind == "round" and now - self._last < SECONDS_BETWEEN:
            return
        self._last = now
        values = event.values if event.kind == "evaluation" else {}
        try:
            self.connection.send(replace(event, values=values))
        except OSError:  # the parent is gone
            signal.raise_signal(signal.SIGTERM)


def _outcome(cell: Cell, folder: Path, place: int, loaded: _Loaded, teller: _Teller) -> Event:
    settings = cell.experiment.run
    # One worker would make "auto" a GPU, where several make it the CPU.
    devices = settings.devices if may_use_gpus(settings) else ("cpu",)
    device = devices[place % len(devices)]
    experiment = replace(cell.experiment, run=replace(settings, workers=1, devices=(device,)))
    try:
        refuse_link(folder)  # a run's own folder may be one, but a sweep's cells lie in the sweep's
        result = run_on(lambda: loaded.of(experiment.data), experiment, out=folder, sinks=[teller])
        return Event("finished", settings.rounds, result.summary["final"])
    except Stopped:
        return Event("stopped", 0, {})
    except PhalanxError as error:
        return Event("failed", 0, {"reason": str(error)})
    except Exception as error:  # noqa: BLE001 - whatever a third party's component raises costs its cell only
        return Event("failed", 0, {"reason": f"{type(error).__name__}: {error}"})
