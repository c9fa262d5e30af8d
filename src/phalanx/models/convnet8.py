"""ConvNet8: eight convolutions with BatchNorm, on which gradient inversion and its defences (ATS) are usually measured."""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape


class ConvNet8(Architecture, kind="convnet8"):
    """Convolutions 3x3 of 1, 2, 2, 4, 4, 4, 4, 4 times `width` channels, each with BatchNorm and ReLU; pool 3 after the sixth
    and the eighth; one linear layer.

    2,904,970 parameters for 3 x 32 x 32, ten classes and width 64. Images `[C, H, W]` with H, W >= 9. The gradient of a max
    pool goes to one place in nine: for a smooth inversion take another network.

    Reference: Geiping et al., Inverting Gradients, NeurIPS 2020 (arXiv 2003.14053); Gao et al., Privacy-preserving
    Collaborative Learning with Automatic Transformation Search, CVPR 2021 (arXiv 2011.12505).
    Differs from the code of both: pooling comes before the ReLU of its block; the values are the same.
    """

    width: Annotated[PositiveInt, Field(le=4096)] = 64

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, height, width = image_shape(input_shape, "ConvNet8", smallest=9)
        return build(lambda: _ConvNet(channels, self.width, (height // 9) * (width // 9), num_classes), generator)


class _ConvNet(nn.Sequential):
    def __init__(self, channels: int, width: int, places: int, num_classes: int) -> None:
        widths = (channels, *(factor * width for factor in (1, 2, 2, 4, 4, 4, 4, 4)))
        layers: list[nn.Module] = []
        for number, (narrow, wide) in enumerate(pairwise(widths), start=1):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.BatchNorm2d(wide)]
            layers += [nn.MaxPool2d(3)] if number in (6, 8) else []
            layers += [nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(4 * width * places, num_classes))
