"""ClipTensors: no tensor of an update longer than a bound."""

import dataclasses

import torch
from torch import nn

from phalanx.aggregators import ClipNorm, ClipTensors
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext, Updates


def test_each_tensor_is_clipped_alone() -> None:
    layout = Layout.of(nn.Linear(2, 1))  # a weight of two values and a bias
    rows = torch.tensor([[3.0, 4.0, -2.0], [0.3, 0.4, 0.1], [0.0, 0.0, 0.0]])
    context = dataclasses.replace(RoundContext.for_matrix(rows), layout=layout)
    clipped, _ = ClipTensors(max_norm=1.0).transform(Updates.of(rows), context)
    torch.testing.assert_close(clipped.matrix, torch.tensor([[0.6, 0.8, -1.0], [0.3, 0.4, 0.1], [0.0, 0.0, 0.0]]))
    assert rows[0, 0] == 3


def test_rows_without_a_model_are_one_tensor() -> None:
    rows = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    context = RoundContext.for_matrix(rows)
    one, other = (stage(max_norm=1.5).transform(Updates.of(rows), context)[0] for stage in (ClipTensors, ClipNorm))
    assert torch.equal(one.matrix, other.matrix)
