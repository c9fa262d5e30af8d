"""SigmoidCNN: the smooth network whose gradients give everything away."""

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape


class SigmoidCNN(Architecture):
    """DLG's LeNet: three convolutions 5x5 of 12 channels (strides 2, 2, 1), each with a sigmoid, and one linear layer.

    Weights are `U(-0.5, 0.5)`, as in the paper's code: with smaller ones sigmoids are nearly linear, and their gradients say
    less. For gradient inversion, where its second derivatives are needed; as a classifier it learns slowly: take `cnn`.

    Reference: Zhu, Liu and Han, Deep Leakage from Gradients, NeurIPS 2019 (arXiv 1906.08935).
    >>> model = SigmoidCNN().build((1, 28, 28), 10, torch.Generator())
    >>> sum(p.numel() for p in model.parameters())
    13426
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, height, width = image_shape(input_shape, "SigmoidCNN", smallest=1)
        module = build(lambda: _SigmoidNet(channels, -(-height // 4) * -(-width // 4), num_classes), generator)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.uniform_(-0.5, 0.5, generator=generator)
        return module


class _SigmoidNet(nn.Sequential):
    def __init__(self, channels: int, places: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(channels, 12, 5, padding=2, stride=2),
            nn.Sigmoid(),
            nn.Conv2d(12, 12, 5, padding=2, stride=2),
            nn.Sigmoid(),
            nn.Conv2d(12, 12, 5, padding=2),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.Linear(12 * places, num_classes),
        )
