"""ClipTensors: no tensor of an update longer than a bound."""

import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.families import PreAggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext, Updates


class ClipTensors(PreAggregator):
    """Scale every tensor of a row (a layer's weights, its biases …) that is longer than `max_norm` down to it.

    The four-module system's way. It bounds what one layer can do and bends the direction of the update; ClipNorm keeps it, as
    the papers do. A row may still be √(number of tensors) times as long as the bound. Time O(n d), memory one more matrix.

    Reference: none for tensors alone; Sun et al., Can You Really Backdoor Federated Learning?, 2019 (arXiv 1911.07963), clips
    the whole update.
    >>> updates = Updates.of(torch.tensor([[3., 4.], [0., 1.]]))
    >>> ClipTensors(max_norm=1.0).transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    """

    max_norm: PositiveFloat32

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        clipped = torch.empty_like(updates.matrix)
        for slot in context.layout.parameters:
            rows = updates.matrix[:, slot.start : slot.stop]
            factors = linalg.clip_factors(linalg.norms(rows), self.max_norm)
            clipped[:, slot.start : slot.stop] = linalg.scale_rows(rows, factors)
        return updates.replaced(clipped), None
