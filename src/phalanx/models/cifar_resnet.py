"""The residual network for CIFAR, of any depth 6n + 2: what ResNet20 and ResNet56 share."""

from torch import nn

from phalanx.models.basic_block import BasicBlock


class CifarResNet(nn.Sequential):
    """Three stages of `blocks` basic blocks with 16, 32 and 64 channels, then the mean over all places and a linear layer."""

    def __init__(self, channels: int, blocks: int, num_classes: int) -> None:
        stages = [
            BasicBlock(narrow, wide, stride)
            for first, wide, step in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
            for narrow, stride in ((first, step), *[(wide, 1)] * (blocks - 1))
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
