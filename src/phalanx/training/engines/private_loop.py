"""DP-SGD in any module, one client after another: the loop engine with clipped examples and noise in its steps."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.core import params as flat
from phalanx.core.errors import ConfigError
from phalanx.core.types import Rows
from phalanx.training.engines import loop
from phalanx.training.engines.example_gradients import Source, by_vmap, clipped_sum
from phalanx.training.engines.layers import by_layers
from phalanx.training.private_work import PrivateClient, PrivateWork
from phalanx.training.work import ClientWork, LocalWork

SOURCES = {"layers": by_layers, "vmap": by_vmap}
_TOGETHER = 32
"""Examples of one pass: what its layers see still fits a core's cache."""
_WRITTEN_OUT = 1 << 23
"""Numbers of gradients of one pass, where they are all written out."""


def train(work: PrivateWork, model: nn.Module, out: Rows, gradients: str) -> None:
    """Train every client of the cohort in `model` and write its row of `out`; `gradients` names one of `SOURCES`."""
    together = _TOGETHER if gradients == "layers" else max(1, min(_TOGETHER, _WRITTEN_OUT // work.context.layout.d))
    with SOURCES[gradients](model, list(flat.trainable(model).values())) as source:

        def descend(_: LocalWork, client: ClientWork, module: loop.Module, total: Tensor) -> int:
            # Not the loss: it would tell of the examples what the noise is to hide.
            total.fill_(math.nan)
            return _descend(work, cast(PrivateClient, client), module, source, together)

        loop.train(work, model, out, descend)


def try_out(model: nn.Module, images: Tensor, labels: Tensor, gradients: str) -> None:
    """Whether the examples' gradients of a small batch can be had, and add up to the batch's own.

    Raises: ConfigError, or whatever the model does.
    """
    parameters = list(flat.trainable(model).values())
    with SOURCES[gradients](model, parameters) as source:
        loop.seed_layers(images.device, 0)
        sums = [each.weighted_sum(torch.ones(len(labels), device=labels.device)) for each in source(images, labels)]
    if gradients == "vmap":  # right by itself, and draws another dropout
        return
    loop.seed_layers(images.device, 0)
    loss = cross_entropy(model(images), labels, reduction="sum")
    expected = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    if not all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in zip(sums, expected)):
        raise ConfigError("parameters are used outside of the layers that own them")


def _descend(work: PrivateWork, client: PrivateClient, module: loop.Module, source: Source, together: int) -> int:
    """All steps of one client; how many there were."""
    optimizer, parameters = work.optimizer(), module.parameters
    order, sizes = client.plan()
    flat_sum = torch.empty(work.context.layout.d, device=module.device)
    sums = [slot.view(flat_sum) for slot in work.context.layout.parameters]
    for positions in torch.split(order, sizes):
        client.draw_noise(flat_sum)
        if len(positions):
            images, labels = client.load(positions)
            for some, their in zip(torch.split(module.laid_out(images), together), torch.split(labels, together)):
                torch._foreach_add_(sums, clipped_sum(source(some, their), work.clipping))
        flat_sum /= client.expected_batch
        with torch.no_grad():
            work.step(optimizer, parameters, sums, 1)
    return len(sizes)
