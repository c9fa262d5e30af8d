"""ResNet20: the residual network for CIFAR."""

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.basic_block import BasicBlock
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape


class ResNet20(Architecture, kind="resnet20"):
    """Three stages of three basic blocks with 16, 32 and 64 channels, then the mean over all places and a linear layer.

    272,474 parameters for 3 x 32 x 32 and ten classes. Images `[C, H, W]` with H, W >= 8.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385), section 4.2.
    Differs from the paper, as SkyMask's does: where a block changes the shape, the shortcut is a 1x1 convolution with
    BatchNorm, not a padded identity; torch's default initial weights.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, *_ = image_shape(input_shape, "ResNet20", smallest=8)
        return build(lambda: _ResNet(channels, num_classes), generator)


class _ResNet(nn.Sequential):
    def __init__(self, channels: int, num_classes: int) -> None:
        stages = [
            BasicBlock(narrow, wide, stride)
            for first, wide, step in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
            for narrow, stride in ((first, step), (wide, 1), (wide, 1))
        ]
        super().__init__(
            nn.Conv2d(channels, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, num_classes),
        )
