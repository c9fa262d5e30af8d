"""A round's end on the server, as simulator and network share it: the rule, the buffers, the server's own training."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator, Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, Cohort, Root, RoundContext, Rows, Samples, State, Updates


def aggregate(rule: Aggregator, updates: Updates, memory: State, context: RoundContext) -> tuple[Aggregate, State, str | None]:
    """The rule's result, its memory, and why the model is kept if it is: too few rows, none accepted, not finite.

    The update is a copy: the matrix that it may point into is overwritten by the next round.

    Raises: ConfigError if the rule returns something that is no update.
    """
    try:
        result, new_memory = rule.aggregate(updates, memory, context)
    except PreconditionError as error:
        return Aggregate(None), memory, str(error)
    update, d = result.update, context.layout.d
    if update is None:
        return result, new_memory, "The rule accepted no update."
    if list(update.shape) != [d]:
        raise ConfigError(f"{type(rule).__name__} must return an update of shape {[d]}; got {list(update.shape)}.")
    if result.influence is not None and list(result.influence.shape) != [len(updates)]:
        expected, got = [len(updates)], list(result.influence.shape)
        raise ConfigError(f"{type(rule).__name__} must return influence of shape {expected}; got {got}.")
    if not update.isfinite().all():
        return Aggregate(None), memory, "The rule's result was not finite."
    return replace(result, update=update.to(context.global_params, copy=True)), new_memory, None


def combined_buffers(result: Aggregate, updates: Updates, context: RoundContext) -> Tensor:
    """BatchNorm statistics and the like `[b]`: the median of each value over the clients that had influence, or over all.

    Rules judge updates, so a client whose update is like the others' may send any statistics: in a mean one could decide them,
    and with them what the model says. Only a rule that says what the buffers are, as the plain mean does, is taken at its word.
    """
    sent, influence = updates.buffers, result.influence
    if result.update is None or context.layout.b == 0:
        return context.global_buffers
    if result.buffers is not None:
        combined = result.buffers.clone()
    else:
        counted = sent if influence is None else sent[(influence > 0).to(sent.device)]
        if not len(counted):
            return context.global_buffers
        ascending, n = counted.sort(dim=0).values, len(counted)  # quantile refuses more than 16 million numbers
        combined = torch.lerp(ascending[(n - 1) // 2], ascending[n // 2], 0.5)
    return combined if combined.isfinite().all() else context.global_buffers


def valid_buffers(buffers: Tensor, layout: Layout) -> Tensor:
    """A copy of `[b]` without variances below 0, whatever was sent: with these no model gives an answer."""
    valid = buffers.clone()
    for name, values in layout.buffer_views(valid).items():
        if name.endswith("running_var"):
            values.clamp_(min=0)
    return valid


def root(samples: Samples, trainer: Trainer, context: RoundContext) -> Root:
    """The server as one more client, which trains on its own samples once a rule asks for the update."""

    @cache
    def update() -> Tensor:
        device = context.global_params.device
        rows, everything = Rows.empty(1, context.layout, device=device), torch.arange(len(samples), device=device)
        trainer.train(Cohort((-1,), (0,), samples, (everything,)), {}, context, rows)
        return rows.matrix[0]

    return Root(samples, update)


def owned(memory: State, *rows: Rows) -> State:
    """A component's memory without views of `rows`: these are overwritten by the next round, or kept alive as a whole."""
    reused = {tensor.untyped_storage().data_ptr() for each in rows for tensor in (each.matrix, each.buffers)}
    return {
        name: tensor.clone() if tensor.untyped_storage().data_ptr() in reused else tensor for name, tensor in memory.items()
    }
