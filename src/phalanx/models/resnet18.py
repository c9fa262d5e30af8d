"""ResNet18: the wider residual network for small images, with BatchNorm or GroupNorm."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Architecture
from phalanx.models.basic_block import BasicBlock
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape

_CHANNELS_A_GROUP = 16


class ResNet18(Architecture, kind="resnet18"):
    """Four stages of two basic blocks with 1, 2, 4 and 8 times `width` channels, on a 3x3 stem without pooling.

    11,173,962 parameters for 3 x 32 x 32, ten classes and width 64; width 32 is FLIP's. Images `[C, H, W]` with H, W >= 8.
    `norm="group"` has groups of 16 channels and no running statistics to average, which helps with unequal clients.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385); Wu and He, Group
    Normalization, ECCV 2018 (arXiv 1803.08494); Hsieh et al., The Non-IID Data Quagmire of Decentralized Machine Learning,
    ICML 2020 (arXiv 1910.00189).
    Differs from the paper: made for 32 x 32, so its stem is a 3x3 convolution with stride 1; torch's default initial weights.
    """

    norm: Literal["batch", "group"] = "batch"
    _: KW_ONLY
    width: Annotated[PositiveInt, Field(le=4096)] = 64

    def __post_init__(self) -> None:
        if self.norm == "group" and self.width % _CHANNELS_A_GROUP:
            raise ConfigError(f"ResNet18 with norm = 'group' needs a width that is a multiple of 16; got {self.width}.")

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, *_ = image_shape(input_shape, "ResNet18", smallest=8)
        norm = nn.BatchNorm2d if self.norm == "batch" else _group_norm
        return build(lambda: _ResNet(channels, self.width, norm, num_classes), generator)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // _CHANNELS_A_GROUP, channels)


class _ResNet(nn.Sequential):
    def __init__(self, channels: int, width: int, norm: Callable[[int], nn.Module], num_classes: int) -> None:
        stages = [
            BasicBlock(narrow * width, wide * width, stride, norm)
            for first, wide, step in ((1, 1, 1), (1, 2, 2), (2, 4, 2), (4, 8, 2))
            for narrow, stride in ((first, step), (wide, 1))
        ]
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            norm(width),
            nn.ReLU(),
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * width, num_classes),
        )
