"""Forked workers that write into one shared matrix.

A worker has one thread and one core, and may have a GPU. A client's row does not depend on who trains it, so on the CPU results
are the same bytes for any number of workers.
"""

import atexit
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self, cast

import torch
from safetensors.torch import load
from torch import Tensor, nn

from phalanx.core.errors import ConfigError, WorkerError
from phalanx.core.families import Trainer
from phalanx.core.params import Layout
from phalanx.core.processes import cause_of_death, own_core
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State
from phalanx.training.engines.loop import use_channels_last
from phalanx.training.shared import shared_rows, shared_tensor
from phalanx.training.worker import Piece, Shared, Task, Worker, pack, send


class WorkerPool:
    """`num_workers` forked processes for each device, with one thread on one core each. Use it as a context manager.

    Small models do not gain from torch's own threads, they gain from this: clients are independent. A worker that dies ends the
    pool with a WorkerError, and all workers end with this process. Rows are on the CPU; a worker with a GPU trains there and
    copies its rows.

    Raises: ConfigError without `fork`, for a model that is not on the CPU, or for GPUs after this process has used CUDA.
    """

    def __init__(
        self,
        num_workers: int,
        model: nn.Module,
        samples: Samples,
        clients: tuple[Tensor, ...],
        layout: Layout,
        capacity: int,
        scratch: int = 0,
        devices: Sequence[torch.device] = (torch.device("cpu"),),
    ) -> None:
        if not hasattr(os, "fork"):
            raise ConfigError(f"workers = {num_workers} needs an operating system with fork; set workers = 1.")
        device = next(model.parameters()).device
        if device.type != "cpu":
            raise ConfigError(f"workers = {num_workers} needs the model on the CPU; it is on {device}. Set workers = 1.")
        if any(place.type == "cuda" for place in devices) and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise ConfigError(
                "Workers for GPUs are forked, which CUDA allows only before its first use; this process has used it. "
                "Start a new process, or set one device and workers = 1."
            )
        use_channels_last(model)
        shared = Shared(
            rows=shared_rows(capacity, layout),
            scratch=shared_rows(scratch, layout),
            global_params=shared_tensor(layout.d),
            global_buffers=shared_tensor(layout.b),
            previous_update=shared_tensor(layout.d),
        )
        self._workers = [
            Worker(model, samples, clients, layout, shared, place) for place in devices for _ in range(num_workers)
        ]
        self._samples, self._shared = samples, shared
        self._processes: dict[Connection, Any] = {}

    @property
    def rows(self) -> Rows:
        """Room for a round's clients."""
        return self._shared.rows

    @property
    def scratch(self) -> Rows:
        """Room for training that nobody sends."""
        return self._shared.scratch

    def __enter__(self) -> Self:
        atexit.register(self._kill)
        try:
            self._fork()
        except OSError as error:
            self._kill()
            raise WorkerError(f"{len(self._workers)} workers cannot be started: {error.strerror}. Set fewer.") from None
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._kill()

    def train(self, trainer: Trainer, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train the cohort into `out`, which is `rows` or `scratch` or the first of them; the new state of its clients.

        Raises: WorkerError if a worker died or failed; the pool is then closed.
        """
        if not self._processes:
            raise WorkerError("The worker pool is closed; open a new one.")
        if cohort.samples is not self._samples:
            raise WorkerError("The workers hold other samples than the cohort's; train it in this process.")
        shared = self._shared
        shared.global_params.copy_(context.global_params)
        shared.global_buffers.copy_(context.global_buffers)
        if context.previous_update is not None:
            shared.previous_update.copy_(context.previous_update)
        task = Task(
            trainer=trainer,
            poison=cohort.poison,
            hooks=cohort.hooks,
            round=context.round,
            seed=context.seed,
            run=context.run,
            has_previous_update=context.previous_update is not None,
            is_scratch=self._is_scratch(out),
        )
        try:
            return self._distribute(task, list(_pieces(cohort, state, len(self._workers))))
        except BaseException:
            self._kill()
            raise

    def _fork(self) -> None:
        fork = multiprocessing.get_context("fork")
        for number, worker in enumerate(self._workers):
            ours, theirs = fork.Pipe()
            core = own_core(number, len(self._workers))
            # A child closes the ends that are the parent's: as long as one is open, the parent's death ends no pipe.
            foreign = [*self._processes, ours]
            process = fork.Process(target=worker.serve, args=(theirs, foreign, core), daemon=True)
            process.start()
            theirs.close()
            self._processes[ours] = process

    def _is_scratch(self, out: Rows) -> bool:
        for is_scratch, rows in enumerate((self.rows, self.scratch)):
            if out.matrix.untyped_storage().data_ptr() == rows.matrix.untyped_storage().data_ptr():
                return bool(is_scratch)
        raise WorkerError("Workers write into the pool's rows or scratch; got rows that are neither.")

    def _distribute(self, task: Task, pieces: list[Piece]) -> State:
        """Hand out pieces, the next one to whoever is done, and merge their states in the order of the pieces."""
        states: list[State] = [{}] * len(pieces)
        waiting, busy, idle = list(enumerate(pieces)), dict[Connection, int](), list(self._processes)
        while waiting or busy:
            while waiting and idle:
                number, piece = waiting.pop(0)
                connection = idle.pop(0)
                self._send(connection, task, piece)
                busy[connection] = number
            for connection in cast(list[Connection], wait(list(busy))):
                states[busy.pop(connection)] = self._receive(connection)
                idle.append(connection)
        return {name: value for state in states for name, value in state.items()}

    def _send(self, connection: Connection, task: Task, piece: Piece) -> None:
        try:
            send(connection, task, piece)
        except OSError:
            raise self._death(connection) from None

    def _receive(self, connection: Connection) -> State:
        try:
            answer = connection.recv()
        except (EOFError, OSError):
            raise self._death(connection) from None
        if isinstance(answer, str):
            raise WorkerError(answer)
        return load(answer)

    def _death(self, connection: Connection) -> WorkerError:
        how = cause_of_death(self._processes[connection])
        return WorkerError(f"A training worker died ({how}); was it killed, or the machine out of memory? Start the run again.")

    def _kill(self) -> None:
        atexit.unregister(self._kill)
        for process in self._processes.values():
            process.kill()  # not terminate: workers ignore SIGTERM
        for connection, process in self._processes.items():
            process.join()
            process.close()
            connection.close()
        self._processes = {}


def _pieces(cohort: Cohort, state: State, num_workers: int) -> Iterator[Piece]:
    """The clients with most samples first, in pieces that get smaller, so that all workers are done at the same time."""
    order = sorted(range(len(cohort)), key=lambda i: -len(cohort.index[i]))
    entries: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        entries.setdefault(name.partition(".")[0], {})[name] = value
    left = sum(len(index) + 1 for index in cohort.index)
    while order:
        taken, chosen = 0, list[int]()
        while order and (not chosen or taken < left / (2 * num_workers)):
            chosen.append(order.pop(0))
            taken += len(cohort.index[chosen[-1]]) + 1
        left -= taken
        ids = tuple(cohort.ids[i] for i in chosen)
        yield Piece(
            ids=ids,
            places=tuple(cohort.places[i] for i in chosen),
            attackers=tuple(cohort.attackers[i] for i in chosen) if cohort.attackers else (),
            state=pack({name: value for client in ids for name, value in entries.get(str(client), {}).items()}),
        )
