"""Gradients of single examples from what each layer sees: what goes into it, and the gradient at what comes out.

One forward pass, one backward pass that stops at the layers' outputs; the batch's own gradient, which nobody needs, is never
made. Of a linear layer both factors are the result. A convolution's is one small product for each example.

Reference: Bu et al., Differentially Private Optimization on Large Model at Small Cost, ICML 2023 (arXiv 2210.00038): its
book-keeping. Norms of linear layers: Goodfellow, Efficient Per-Example Gradient Computations, 2015 (arXiv 1510.01799).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.functional import cross_entropy, group_norm, layer_norm, pad

from phalanx.core.errors import ConfigError
from phalanx.training.engines.example_gradients import ExampleGradients, Outer, Source, Stored, stored

Makers = dict[str, Callable[[], ExampleGradients]]
"""How to make a layer's gradients, by the name that the parameter has in it."""


def knows(model: nn.Module) -> bool:
    """Whether every trainable parameter belongs to a layer whose algebra is written down here."""
    return all(_kind(layer) in _RULES for layer in _trainable_layers(model))


@contextmanager
def by_layers(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[Source]:
    """Gradients of a module with known layers. While it is open, these carry hooks."""
    seen: list[tuple[nn.Module, Tensor, GradientEdge]] = []

    def remember(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # The edge, not the output: a ReLU that works in place changes what that is.
        seen.append((layer, inputs[0].detach(), get_gradient_edge(output)))

    def gradients(images: Tensor, labels: Tensor) -> list[ExampleGradients]:
        seen.clear()
        loss = cross_entropy(model(images), labels, reduction="sum")
        returned = torch.autograd.grad(loss, [edge for *_, edge in seen], allow_unused=True)
        found: dict[nn.Parameter, list[ExampleGradients]] = {}
        with torch.no_grad():
            for (layer, inputs, _), back in zip(seen, returned):
                if len(inputs) != len(labels):
                    # Clipped row by row, an example of T rows would move the sum by T times the bound.
                    raise ConfigError(f"a {type(layer).__name__} sees {len(inputs)} rows for {len(labels)} examples")
                if back is not None:
                    for name, make in _RULES[_kind(layer)](layer, inputs, back).items():
                        parameter = getattr(layer, name)
                        if parameter is not None and parameter.requires_grad:
                            found.setdefault(parameter, []).append(make())
            return [_total(found.get(parameter, []), parameter, len(labels)) for parameter in parameters]

    handles = [layer.register_forward_hook(remember) for layer in _trainable_layers(model)]
    try:
        yield gradients
    finally:
        for handle in handles:
            handle.remove()


def _total(found: list[ExampleGradients], parameter: nn.Parameter, count: int) -> ExampleGradients:
    """All that a parameter got: the sum, where a layer is used twice or shares it with another; 0 where the loss does not
    reach it."""
    if not found:
        return stored(parameter.new_zeros(count, *parameter.shape))
    if len(found) == 1:
        return found[0]
    parts = [each.written_out() for each in found]
    return Stored(torch.stack([part.gradients for part in parts]).sum(dim=0), parts[0].shape)


def _trainable_layers(model: nn.Module) -> list[nn.Module]:
    return [part for part in model.modules() if any(one.requires_grad for one in part.parameters(recurse=False))]


def _kind(layer: nn.Module) -> type[nn.Module] | None:
    """What it is a layer of; None if it is more than that, or not laid out as the rules expect."""
    is_simple = not isinstance(layer, nn.Conv2d) or (layer.padding_mode == "zeros" and not isinstance(layer.padding, str))
    return type(layer) if is_simple else None


def _linear(layer: nn.Linear, inputs: Tensor, back: Tensor) -> Makers:
    if inputs.dim() == 2:
        return {"weight": lambda: Outer(back, inputs), "bias": lambda: stored(back)}
    inputs, back = inputs.flatten(1, -2), back.flatten(1, -2)
    return {"weight": lambda: stored(back.mT @ inputs), "bias": lambda: stored(back.sum(dim=1))}


def _convolution(layer: nn.Conv2d, inputs: Tensor, back: Tensor) -> Makers:
    count, groups, (kh, kw) = len(back), layer.groups, layer.kernel_size

    def weight() -> ExampleGradients:
        # [B, h, w, o] is how a channels-last gradient lies in memory.
        arrived = back.permute(0, 2, 3, 1).reshape(count, -1, groups, layer.out_channels // groups).transpose(1, 2)
        products = arrived.mT @ _windows(layer, inputs)  # [B, groups, o / groups, kh · kw · i / groups]
        return Stored(products.flatten(1), lambda flat: flat.view(layer.out_channels, kh, kw, -1).permute(0, 3, 1, 2))

    return {"weight": weight, "bias": lambda: stored(back.sum(dim=(2, 3)))}


def _windows(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """What the kernel sees at each place, `[B, groups, h · w, kh · kw · i / groups]`, channels last."""
    vertical, horizontal = cast(tuple[int, int], layer.padding)
    images = pad(inputs.permute(0, 2, 3, 1), (0, 0, horizontal, horizontal, vertical, vertical))
    (kh, kw), (dh, dw), (down, across) = layer.kernel_size, layer.dilation, layer.stride
    rows = images.unfold(1, (kh - 1) * dh + 1, down)[..., ::dh]
    places = rows.unfold(2, (kw - 1) * dw + 1, across)[..., ::dw]  # [B, h, w, i, kh, kw]
    count, h, w, channels = places.shape[:4]
    grouped = places.reshape(count, h, w, layer.groups, channels // layer.groups, kh, kw)
    return grouped.permute(0, 3, 1, 2, 5, 6, 4).reshape(count, layer.groups, h * w, -1)


def _group_norm(layer: nn.GroupNorm, inputs: Tensor, back: Tensor) -> Makers:
    def summed(values: Tensor) -> Stored:
        return stored(values.reshape(*values.shape[:2], -1).sum(dim=2))

    return {"weight": lambda: summed(back * group_norm(inputs, layer.num_groups, eps=layer.eps)), "bias": lambda: summed(back)}


def _layer_norm(layer: nn.LayerNorm, inputs: Tensor, back: Tensor) -> Makers:
    shape = list(layer.normalized_shape)

    def summed(values: Tensor) -> Stored:
        return stored(values.reshape(len(values), -1, *shape).sum(dim=1))

    return {"weight": lambda: summed(back * layer_norm(inputs, shape, eps=layer.eps)), "bias": lambda: summed(back)}


_RULES: dict[type[nn.Module] | None, Callable[..., Makers]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
}
