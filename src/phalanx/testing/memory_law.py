"""The law of rules that remember, over three rounds."""

import dataclasses

import torch
from torch import Tensor

from phalanx.core.families import Aggregator
from phalanx.core.types import State
from phalanx.core.updates import Updates
from phalanx.testing.comparing import agree, update_of
from phalanx.testing.scenes import context_for


def memory_goes_by_client(rule: Aggregator, matrix: Tensor) -> None:
    """Three rounds of a rule that remembers, in which clients come, go and stand in another order.

    What is remembered of whom goes by id: the same rows under the same ids give the same results and the same memory in any
    order. The memory that comes in is not modified, going on from a copy of it gives the same bits, and nothing is forgotten
    of a client that is away.
    """
    n, generator = len(matrix), torch.Generator().manual_seed(len(matrix))
    context = context_for(rule, matrix)
    memory = turned = rule.init(context.layout)
    for round, newcomers in enumerate((0, n // 2, 1)):
        ids = torch.arange(n) + newcomers * (torch.arange(n) > 0)  # client 0 is always there
        rows, order = matrix.roll(round, dims=0) * (1 + round / 4), torch.randperm(n, generator=generator)
        context = dataclasses.replace(context, round=round)
        copy = {name: tensor.clone() for name, tensor in memory.items()}
        one, after = rule.aggregate(_updates(rows, ids), memory, context)
        assert _same_bits(memory, copy), "the rule modified the memory that it was given"
        again, after_again = rule.aggregate(_updates(rows, ids), copy, context)
        update = update_of(one, matrix)
        assert torch.equal(update, update_of(again, matrix)), "going on from a copy of the memory gives other bits"
        assert _same_bits(after, after_again), "going on from a copy of the memory gives other memory"
        if not after:
            return
        other, turned = rule.aggregate(_updates(rows[order.to(rows.device)], ids[order]), turned, context)
        agree(update_of(other, matrix), update, rows)
        shapes, turned_shapes = ({name: list(kept.shape) for name, kept in state.items()} for state in (after, turned))
        assert turned_shapes == shapes, f"in another order it remembers {turned_shapes} instead of {shapes}"
        rounding = n * torch.finfo(rows.dtype).eps * rows.abs().max()  # of a sum of all rows, which may be zero but for that
        for name in (name for name, kept in after.items() if kept.numel()):
            error = (turned[name].double() - after[name].double()).abs().max()  # memory may be small differences of rows
            assert error <= 1e-3 * after[name].abs().max() + rounding, f"in another order it remembers another {name}"
        for name in copy:
            client = name.partition(".")[0]
            is_away = client.isdecimal() and int(client) not in ids
            is_kept = name in after and torch.equal(after[name], copy[name])
            assert is_kept or not is_away, f"client {client} was away, and {name} has changed"
        context = dataclasses.replace(context, previous_update=update, global_params=context.global_params + update)
        memory = after


def _updates(matrix: Tensor, ids: Tensor) -> Updates:
    return dataclasses.replace(Updates.of(matrix), ids=ids)


def _same_bits(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
