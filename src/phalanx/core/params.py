"""Flat vectors and modules: `Layout` says where each tensor of a module lives in a row of the update matrix.

Only parameters with `requires_grad` are in the row; floating-point buffers (BatchNorm statistics) make a second, separate
vector; integer buffers never travel.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Self

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError


@dataclass(frozen=True)
class Slot:
    """One tensor of a module: its name, shape and place `[start, stop)` in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    is_normalisation: bool = False

    def view(self, flat: Tensor) -> Tensor:
        """The tensor as a view into `flat` `[..., d]`; leading dimensions stay in front."""
        return flat[..., self.start : self.stop].view(flat.shape[:-1] + self.shape)


def _slots(tensors: Iterable[tuple[str, Tensor]], normalisation: frozenset[str]) -> Iterator[Slot]:
    start = 0
    for name, tensor in tensors:
        stop = start + tensor.numel()
        yield Slot(name, tuple(tensor.shape), start, stop, name.rpartition(".")[0] in normalisation)
        start = stop


@dataclass(frozen=True)
class Layout:
    """Where the trainable parameters and the float buffers of a module lie in flat vectors `[d]` and `[b]`."""

    parameters: tuple[Slot, ...]
    buffers: tuple[Slot, ...] = ()

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """The layout of `module`: parameters in `named_parameters` order (tied ones once), then its float buffers.

        Raises: ConfigError if no parameter requires a gradient.
        """
        norms = frozenset(
            name
            for name, part in module.named_modules()
            if isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm)
        )
        parameters = tuple(_slots(trainable(module).items(), norms))
        if not parameters:
            raise ConfigError("The model has no trainable parameter: nothing would travel between clients and server.")
        return cls(parameters, tuple(_slots(float_buffers(module).items(), norms)))

    @classmethod
    def flat(cls, d: int) -> Self:
        """One anonymous vector of `d` numbers: for rows that belong to no module."""
        return cls((Slot("updates", (d,), 0, d),))

    @property
    def d(self) -> int:
        """The number of trainable parameters."""
        return self.parameters[-1].stop

    @property
    def b(self) -> int:
        """The number of values in float buffers."""
        return self.buffers[-1].stop if self.buffers else 0

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Each parameter as a view into `flat` `[..., d]`."""
        return {slot.name: slot.view(flat) for slot in self.parameters}

    def buffer_views(self, flat: Tensor) -> dict[str, Tensor]:
        """Each float buffer as a view into `flat` `[..., b]`."""
        return {slot.name: slot.view(flat) for slot in self.buffers}


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that travel: those with `requires_grad`."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def float_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The persistent floating-point buffers: BatchNorm's running statistics and the like."""
    kept = module.state_dict(keep_vars=True).keys()
    return {name: buffer for name, buffer in module.named_buffers() if name in kept and buffer.dtype.is_floating_point}


def _pack(tensors: Mapping[str, Tensor], device: torch.device) -> Tensor:
    if not tensors:
        return torch.zeros(0, device=device)
    return torch.cat([tensor.detach().reshape(-1).to(torch.float32) for tensor in tensors.values()])


def flatten(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Copies of the module's trainable parameters `[d]` and float buffers `[b]`, both float32.

    >>> [vector.shape[0] for vector in flatten(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))]
    [12, 4]
    """
    parameters = trainable(module)
    device = next(iter(parameters.values())).device if parameters else torch.device("cpu")
    return _pack(parameters, device), _pack(float_buffers(module), device)


@torch.no_grad()
def load(module: nn.Module, parameters: Tensor, buffers: Tensor | None = None) -> None:
    """Copy flat vectors `[d]` (and `[b]`) into the module, in its own dtype and memory format.

    Raises: ConfigError if a length is not the module's.
    """
    _unpack(trainable(module), parameters, "parameters")
    if buffers is not None:
        _unpack(float_buffers(module), buffers, "buffer values")


def _unpack(targets: Mapping[str, Tensor], flat: Tensor, what: str) -> None:
    total = sum(prod(tensor.shape) for tensor in targets.values())
    if flat.shape != (total,):
        raise ConfigError(f"The module has {total} {what}; got a tensor of shape {list(flat.shape)}.")
    if not targets:
        return
    pieces = torch.split(flat, [tensor.numel() for tensor in targets.values()])
    torch._foreach_copy_(list(targets.values()), [piece.view(tensor.shape) for piece, tensor in zip(pieces, targets.values())])


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; afterwards each of its parts is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode
