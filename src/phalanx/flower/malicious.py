"""A client that attacks, alone: with its data, its training, and its own row. Nobody tells it what the others send."""

from dataclasses import replace

import torch

from phalanx.attacks import Adversary
from phalanx.core import rng
from phalanx.core.capabilities import Capability, require
from phalanx.core.families import Trainer
from phalanx.core.types import AttackView, Rows, State
from phalanx.flower.client import Task

ATTACK, LAST, WHEN = "attack/", "attacker/params", "attacker/round"


def check_alone(adversary: Adversary) -> None:
    """Raises: CapabilityError if the attack needs what attackers on machines of their own do not have: each other's rows."""
    if adversary.update is not None:
        given = {Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS, Capability.MODEL}
        require(type(adversary.update).__name__, adversary.update.needs, given)


def attack(
    task: Task, state: State, adversary: Adversary, trainer: Trainer, *, attacker: int, num_updates: int
) -> tuple[Rows, State]:
    """The row of attacker number `attacker`, and what he remembers.

    `trainer` is the honest one; `num_updates` is how many rows he takes the server to get.
    """
    context = task.context
    if WHEN in state and int(state[WHEN]) == context.round - 1:  # what everybody sees: how the model moved
        context = replace(context, previous_update=context.global_params - state[LAST])
    task = replace(task, context=context)
    hooks = adversary.client.hooks() if adversary.client else ()
    cohort = replace(task.cohort, poison=adversary.data, attackers=(attacker,), hooks=hooks)
    training = adversary.client.training(trainer) if adversary.client else trainer
    rows, memory = task.train(training, state, cohort)
    memory = {**memory, LAST: context.global_params, WHEN: torch.tensor(context.round)}
    if adversary.update is None:
        return rows, memory
    view = AttackView(
        own=rows.matrix.clone(),
        own_clean=lambda: task.train(trainer, state)[0].matrix,
        num_updates=num_updates,
        previous_update=context.previous_update,
        own_ids=torch.tensor([task.client]),
        own_samples=lambda: task.cohort.samples,
    )
    before = {name.removeprefix(ATTACK): tensor for name, tensor in state.items() if name.startswith(ATTACK)}
    # Attackers of one process share a generator; these do not, or all of them would send the same noise.
    alone = replace(context, seed=rng.derive(context.seed, "attacker alone", client=task.client))
    crafted, after = adversary.update.craft(view, before or adversary.update.init(context.layout), alone)
    rows.matrix.copy_(crafted.rows)
    return rows, {**memory, **{ATTACK + name: tensor for name, tensor in after.items()}}
