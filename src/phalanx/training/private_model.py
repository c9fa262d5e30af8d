"""Which models DP-SGD can train: those that treat every example of a batch by itself, and remember none."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from phalanx.core.errors import ConfigError
from phalanx.core.privacy import refuse_float_buffers
from phalanx.core.types import Samples
from phalanx.training.engines import loop

Trial = Callable[[nn.Module, Tensor, Tensor], object]
"""Works out the gradients of a few examples, images with labels, in a model."""


def check_private(model: nn.Module, samples: Samples, trial: Trial) -> None:
    """Refuse a model in which one example's gradient depends on another's, or that examples leave traces in.

    Known layers and float buffers are refused by name, other layers by what they do: an example must have the same logits
    alone, first and last in a batch, whoever its neighbours are, and all buffers must stay as they were. Parameters that begin
    at zero, which would hide what they gate, are tried with other values. `trial` must work.

    Raises: ConfigError naming the layer and the remedy.
    """
    for name, layer in model.named_modules():
        _check_layer(name, layer)
    refuse_float_buffers(model, "DPSGD")
    model = deepcopy(model).train()
    _fill_zeros(model)
    images, labels = samples.pixels(torch.zeros(2, dtype=torch.int64, device=samples.labels.device))
    images = samples.normalize(images)
    # Dropout draws from the global stream.
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        _check_behaviour(model, images[:1])
        try:
            trial(model, images, labels)
        except ConfigError as error:
            raise ConfigError(
                f"DPSGD cannot tell the examples of this {type(model).__name__} apart by its layers: {error}. "
                'Set gradients = "vmap".'
            ) from None
        except Exception as error:
            raise ConfigError(
                f"DPSGD cannot work out the gradients of single examples in this {type(model).__name__}: "
                + f"{type(error).__name__}: {error}".splitlines()[0]
            ) from error


def _check_behaviour(model: nn.Module, example: Tensor) -> None:
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    one, other = example.flip(-1) + 1, -2 * example.flip(-1) - 1
    # Dropout's choice depends on an example's place and the size of the batch, so in training these are the same.
    batches = ([example, one, other], [example, other, other]), ([one, other, example], [other, other, example])
    alike = all(_alike(*(_logits(model, torch.cat(batch))[place] for batch in pair)) for pair, place in zip(batches, (0, 2)))
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise ConfigError(
                f"DPSGD cannot train this {type(model).__name__}: its buffer {name} remembers the examples that it has seen, "
                "without noise. Take it out."
            )
    # Batches of other sizes are compared in training mode, too, where nothing is drawn in it.
    is_random = not torch.equal(_logits(model, example), _logits(model, example, seed=1))
    model.train(not is_random)
    alone, first, last = (
        _logits(model, example),
        _logits(model, torch.cat(batches[0][0])),
        _logits(model, torch.cat(batches[1][0])),
    )
    model.train()
    if not (alike and _alike(alone[0], first[0]) and _alike(alone[0], last[2])):
        raise ConfigError(
            f"DPSGD cannot train this {type(model).__name__}: an example's logits depend on the others in its batch, so "
            "nothing bounds what one of them can move. Take out what mixes a batch."
        )


def _logits(model: nn.Module, images: Tensor, seed: int = 0) -> Tensor:
    loop.seed_layers(images.device, seed)
    try:
        with torch.no_grad():
            logits: Tensor = model(images)
    except Exception as error:
        raise ConfigError(
            f"DPSGD needs a model that takes batches of any size; this {type(model).__name__} fails on one of {len(images)}: "
            + f"{type(error).__name__}: {error}".splitlines()[0]
        ) from error
    return logits


def _alike(one: Tensor, other: Tensor) -> bool:
    """The same but for the rounding of products in batches of other sizes."""
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5 * max(1.0, float(one.abs().max())))


def _fill_zeros(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.rand(parameter.shape, generator=generator).add_(0.5).mul_(0.1).to(parameter)
            parameter.copy_(torch.where(parameter == 0, values, parameter))


def _check_layer(name: str, layer: nn.Module) -> None:
    where = f"the layer {name} ({type(layer).__name__})" if name else type(layer).__name__
    if isinstance(layer, _BatchNorm):
        raise ConfigError(
            f"DPSGD cannot train {where}: BatchNorm mixes the examples of a batch, so nothing bounds what one of them can "
            "move. Use GroupNorm."
        )
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        raise ConfigError(
            f"DPSGD cannot train {where}: its running statistics would be sent without noise. Set track_running_stats=False."
        )
