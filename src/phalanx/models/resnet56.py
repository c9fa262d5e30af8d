"""ResNet56: the deeper residual network for CIFAR."""

import torch
from torch import nn

from phalanx.core.families import Architecture
from phalanx.models.cifar_resnet import CifarResNet
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape


class ResNet56(Architecture, kind="resnet56"):
    """Three stages of nine basic blocks with 16, 32 and 64 channels, then the mean over all places and a linear layer.

    855,770 parameters for 3 x 32 x 32 and ten classes. Images `[C, H, W]` with H, W >= 8.

    Reference: He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385), section 4.2.
    Differs from the paper: where a block changes the shape, the shortcut is a 1x1 convolution with
    BatchNorm, not a padded identity; torch's default initial weights.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, *_ = image_shape(input_shape, "ResNet56", smallest=8)
        return build(lambda: CifarResNet(channels, 9, num_classes), generator)
