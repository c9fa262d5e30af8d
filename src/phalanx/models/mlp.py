"""MLP: linear layers with ReLU between them."""

from itertools import pairwise
from math import prod

import torch
from pydantic import PositiveInt
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build


class MLP(Architecture):
    """A multilayer perceptron on the flattened sample with layers of `hidden` units; an empty `hidden` is logistic regression.

    >>> model = MLP(hidden=(64,)).build((1, 8, 8), 10, torch.Generator())
    >>> sum(p.numel() for p in model.parameters())
    4810
    """

    hidden: tuple[PositiveInt, ...] = (200,)

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        return build(lambda: _perceptron(prod(input_shape), self.hidden, num_classes), generator)


def _perceptron(inputs: int, hidden: tuple[int, ...], num_classes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for narrow, wide in pairwise((inputs, *hidden)):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], num_classes))
