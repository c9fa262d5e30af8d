"""Modules with weights from one given generator: torch's own constructors would draw from the global one."""

from collections.abc import Callable
from math import sqrt

import torch
from torch import nn

from phalanx.core.errors import ConfigError


def build(construct: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """The module that `construct` makes, on the CPU, initialised by `initialise`.

    Constructing on the meta device takes no memory and no random numbers. Raises: ConfigError if there is not enough memory.
    """
    try:
        with torch.device("meta"):
            module = construct()
        module.to_empty(device="cpu")
    except RuntimeError as error:  # torch's allocator has no error of its own
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"This model does not fit into memory ({reason}). Make it smaller.") from error
    initialise(module, generator)
    return module


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Give linear, convolutional and normalisation layers torch's default weights, drawn from `generator`, in module order.

    ```
    weight, bias ~ U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))       # what kaiming_uniform_(a=sqrt(5)) comes to
    ```
    Norms get ones and zeros. Raises: ConfigError for another kind of layer that has parameters or buffers.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            bound = 1 / sqrt(part.weight[0].numel())
            for tensor in part.parameters(recurse=False):
                tensor.uniform_(-bound, bound, generator=generator)
        elif isinstance(part, nn.BatchNorm2d | nn.GroupNorm):
            part.reset_parameters()  # draws nothing
        elif any(True for _ in (*part.parameters(recurse=False), *part.buffers(recurse=False))):
            raise ConfigError(f"{type(part).__name__} has no rule in models/initialise.py. Add one there.")
