"""MobileNetV3: inverted residuals with squeeze-and-excitation, the large variant."""

import torch
from torch import Tensor, nn

from phalanx.core.families import Architecture
from phalanx.models.initialise import build
from phalanx.models.shapes import image_shape

# kernel, expanded channels, channels, squeeze-and-excitation, activation, stride: Table 1 of the paper
TABLE = (
    (3, 16, 16, False, nn.ReLU, 1),
    (3, 64, 24, False, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 1),
    (5, 72, 40, True, nn.ReLU, 2),
    (5, 120, 40, True, nn.ReLU, 1),
    (5, 120, 40, True, nn.ReLU, 1),
    (3, 240, 80, False, nn.Hardswish, 2),
    (3, 200, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 480, 112, True, nn.Hardswish, 1),
    (3, 672, 112, True, nn.Hardswish, 1),
    (5, 672, 160, True, nn.Hardswish, 2),
    (5, 960, 160, True, nn.Hardswish, 1),
    (5, 960, 160, True, nn.Hardswish, 1),
)


class MobileNetV3(Architecture, kind="mobilenet_v3"):
    """MobileNetV3-Large: fifteen inverted residual blocks, some with squeeze-and-excitation, between 1x1 convolutions.

    4,214,842 parameters for 3 x 32 x 32 and ten classes. Images `[C, H, W]` with H, W >= 16. Much BatchNorm: with small or
    unequal clients its averaged statistics fit nobody.

    Reference: Howard et al., Searching for MobileNetV3, ICCV 2019 (arXiv 1905.02244), Table 1. Differs from the paper: made for
    32 x 32, so its stem has stride 1; no dropout; torch's default initial weights.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        channels, *_ = image_shape(input_shape, "MobileNetV3", smallest=16)
        return build(lambda: _MobileNetV3(channels, num_classes), generator)


class _MobileNetV3(nn.Sequential):
    def __init__(self, channels: int, num_classes: int) -> None:
        narrow = 16
        layers: list[nn.Module] = [*_normed(nn.Conv2d(channels, narrow, 3, padding=1, bias=False)), nn.Hardswish()]
        for kernel, expanded, wide, squeeze, activation, stride in TABLE:
            layers.append(_Block(narrow, kernel, expanded, wide, squeeze, activation, stride))
            narrow = wide
        layers += [*_normed(nn.Conv2d(narrow, 960, 1, bias=False)), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(960, 1280), nn.Hardswish(), nn.Linear(1280, num_classes))


class _Block(nn.Module):
    """Widen, filter each channel alone, weigh channels, narrow; beside it the identity where the shape stays."""

    def __init__(
        self, narrow: int, kernel: int, expanded: int, wide: int, squeeze: bool, activation: type[nn.Module], stride: int
    ) -> None:
        super().__init__()
        depthwise = nn.Conv2d(expanded, expanded, kernel, stride, padding=kernel // 2, groups=expanded, bias=False)
        layers: list[nn.Module] = []
        if expanded != narrow:
            layers += [*_normed(nn.Conv2d(narrow, expanded, 1, bias=False)), activation()]
        layers += [*_normed(depthwise), activation()]
        if squeeze:
            layers.append(_SqueezeExcitation(expanded))
        self.residual = nn.Sequential(*layers, *_normed(nn.Conv2d(expanded, wide, 1, bias=False)))
        self.has_shortcut = narrow == wide and stride == 1

    def forward(self, images: Tensor) -> Tensor:
        residual: Tensor = self.residual(images)
        return images + residual if self.has_shortcut else residual


class _SqueezeExcitation(nn.Module):
    """A weight in [0, 1] for every channel, from the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _round_to_eight(channels / 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, images: Tensor) -> Tensor:
        weighed: Tensor = images * self.gate(images)
        return weighed


def _round_to_eight(value: float) -> int:
    """The multiple of eight next to `value`, but no less than nine tenths of it."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * value else rounded + 8


def _normed(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels)]
