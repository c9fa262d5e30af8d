"""The gradient with respect to one-channel images, through the convolution that sees them, as fast as a CPU can have it."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d
from torch.overrides import TorchFunctionMode


class ImageGradients(TorchFunctionMode):
    """Within it, convolutions of one-channel images give these a fast gradient on a CPU, and their weights none.

    oneDNN writes a single channel slowly: that kernel alone was a quarter of a step of trigger inversion in FLIP's network. One
    matrix product and 2 k sums of shifted images take a quarter to a third of its time; values differ by rounding. All other
    functions are torch's own.

    >>> images = torch.rand(2, 1, 6, 6, requires_grad=True)
    >>> with ImageGradients():
    ...     total = torch.nn.Conv2d(1, 3, kernel_size=3)(images).sum()
    >>> torch.autograd.grad(total, images)[0].shape
    torch.Size([2, 1, 6, 6])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The function's result; a faster one's for what is worth it."""
        if func is torch.conv2d and not kwargs and _is_worth_it(*args):
            return _OneChannel.apply(*args)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def _is_worth_it(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether it is what the formula is for, as `nn.Conv2d` calls it: steps of one pixel, on one channel."""
    is_plain = stride == (1, 1) and dilation == (1, 1) and groups == 1 and isinstance(padding, tuple)
    return is_plain and weight.shape[1] == 1 and images.dim() == 4 and images.requires_grad and images.device.type == "cpu"


class _OneChannel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.padding = options[1]
        return conv2d(images, weight, bias, *options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """`out[i + u, j + v] += Σ_o w[o, u, v] · g[o, i, j]`: first the product, then the sums over v, then those over u."""
        (weight,) = ctx.saved_tensors
        (count, channels, rows, columns), (high, wide) = gradient.shape, weight.shape[2:]
        product = weight.flatten(1).t() @ gradient.permute(1, 0, 2, 3).reshape(channels, -1)  # a view if channels come last
        parts = product.view(high, wide, count, rows, columns)
        lines = parts.new_zeros(high, count, rows, columns + wide - 1)
        for v in range(wide):
            lines[..., v : v + columns] += parts[:, v]
        out = parts.new_zeros(count, rows + high - 1, columns + wide - 1)
        for u in range(high):
            out[:, u : u + rows] += lines[u]
        top, left = ctx.padding
        inside = out[:, top : out.shape[1] - top, left : out.shape[2] - left]
        return inside.unsqueeze(1), *[None] * (len(ctx.needs_input_grad) - 1)
