"""Which models DP-SGD can train: those that treat every example of a batch by itself, and remember none."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from phalanx.core.errors import ConfigError
from phalanx.core.types import Samples
from phalanx.training.engines import loop

Trial = Callable[[nn.Module, Tensor, Tensor], object]
"""Works out the gradients of a few examples, images with labels, in a model."""


def check_private(model: nn.Module, samples: Samples, trial: Trial) -> None:
    """Refuse a model in which one example's gradient depends on another's, or that examples leave traces in.

    Known layers are refused by name, others by what they do: a forward pass with another neighbour in the batch must give the
    same logits, and leave all buffers as they were. `trial` must work.

    Raises: ConfigError naming the layer and the remedy.
    """
    for name, layer in model.named_modules():
        _check_layer(name, layer)
    model = deepcopy(model).train()
    images, labels = samples.pixels(torch.zeros(2, dtype=torch.int64, device=samples.labels.device))
    images = samples.normalize(images)
    # Dropout draws from the global stream.
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        _check_behaviour(model, images)
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
                f"{type(error).__name__}: {str(error).splitlines()[0]}"
            ) from error


def _check_behaviour(model: nn.Module, images: Tensor) -> None:
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    alike, unlike = _logits(model, images), _logits(model, torch.stack([images[0], images[0].flip(-1) + 1]))
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise ConfigError(
                f"DPSGD cannot train this {type(model).__name__}: its buffer {name} remembers the examples that it has seen, "
                "without noise. Take it out."
            )
    if not torch.allclose(alike[0], unlike[0], rtol=1e-4, atol=1e-5):
        raise ConfigError(
            f"DPSGD cannot train this {type(model).__name__}: an example's logits depend on the others in its batch, so "
            "nothing bounds what one of them can move. Take out what mixes a batch."
        )


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    loop.seed_layers(images.device, 0)
    with torch.no_grad():
        logits: Tensor = model(images)
    return logits


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
