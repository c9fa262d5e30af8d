"""`client_app`: any trainer of Phalanx as a Flower client, with its own data and a memory that stays on its machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status
from phalanx.flower.guarded import ARRAYS, CONFIG, ROUND
from phalanx.flower.wire import Wire

MEMORY, METRICS = "phalanx.memory", "metrics"
NO_SAMPLES = 1000  # error codes from 1000 on are an app's own


@dataclass(frozen=True)
class Task:
    """What a client was asked to do in a round: `cohort` holds this client alone."""

    cohort: Cohort
    context: RoundContext
    wire: Wire

    @property
    def client(self) -> int:
        """This client's number, which its random choices depend on."""
        return self.cohort.ids[0]

    def train(self, trainer: Trainer, state: State, cohort: Cohort | None = None) -> tuple[Rows, State]:
        """One row of what the trainer makes of this client's data, and its new memory."""
        rows = Rows.empty(1, self.wire.layout)
        return rows, trainer.train(cohort or self.cohort, state, self.context, rows)


Work = Callable[[Task, State], tuple[Rows, State]]
"""What a client does in a round: from its task and memory to a row and a new memory."""


def client_app(
    trainer: Trainer,
    *,
    model: Callable[[], nn.Module],
    data: Callable[[Context], Samples],
    seed: int = 0,
    run: str = "",
    mods: Sequence[Mod] = (),
) -> ClientApp:
    """A Flower client that trains with any trainer of Phalanx.

    Args:
        trainer: what it does with its data in a round. What it remembers is kept in `context.state`, and never sent.
        model: makes the module that is trained, such as its class; its initial weights do not matter.
        data: gives this client's own samples; `context.node_config` says which node it is.
        seed: of everything random. `partition-id` in the node's config, or else its node id, tells clients apart.
        run: an experiment's digest, which tells its noise from that of others with the same seed. A private trainer whose noise
            comes from the seed needs it: without an experiment the seed is no secret, and the noise could be taken off.
        mods: Flower's mods, around all of this.

    Raises: ConfigError for a private trainer whose noise the server could draw again.
    """
    mechanism = trainer.mechanism(1)
    if mechanism is not None and mechanism.is_reproducible and not run:
        raise ConfigError(
            f"The noise of {trainer.kind} would follow from seed={seed}, so that the server could take it off again; set "
            "secure_rng = true."
        )
    return working_app(
        trainer,
        lambda task, state: task.train(trainer, state),
        model=lambda samples: model(),
        data=data,
        seed=seed,
        run=run,
        mods=mods,
    )


def working_app(
    trainer: Trainer,
    work: Work,
    *,
    model: Callable[[Samples], nn.Module],
    data: Callable[[Context], Samples],
    seed: int = 0,
    run: str = "",
    mods: Sequence[Mod] = (),
) -> ClientApp:
    """A Flower client that does anything which ends in a row.

    `model` makes the module for this client's samples; `run` is the experiment's digest. Beside the row the client tells its
    numbers of samples and steps and its loss, unless `trainer` claims privacy: these have no noise.
    """
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        samples = data(context)
        task = _task(message, context, model(samples), samples, seed, run)
        before = recalled(context, MEMORY)
        rows, state = work(task, before)
        # As in the simulator: what a trainer does not mention it has not forgotten.
        remember(context, MEMORY, {**before, **state})
        if rows.status[0] != Status.SENT:
            return Message(Error(NO_SAMPLES, "This client has too few samples to train on."), reply_to=message)
        content, num_samples = task.wire.update(rows.matrix[0], rows.buffers[0]), len(task.cohort.samples)
        if trainer.mechanism(num_samples) is None:
            claims = {"num-examples": num_samples, "num-steps": int(rows.steps[0]), "loss": float(rows.loss[0])}
            content[METRICS] = MetricRecord({**claims})
        return Message(content, reply_to=message)

    return app


def recalled(context: Context, name: str) -> State:
    """What a node has kept under a name; nothing at first. Flower forgets it with the run, and with the SuperNode's process."""
    kept = context.state.array_records.get(name, ArrayRecord())
    return {key: torch.from_numpy(array.numpy()) for key, array in kept.items()}


def remember(context: Context, name: str, memory: State) -> None:
    """Keep a memory until the next message; it never leaves the node."""
    context.state[name] = ArrayRecord({key: Array(tensor.cpu().numpy()) for key, tensor in memory.items()})


def number_of(context: Context) -> int:
    """A client's number, as it has it in the simulator; where nobody gave one its node id.

    Raises: ConfigError for one that no client has: below 0 it would draw the server's random numbers.
    """
    given = context.node_config.get("partition-id", context.node_id)
    number = int(given) if isinstance(given, str) and given.isascii() and given.isdecimal() else given
    if type(number) is not int or number < 0:
        raise ConfigError(f"A node's partition-id is a whole number from 0 on; got {given!r} in its node config.")
    return number


def round_of(message: Message) -> int:
    """The round that a message is of, counted from 0."""
    server_round = message.content.config_records[CONFIG][ROUND]
    assert isinstance(server_round, int)
    return server_round - 1


def _task(message: Message, context: Context, module: nn.Module, samples: Samples, seed: int, run: str) -> Task:
    arrays = message.content.array_records[ARRAYS]
    module.load_state_dict(arrays.to_torch_state_dict())
    wire = Wire.of(arrays, module)
    params, buffers = wire.flat(arrays)
    client = number_of(context)
    round_context = RoundContext(round_of(message), seed, wire.layout, params, buffers, model=module)
    cohort = Cohort((client,), (0,), samples, (torch.arange(len(samples)),))
    return Task(cohort, replace(round_context, input_shape=tuple(samples.images.shape[1:]), run=run), wire)
