"""The loss of a model on the server's own data, as a function of an update to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from phalanx.core import params as flat
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext

LossAndGradient = Callable[[Tensor], tuple[float, Tensor]]
"""The loss on the root data, and its gradient `[d]`, of an update `[d]` to the global model."""


@contextmanager
def root_loss(context: RoundContext) -> Iterator[LossAndGradient]:
    """Cross-entropy of the round's model on all root data at once, as a function of an update to the global parameters.

    Dropout is off. BatchNorm normalises with what the merged model makes of the root batch: running statistics, the clients' or
    the server's, are those of another model, so none are read. The model's buffers and modes are put back.

    Raises: PreconditionError without root samples of two classes.
    """
    assert context.model is not None  # what `needs` promises
    assert context.root is not None
    model, samples = context.model, context.root.samples
    classes = sorted(set(samples.labels.tolist()))
    if len(classes) < min(samples.num_classes, 2):
        # A model that always says the one class would be right: attackers were kept, and the honest rejected.
        got = f"only class {classes[0]}" if classes else "none"
        raise PreconditionError(
            f"SkyMask needs root samples of two classes or more; got {got}. "
            "Raise root.size or root.group_share, or lower root.share."
        )
    images, labels = samples.pixels(torch.arange(len(samples), device=samples.labels.device))
    images, parameters = samples.normalize(images), list(flat.trainable(model).values())
    if images.dim() == 4 and any(parameter.dim() == 4 for parameter in parameters):
        images = images.to(memory_format=torch.channels_last)  # the layout that models with convolutions have
    buffers = list(model.buffers())
    kept = [buffer.clone() for buffer in buffers]

    def loss_and_gradient(update: Tensor) -> tuple[float, Tensor]:
        flat.load(model, (context.global_params + update).to(torch.float32))
        with torch.enable_grad():
            loss = cross_entropy(model(images), labels)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        return float(loss.detach()), torch.cat([gradient.reshape(-1) for gradient in gradients])

    try:
        with flat.evaluating(model):
            for part in model.modules():
                if isinstance(part, _BatchNorm):
                    part.train()
            yield loss_and_gradient
    finally:
        for buffer, value in zip(buffers, kept):
            buffer.copy_(value)
