"""The basic block of the small residual networks: two 3x3 convolutions beside a shortcut."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """`relu(residual(x) + shortcut(x))`; where the block changes the shape, the shortcut is a 1x1 convolution with a norm."""

    def __init__(self, narrow: int, wide: int, stride: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(narrow, wide, 3, stride, padding=1, bias=False),
            norm(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=1, bias=False),
            norm(wide),
        )
        self.shortcut: nn.Module = nn.Identity()
        if narrow != wide:
            self.shortcut = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), norm(wide))

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(self.residual(images) + self.shortcut(images))
