"""A client that attacks, alone: with its data, its training, and its own row. Nobody tells it what the others send."""

from dataclasses import replace

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from torch import nn

from phalanx.attacks import Adversary
from phalanx.core import rng
from phalanx.core.capabilities import Capability, require
from phalanx.core.families import Trainer, UpdateAttack
from phalanx.core.types import AttackView, RoundContext, Rows, State
from phalanx.flower.client import Task, number_of, recalled, remember, round_of
from phalanx.flower.guarded import ARRAYS
from phalanx.flower.wire import Wire

ATTACK, LAST, WHEN = "attack/", "attacker/params", "attacker/round"
MEMORY = "phalanx.attacker"


def check_alone(update: UpdateAttack | None) -> None:
    """Raises: CapabilityError if the attack needs what attackers on machines of their own do not have: each other's rows."""
    if update is not None:
        given = {Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS, Capability.MODEL}
        require(type(update).__name__, update.needs, given)


def attack(
    task: Task, state: State, adversary: Adversary, trainer: Trainer, *, attacker: int, num_updates: int
) -> tuple[Rows, State]:
    """The row of attacker number `attacker`, and what he remembers.

    `trainer` is the honest one; `num_updates` is how many rows he takes the server to get.
    """
    context = _watching(task.context, state)
    task = replace(task, context=context)
    hooks = adversary.client.hooks() if adversary.client else ()
    cohort = replace(task.cohort, poison=adversary.data, attackers=(attacker,), hooks=hooks)
    training = adversary.client.training(trainer) if adversary.client else trainer
    rows, memory = task.train(training, state, cohort)
    if adversary.update is None:
        return rows, {**memory, **_seen(context)}
    view = AttackView(
        own=rows.matrix.clone(),
        own_clean=lambda: task.train(trainer, state)[0].matrix,
        num_updates=num_updates,
        previous_update=context.previous_update,
        own_ids=torch.tensor([task.client]),
        own_samples=lambda: task.cohort.samples,
        own_buffers=rows.buffers.clone(),
    )
    after = _craft(rows, adversary.update, view, state, context, task.client)
    return rows, {**memory, **after}


def attacking(attack: UpdateAttack, *, model: nn.Module | None = None, num_updates: int = 10, seed: int = 0) -> Mod:
    """A Flower mod that makes any client app an attacker: it sends what `attack` makes of its honest answer.

        app = ClientApp(mods=[attacking(SignFlip(scale=20.0))])

    It knows its own row, and how the model moved since it was last asked. `num_updates` is how many rows it takes the server to
    get; `model` is what `RobustStrategy` has it for. An answer that is malformed already is left as it is.

    Raises: CapabilityError for an attack that needs other clients' rows.
    """
    check_alone(attack)

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply, received = call_next(message, context), message.content.array_records[ARRAYS]
        wire = Wire.of(received, model)
        answer = wire.checked(reply.content) if reply.has_content() else "error"
        if isinstance(answer, str):
            return reply
        params, buffers = wire.flat(received)
        rows, state = Rows.empty(1, wire.layout), recalled(context, MEMORY)
        wire.read_into(answer, rows, 0, params)
        now = _watching(RoundContext(round_of(message), seed, wire.layout, params, buffers, model=model), state)
        honest = rows.matrix.clone()
        view = AttackView(
            honest, lambda: honest, num_updates, previous_update=now.previous_update, own_buffers=rows.buffers.clone()
        )
        remember(context, MEMORY, _craft(rows, attack, view, state, now, number_of(context)))
        row, statistics = rows.matrix[0], rows.buffers[0]
        spoilt = wire.update(row, statistics)
        if not answer.is_update:
            [name] = reply.content.array_records
            spoilt = RecordDict({name: wire.arrays(params + row, statistics)})
        reply.content = RecordDict({**reply.content, **spoilt})
        return reply

    return mod


def _watching(context: RoundContext, state: State) -> RoundContext:
    """What everybody sees who took part in the last round: how the model moved."""
    if WHEN not in state or int(state[WHEN]) != context.round - 1:
        return context
    return replace(context, previous_update=context.global_params - state[LAST])


def _craft(rows: Rows, update: UpdateAttack, view: AttackView, state: State, context: RoundContext, client: int) -> State:
    """Put what the attack makes into the one row; what this attacker remembers."""
    before = {name.removeprefix(ATTACK): tensor for name, tensor in state.items() if name.startswith(ATTACK)}
    # Attackers of one process share a generator; these do not, or all of them would send the same noise.
    alone = replace(context, seed=rng.derive(context.seed, "attacker alone", client=client))
    crafted, after = update.craft(view, before or update.init(context.layout), alone)
    rows.matrix.copy_(crafted.rows)
    if crafted.buffers is not None:
        rows.buffers.copy_(crafted.buffers)
    return {**_seen(context), **{ATTACK + name: tensor for name, tensor in after.items()}}


def _seen(context: RoundContext) -> State:
    return {LAST: context.global_params, WHEN: torch.tensor(context.round)}
