"""CNN: two convolutions and two linear layers, for images from 8 x 8 to 32 x 32."""

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape


class CNN(Architecture):
    """A small LeNet: twice (conv 5x5 keeping the size, pool 2, ReLU) with 16 and 32 channels, then 64 units, then logits.

    Images `[C, H, W]` with H, W >= 4; the linear part sees `32 · (H // 4) · (W // 4)` values. Pooling comes before ReLU: the
    values are the same, and ReLU has a quarter of the work.

    >>> model = CNN().build((1, 28, 28), 10, torch.Generator())
    >>> sum(p.numel() for p in model.parameters())
    114314
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, height, width = image_shape(input_shape, "CNN", smallest=4)
        return build(lambda: _LeNet(channels, (height // 4) * (width // 4), num_classes), generator)


class _LeNet(nn.Sequential):
    def __init__(self, channels: int, places: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(channels, 16, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * places, 64),
            nn.ReLU(),
            nn.Linear(64, num_classes),
        )
