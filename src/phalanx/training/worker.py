"""A worker's life: read what to train, train it into shared rows, answer; until the pipe ends.

It inherits model, samples and clients at the fork, so only what changes from round to round travels: settings, ids and states
by an unnamed pipe that no other process can write to, global parameters through shared memory. A worker with a GPU takes model
and samples there, trains there, and copies its rows into the shared ones.
"""

import signal
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from phalanx.core.errors import ConfigError, PhalanxError
from phalanx.core.families import DataAttack, StepHook, Trainer
from phalanx.core.params import Layout
from phalanx.core.processes import die_with_parent, pin
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State


@dataclass(frozen=True)
class Task:
    """What all workers are told about a cohort; a `Piece` then names the clients."""

    trainer: Trainer
    poison: DataAttack | None
    hooks: tuple[StepHook, ...]
    round: int
    seed: int
    run: str
    has_previous_update: bool
    is_scratch: bool


@dataclass(frozen=True)
class Piece:
    """Some of a cohort's clients, with their packed state."""

    ids: tuple[int, ...]
    places: tuple[int, ...]
    attackers: tuple[int, ...]
    state: bytes


@dataclass(frozen=True)
class Shared:
    """What a worker and its parent both see: the rows, and what the round starts from."""

    rows: Rows
    scratch: Rows
    global_params: Tensor
    global_buffers: Tensor
    previous_update: Tensor


@dataclass(frozen=True)
class Worker:
    """What a forked process inherits, and what it does. `device` is where it trains; the rows are on the CPU."""

    model: nn.Module
    samples: Samples
    clients: tuple[Tensor, ...]
    layout: Layout
    shared: Shared
    device: torch.device

    def serve(self, connection: Connection, foreign: list[Connection], core: int | None) -> None:
        """Read a task and a piece of it, train, answer; until the pipe ends. `foreign` are the parent's ends of pipes."""
        # Only the parent decides when to stop: Ctrl-C and SIGTERM reach the whole group, but the round is to be finished.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        die_with_parent()
        for end in foreign:
            end.close()
        torch.set_num_threads(1)
        pin(core)
        try:
            while True:
                task, piece = connection.recv()
                connection.send(self._answer(task, piece))
        except (EOFError, OSError):
            return

    def _answer(self, task: Task, piece: Piece) -> bytes | str:
        """The packed new state, or what went wrong."""
        try:
            return pack(self._work(task, piece))
        except PhalanxError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever a user's module raises is to reach the parent
            return f"Training failed in a worker: {type(error).__name__}: {error}"

    def _work(self, task: Task, piece: Piece) -> State:
        shared, device, (model, samples) = self.shared, self.device, self._there
        out = shared.scratch if task.is_scratch else shared.rows
        is_elsewhere = device != out.matrix.device
        rows = Rows.empty(len(piece.ids), self.layout, device=device) if is_elsewhere else out
        cohort = Cohort(
            ids=piece.ids,
            places=tuple(range(len(piece.ids))) if is_elsewhere else piece.places,
            samples=samples,
            index=tuple(self.clients[client] for client in piece.ids),
            poison=task.poison,
            attackers=piece.attackers,
            hooks=task.hooks,
        )
        context = RoundContext(
            round=task.round,
            seed=task.seed,
            layout=self.layout,
            global_params=shared.global_params.to(device),
            global_buffers=shared.global_buffers.to(device),
            previous_update=shared.previous_update.to(device) if task.has_previous_update else None,
            model=model,
            run=task.run,
        )
        state = {name: tensor.to(device) for name, tensor in load(piece.state).items()}
        new_state = task.trainer.train(cohort, state, context, rows)
        if is_elsewhere:
            copy(rows, out, piece.places)
        return new_state

    @cached_property
    def _there(self) -> tuple[nn.Module, Samples]:
        """Model and samples on the device. Asked for after the fork: CUDA's state cannot be inherited."""
        return self.model.to(self.device), self.samples.to(self.device)


def copy(rows: Rows, out: Rows, places: tuple[int, ...]) -> None:
    """Write all of `rows`, from whatever device, into some places of `out`."""
    for name, tensor in vars(rows).items():
        target = getattr(out, name)
        for place, row in zip(places, tensor):
            target[place].copy_(row)


def pack(state: State) -> bytes:
    """A state as bytes for the pipe, where torch would send each tensor as a shared file; `safetensors.torch.load` unpacks."""
    return save({name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()})


def send(connection: Connection, task: Task, piece: Piece) -> None:
    """Tell a worker what to do.

    Raises: OSError if it is gone; ConfigError if the task cannot travel, such as a trainer of a class made inside a function.
    """
    try:
        connection.send((task, piece))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - writing an object runs whatever its class says
        raise ConfigError(
            f"What workers are to do cannot be sent to them: {error}. "
            "Define its class at the top of a module, or set workers = 1."
        ) from None
