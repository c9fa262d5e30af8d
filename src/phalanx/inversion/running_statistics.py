"""`RunningStatistics`: how far images are from what a model's BatchNorm layers remember of the data they were trained on."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from phalanx.core.errors import ConfigError
from phalanx.inversion.client import pure


class RunningStatistics:
    """The means and variances that every BatchNorm layer of `model` expects of its inputs. The model is not changed.

    Raises: ConfigError if there is no BatchNorm layer that keeps them.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = pure(model)
        self._params = {name: tensor.detach() for name, tensor in self._model.named_parameters()}
        kept = {
            part: (original.running_mean.clone(), original.running_var.clone())
            for part, original in zip(self._model.modules(), model.modules())
            if isinstance(original, nn.modules.batchnorm._BatchNorm)
            and original.running_mean is not None
            and original.running_var is not None
        }
        if not kept:
            raise ConfigError(
                f"batch_norm needs a model whose BatchNorm layers keep running statistics; {type(model).__name__} has none. "
                "Set it to 0."
            )
        self._expected, self._gaps = kept, list[Tensor]()
        for part in kept:
            part.register_forward_pre_hook(self._meet)

    def distance(self, images: Tensor) -> Tensor:
        """`[R]` for images `[R, B, C, H, W]`: over the layers, |mean − expected| + |variance − expected|."""
        return vmap(self._of_batch)(images) if len(images) > 1 else self._of_batch(images[0])[None]

    def _of_batch(self, images: Tensor) -> Tensor:
        self._gaps.clear()
        functional_call(self._model, self._params, (images,))
        return torch.stack(self._gaps).sum()

    def _meet(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        mean, variance = self._expected[layer]
        over = [dim for dim in range(inputs[0].dim()) if dim != 1]
        self._gaps += [(inputs[0].mean(over) - mean).norm(), (inputs[0].var(over, correction=0) - variance).norm()]
