"""The gradient with respect to one-channel images, through the convolution that sees them, as fast as a CPU can have it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d


@contextmanager
def image_gradients(module: nn.Module) -> Iterator[None]:
    """Within it, the module's convolutions of one-channel images give these a fast gradient on a CPU, and their weights none.

    oneDNN writes a single channel slowly: that kernel alone was a quarter of a step of trigger inversion in FLIP's network. One
    matrix product and 2 k sums of shifted images take a quarter to a third of its time; values differ by rounding.

    >>> import torch
    >>> layer, images = nn.Conv2d(1, 3, kernel_size=3), torch.rand(2, 1, 6, 6, requires_grad=True)
    >>> with image_gradients(layer):
    ...     torch.autograd.grad(layer(images).sum(), images)[0].shape
    torch.Size([2, 1, 6, 6])
    """
    layers = [part for part in module.modules() if type(part) is nn.Conv2d and _is_worth_it(part)]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_worth_it(layer: nn.Conv2d) -> bool:
    """Whether it is what the formula is for: steps of one pixel, on one channel."""
    if "forward" in vars(layer):  # somebody's own, which the formula knows nothing of
        return False
    is_plain = (layer.stride, layer.dilation, layer.padding_mode) == ((1, 1), (1, 1), "zeros")
    return layer.in_channels == 1 and is_plain and isinstance(layer.padding, tuple)


def _forward(layer: nn.Conv2d, images: Tensor) -> Tensor:
    if images.dim() != 4 or not images.requires_grad or images.device.type != "cpu":
        return nn.Conv2d.forward(layer, images)
    return cast(Tensor, _OneChannel.apply(images, layer.weight, layer.bias, layer.padding))  # type: ignore[no-untyped-call]


class _OneChannel(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.padding = padding
        return conv2d(images, weight, bias, padding=padding)

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
        return inside.unsqueeze(1), None, None, None
