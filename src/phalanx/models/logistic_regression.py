"""LogisticRegression: one linear layer, for anything."""

from math import prod

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build


class LogisticRegression(Architecture):
    """Logits as a linear function of the flattened sample; `(prod(input_shape) + 1) · C` parameters. SkyMask's LR for HAR.

    >>> model = LogisticRegression().build((561,), 6, torch.Generator())
    >>> sum(p.numel() for p in model.parameters())
    3372
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        return build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes)), generator)
