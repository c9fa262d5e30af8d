"""What an aggregation rule must obey whatever its idea, as functions that anyone can run on any rule.

A law takes a rule and finite rows `[n, d]` that satisfy its precondition, and raises AssertionError with what it saw. `LAWS`
names them all. Rules differ in which of the algebraic ones they promise (a rule that clips does not commute with
translation): `check_aggregator` takes the exceptions with their reasons.
"""

import dataclasses
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, Updates
from phalanx.testing.comparing import agree, call, update_of
from phalanx.testing.memory_law import memory_goes_by_client
from phalanx.testing.scenes import context_for

Law = Callable[[Aggregator, Tensor], None]


def permutation(rule: Aggregator, matrix: Tensor) -> None:
    """The order of the rows does not matter, ties included; influence moves with its row."""
    order = torch.randperm(len(matrix), generator=torch.Generator().manual_seed(len(matrix)))
    one, other = _combine(rule, matrix), _combine(rule, matrix[order])
    agree(update_of(other, matrix), update_of(one, matrix), matrix)
    if one.influence is not None and other.influence is not None and len(torch.unique(matrix, dim=0)) == len(matrix):
        agree(other.influence, one.influence[order.to(matrix.device)], matrix.new_ones(1))


def translation(rule: Aggregator, matrix: Tensor) -> None:
    """rule(x + c) = rule(x) + c."""
    shift = torch.linspace(-2, 2, matrix.shape[1]).round().to(matrix) * matrix.abs().amax()
    agree(call(rule, matrix + shift), call(rule, matrix) + shift, matrix + shift)


def scale(rule: Aggregator, matrix: Tensor) -> None:
    """rule(s x) = s rule(x), also where float32's squares overflow or vanish (s about 1e±20, a power of two: exact)."""
    for exponent in (-66, -1, 4, 60):
        factor = 2.0**exponent
        agree(call(rule, matrix * factor), call(rule, matrix) * factor, matrix * factor)


def mean_without_byzantine(rule: Aggregator, matrix: Tensor) -> None:
    """With num_byzantine = 0 the rule is the mean; a rule without that field is the mean anyway."""
    agree(call(_with_byzantine(rule, 0), matrix), matrix.mean(dim=0), matrix)


def identical_rows(rule: Aggregator, matrix: Tensor) -> None:
    """Identical rows give that row."""
    same = matrix[:1].repeat(len(matrix), 1)
    agree(call(rule, same), matrix[0], matrix)


def coordinate_range(rule: Aggregator, matrix: Tensor) -> None:
    """Every coordinate of the result lies between the rows' smallest and largest."""
    result = call(rule, matrix)
    clamped = torch.minimum(torch.maximum(result, matrix.amin(dim=0)), matrix.amax(dim=0))
    agree(result, clamped, matrix)


def convex_hull(rule: Aggregator, matrix: Tensor) -> None:
    """Where the rule attributes, its influence is non-negative, sums to 1, and is what the rows were averaged with."""
    aggregate = _combine(rule, matrix)
    if aggregate.influence is None:
        return
    influence = aggregate.influence.double()
    if aggregate.update is None:
        assert not influence.any(), f"no update, yet influence {influence.tolist()}"
        return
    assert influence.min() >= 0, f"influence {influence.tolist()} has a negative entry"
    agree(influence.sum(), torch.ones_like(influence.sum()), matrix.new_ones(1))
    agree(update_of(aggregate, matrix), influence @ matrix.double(), matrix)


def coordinates_alone(rule: Aggregator, matrix: Tensor) -> None:
    """A rule that does not attribute works on each coordinate alone: the same bits for any block of columns."""
    if _combine(rule, matrix).influence is not None:
        return
    whole = call(rule, matrix)
    for width in (1, 2, 3):
        blocks = [call(rule, block.contiguous()) for block in torch.split(matrix, width, dim=1)]
        assert torch.equal(torch.cat(blocks), whole), (
            f"blocks of {width} columns give other bits than the whole; torch's sums along the first axis depend on the shape, "
            "those of columns.reduce_sorted_columns do not"
        )


def zeros(rule: Aggregator, matrix: Tensor) -> None:
    """Rows of zeros give zero."""
    agree(call(rule, torch.zeros_like(matrix)), torch.zeros_like(matrix[0]), matrix)


def any_number_of_rows(rule: Aggregator, matrix: Tensor) -> None:
    """For 1 row, 2, 3 …: a finite result, or a PreconditionError that names n."""
    for n in range(1, len(matrix) + 1):
        outcome = _attempt(rule, matrix[:n])
        if isinstance(outcome, PreconditionError):
            assert f"n={n}" in str(outcome), f"the error for n={n} does not say so: {outcome}"
        else:
            assert outcome.isfinite().all(), f"not finite for n={n}: {outcome.tolist()}"


def half_are_too_many(rule: Aggregator, matrix: Tensor) -> None:
    """With num_byzantine >= n / 2 no rule can promise anything: PreconditionError, never a smaller f in silence."""
    if not hasattr(rule, "num_byzantine"):
        return
    for f in ((len(matrix) + 1) // 2, len(matrix), 10 * len(matrix)):
        outcome = _attempt(_with_byzantine(rule, f), matrix)
        assert isinstance(outcome, PreconditionError), f"n={len(matrix)} rows with num_byzantine={f} give {outcome.tolist()}"
        assert str(f) in str(outcome), f"the error for num_byzantine={f} does not say so: {outcome}"


def huge_rows_leave_it_finite(rule: Aggregator, matrix: Tensor) -> None:
    """A row of 1e30 among the others is worked with, not stumbled over."""
    rows = matrix.clone()
    rows[0] = 1e30
    assert call(rule, rows).isfinite().all(), "a finite row of 1e30 makes the result non-finite"


def non_finite_rows_are_dropped(rule: Aggregator, matrix: Tensor) -> None:
    """Rows with a NaN or an infinity change no bit of what the others give."""
    expected = call(rule, matrix)
    for value in (torch.nan, torch.inf, -torch.inf):
        for columns in (slice(None), slice(-1, None)):
            bad = matrix[:1].clone()
            bad[:, columns] = value
            result = call(rule, torch.cat([matrix[:2], bad, matrix[2:], bad]))
            assert torch.equal(result, expected), f"two rows with {value} changed the result to {result.tolist()}"


def nothing_finite_is_an_error(rule: Aggregator, matrix: Tensor) -> None:
    """Only non-finite rows: PreconditionError."""
    outcome = _attempt(rule, torch.full_like(matrix, torch.nan))
    assert isinstance(outcome, PreconditionError), f"no finite row at all gives {outcome} instead of a PreconditionError"


def inputs_stay(rule: Aggregator, matrix: Tensor) -> None:
    """Neither the matrix nor anything else of the updates is modified."""
    for rows in (matrix, matrix.double()):
        updates = dataclasses.replace(Updates.of(rows.clone()), buffers=matrix.clone())
        kept = deepcopy(updates)
        context = context_for(rule, rows)
        rule.aggregate(updates, rule.init(context.layout), context)
        for name in ("matrix", "buffers", "ids", "weights"):
            assert torch.equal(getattr(updates, name), getattr(kept, name)), f"the rule modified updates.{name}"


def dtype_and_device_stay(rule: Aggregator, matrix: Tensor) -> None:
    """The result has the dtype and the device of the rows, and their length."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            result = call(rule, matrix.to(device, dtype))
            seen = (result.dtype, result.device.type, tuple(result.shape))
            assert seen == (dtype, device, (matrix.shape[1],)), f"{dtype} rows on {device} give {seen}"


def float64_is_worked_in_float64(rule: Aggregator, matrix: Tensor) -> None:
    """Rows of float64 give a result with more digits than float32 has."""
    generator = torch.Generator().manual_seed(len(matrix))
    result = call(rule, torch.randn(len(matrix), 5, dtype=torch.float64, generator=generator).to(matrix.device))
    assert not torch.equal(result, result.float().double()), f"the result was rounded to float32: {result.tolist()}"


def deterministic(rule: Aggregator, matrix: Tensor) -> None:
    """The same rows and the same round give the same bits, and no global generator is used."""
    before = torch.get_rng_state()
    assert torch.equal(call(rule, matrix), call(rule, matrix)), "two calls give different bits"
    assert torch.equal(torch.get_rng_state(), before), "the rule uses torch's global generator"


LAWS: Mapping[str, Law] = {
    law.__name__: law
    for law in (
        permutation,
        translation,
        scale,
        mean_without_byzantine,
        identical_rows,
        coordinate_range,
        convex_hull,
        coordinates_alone,
        zeros,
        any_number_of_rows,
        half_are_too_many,
        huge_rows_leave_it_finite,
        non_finite_rows_are_dropped,
        nothing_finite_is_an_error,
        inputs_stay,
        memory_goes_by_client,
        dtype_and_device_stay,
        float64_is_worked_in_float64,
        deterministic,
    )
}
"""Every law by name."""


def _attempt(rule: Aggregator, matrix: Tensor) -> Tensor | PreconditionError:
    try:
        return call(rule, matrix)
    except PreconditionError as error:
        return error


def _combine(rule: Aggregator, matrix: Tensor) -> Aggregate:
    context = context_for(rule, matrix)
    return rule.aggregate(Updates.of(matrix), rule.init(context.layout), context)[0]


def _with_byzantine(rule: Aggregator, f: int) -> Aggregator:
    changed: dict[str, Any] = {"num_byzantine": f} if hasattr(rule, "num_byzantine") else {}
    return dataclasses.replace(rule, **changed) if changed else rule
