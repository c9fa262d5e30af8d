"""MobileNet: depthwise separable convolutions, the first of its line."""

from itertools import pairwise

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape

WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
HALVING = frozenset({2, 4, 6, 12})
"""The blocks, counted from 1, that halve height and width."""


class MobileNet(Architecture, kind="mobilenet"):
    """A 3x3 stem and thirteen blocks of a depthwise 3x3 and a pointwise 1x1 convolution, each with BatchNorm and ReLU.

    3,217,226 parameters for 3 x 32 x 32 and ten classes. Images `[C, H, W]` with H, W >= 16. Depthwise convolutions are slow
    for their few operations on a CPU: a round takes longer than with ResNet20.

    Reference: Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, 2017
    (arXiv 1704.04861), Table 1. Differs from the paper: made for 32 x 32, so its stem has stride 1; torch's default initial
    weights.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, *_ = image_shape(input_shape, "MobileNet", smallest=16)
        return build(lambda: _MobileNet(channels, num_classes), generator)


class _MobileNet(nn.Sequential):
    def __init__(self, channels: int, num_classes: int) -> None:
        layers = [*_normed(nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False))]
        for number, (narrow, wide) in enumerate(pairwise(WIDTHS), start=1):
            stride = 2 if number in HALVING else 1
            layers += _normed(nn.Conv2d(narrow, narrow, 3, stride, padding=1, groups=narrow, bias=False))
            layers += _normed(nn.Conv2d(narrow, wide, 1, bias=False))
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], num_classes))


def _normed(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
