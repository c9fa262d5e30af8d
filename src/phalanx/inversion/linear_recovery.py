"""LinearRecovery: one image, exactly, where the first layer is linear."""

from math import prod

import torch
from torch import nn

from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import InversionAttack
from phalanx.core.leak import Leak, Reconstruction
from phalanx.core.params import Layout, Slot
from phalanx.inversion.client import Client
from phalanx.inversion.labels import infer_labels


class LinearRecovery(InversionAttack):
    """Divide a row of the first layer's gradient by its bias's: that is the image, without any search.

    ```
    ∂loss/∂W[i] = δ_i x,  ∂loss/∂b[i] = δ_i   =>   x = ∂loss/∂W[i] / ∂loss/∂b[i],  i = argmax |∂loss/∂b|
    ```
    Exact for one image and any number of local steps on it, for a model that begins with a linear layer with bias
    (`logistic_regression`, `mlp`). More images come out as one weighted sum of them, so they are refused. Its loss is 0. Time
    and memory O(d).

    Reference: Geiping et al., Inverting Gradients, NeurIPS 2020 (arXiv 2003.14053), Proposition 3.1; first in Phong et al.,
    Privacy-Preserving Deep Learning via Additively Homomorphic Encryption, IEEE TIFS 2018, section III.

    >>> from phalanx.inversion import leak_of
    >>> model, image = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.tensor([[[[0.0, 0.25], [0.5, 1.0]]]])
    >>> LinearRecovery().reconstruct(leak_of(model, image, torch.tensor([2])), model, torch.Generator()).images.allclose(image)
    True
    """

    def check(self, leak: Leak, model: nn.Module) -> None:
        if leak.shape[0] != 1:
            raise PreconditionError(
                f"LinearRecovery recovers one image; got an update of {leak.shape[0]}. Take another inversion attack."
            )
        Client(model, leak)  # checks that they fit each other
        weight, _ = _first_layer(model)
        if weight.shape[1] != prod(leak.shape):
            raise PreconditionError(
                f"LinearRecovery needs a first layer that sees all pixels; got one of {weight.shape[1]} inputs for images "
                f"{list(leak.shape[1:])}. Take another inversion attack."
            )
        if leak.labels is None:
            infer_labels(leak, model)

    def reconstruct(self, leak: Leak, model: nn.Module, generator: torch.Generator) -> Reconstruction:
        self.check(leak, model)
        weight, bias = (slot.view(leak.gradient) for slot in _first_layer(model))
        row = bias.abs().argmax()
        if bias[row] == 0:
            raise PreconditionError("LinearRecovery divides by the gradient of the first layer's bias; got 0 everywhere.")
        image = (weight[row] / bias[row]).view(leak.shape)
        labels = infer_labels(leak, model) if leak.labels is None else leak.labels
        return Reconstruction(leak.pixels(image), labels, image.new_zeros(1))


def _first_layer(model: nn.Module) -> tuple[Slot, Slot]:
    """Where weight and bias of the model's first layer lie in the gradient. Raises: ConfigError if it is not linear."""
    leaves = [(name, part) for name, part in model.named_modules() if not list(part.children())]
    name, first = next((name, part) for name, part in leaves if not isinstance(part, nn.Flatten | nn.Identity))
    slots = {slot.name: slot for slot in Layout.of(model).parameters}
    names = [f"{name}.{tensor}" if name else tensor for tensor in ("weight", "bias")]
    if not isinstance(first, nn.Linear) or any(tensor not in slots for tensor in names):
        raise ConfigError(
            f"LinearRecovery needs a model whose first layer is linear with a trained bias; got a {type(first).__name__} "
            "first. Take inverting_gradients."
        )
    return slots[names[0]], slots[names[1]]
