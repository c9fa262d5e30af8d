"""FlipCNN: the network of FLIP's experiments on MNIST and Fashion-MNIST."""

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape


class FlipCNN(Architecture):
    """Twice (conv 5x5 without padding, pool 2, ReLU) with 20 and 50 channels, then 500 units, then logits.

    d = 431,080 for 1 x 28 x 28 and ten classes. Images `[C, H, W]` with H, W >= 16. Pooling comes before ReLU: the values are
    the same, and ReLU has a quarter of the work.

    Reference: Zhang et al., FLIP: A Provable Defense Framework for Backdoor Mitigation in Federated Learning, ICLR 2023
    (arXiv 2210.12873).
    >>> model = FlipCNN().build((1, 28, 28), 10, torch.Generator())
    >>> sum(p.numel() for p in model.parameters())
    431080
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, height, width = image_shape(input_shape, "FlipCNN", smallest=16)
        places = (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
        return build(lambda: _FlipNet(channels, places, num_classes), generator)


class _FlipNet(nn.Sequential):
    def __init__(self, channels: int, places: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(channels, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(50 * places, 500),
            nn.ReLU(),
            nn.Linear(500, num_classes),
        )
