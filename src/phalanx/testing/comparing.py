"""Calling a rule outside of any federation, and comparing what it gives: what all laws share."""

import torch
from torch import Tensor

from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate
from phalanx.testing.scenes import context_for

TOLERANCE = 1e-5
"""Relative to the largest entry of the rows: what float32 sums of a few rows may differ by."""


def call(rule: Aggregator, matrix: Tensor) -> Tensor:
    """The rule outside of any federation, with the model and the root data that it needs."""
    return rule(matrix, context=context_for(rule, matrix))


def update_of(aggregate: Aggregate, matrix: Tensor) -> Tensor:
    """The update `[d]`; zeros where the rule keeps the model."""
    return torch.zeros_like(matrix[0]) if aggregate.update is None else aggregate.update


def agree(result: Tensor, expected: Tensor, like: Tensor) -> None:
    """Raise AssertionError unless both are the same but for `TOLERANCE` times the largest entry of `like`."""
    error = (result.double() - expected.double()).abs().max()
    allowed = TOLERANCE * like.double().abs().max()
    assert error <= allowed, f"expected {expected.tolist()}, got {result.tolist()}: {error:.3g} apart, allowed {allowed:.3g}"
