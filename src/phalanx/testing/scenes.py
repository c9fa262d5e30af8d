"""A round around bare rows: a model of exactly as many parameters and a root set, for the rules that need them."""

import dataclasses
import warnings

import torch
from torch import Tensor, nn

from phalanx.core import params as flat
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.params import Layout
from phalanx.core.types import Root, RoundContext, Samples

_SAMPLES, _LR = 8, 0.5


def context_for(rule: Aggregator, matrix: Tensor) -> RoundContext:
    """A round's context for rows `[n, d]`, with the model and the root data that the rule needs, and nothing that it does not.

    The model is softmax regression with two classes (one, if d = 1) and, for odd d, a number added to every feature; the
    server's own update on the root data is one step of gradient descent from the global parameters, which are zero.
    """
    context = RoundContext.for_matrix(matrix if matrix.dtype == torch.float64 else matrix.float())
    if not rule.needs & {Capability.MODEL, Capability.ROOT_DATA}:
        return context
    d = matrix.shape[1]
    classes = min(d, 2)
    model = _Model(d, classes).to(matrix.device)
    generator = torch.Generator().manual_seed(d)
    images = torch.randn(_SAMPLES, model.linear.in_features, generator=generator)
    samples = Samples(images, torch.arange(_SAMPLES) % classes, classes).to(matrix.device)
    root = Root(samples, lambda: -_LR * _gradient(model, samples, context.global_params))
    shape = tuple(images.shape[1:])
    return dataclasses.replace(context, layout=Layout.of(model), model=model, root=root, input_shape=shape)


class _Model(nn.Module):
    """Softmax regression of exactly `d` parameters; `linear` is its output layer."""

    def __init__(self, d: int, classes: int) -> None:
        super().__init__()
        features, odd = d // classes - 1, d % classes
        self.shift = nn.Parameter(torch.zeros(odd)) if odd else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a layer without features
            # On no device it draws nothing from torch's global generator; whoever uses the model loads parameters.
            self.linear = nn.Linear(features, classes, device="meta").to_empty(device="cpu")

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images if self.shift is None else images + self.shift)
        assert isinstance(logits, Tensor)
        return logits


def _gradient(model: nn.Module, samples: Samples, params: Tensor) -> Tensor:
    flat.load(model, params)
    loss = nn.functional.cross_entropy(model(samples.images), samples.labels)
    gradients = torch.autograd.grad(loss, list(flat.trainable(model).values()), allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
