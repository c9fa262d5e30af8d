"""`Client`: a client's training as a pure function of its images, for many guesses at once; and what it really leaks."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy, one_hot

from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.leak import Leak, LocalSteps
from phalanx.core.params import Layout, trainable
from phalanx.core.pixels import require_pixels


class Client:
    """What a client with the global model would send, for guesses of its images, with graph.

    Raises: ConfigError if the model's gradient is random; PreconditionError if leak and model do not fit each other.
    """

    def __init__(self, model: nn.Module, leak: Leak) -> None:
        self._model, self._local = pure(model), leak.local
        self._params = {name: tensor.detach() for name, tensor in trainable(self._model).items()}
        _check(self._model, leak)
        self.num_classes = self._classes(leak)
        if leak.labels is not None and not (leak.labels.min() >= 0 and leak.labels.max() < self.num_classes):
            raise PreconditionError(f"The model has {self.num_classes} classes; got labels {leak.labels.tolist()}.")

    def one_hot(self, labels: Tensor) -> Tensor:
        """Labels `[B]` as `[B, K]`."""
        return one_hot(labels, self.num_classes).to(next(iter(self._params.values())))

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The gradients `[R, d]`, summed over the steps, for images `[R, B, C, H, W]` and targets `[R, B, K]`."""
        return vmap(self._send)(images, targets) if len(images) > 1 else self._send(images[0], targets[0])[None]

    def _classes(self, leak: Leak) -> int:
        count, *image = leak.shape
        size = leak.local.batch_size or count
        shortest = (count % size or size, *image)  # a batch may be too short for BatchNorm, never too long
        try:
            with torch.no_grad():
                logits = functional_call(self._model, self._params, (leak.gradient.new_zeros(shortest),))
        except (RuntimeError, ValueError) as error:  # torch's own, of whatever layer it is
            reason = str(error).partition("\n")[0]
            raise PreconditionError(f"The model takes no images of shape {list(shortest)}: {reason}") from error
        return int(logits.shape[1])

    def _send(self, images: Tensor, targets: Tensor) -> Tensor:
        local, params = self._local, self._params
        size = local.batch_size or len(images)
        batches = list(zip(torch.split(images, size), torch.split(targets, size))) * local.epochs
        total = torch.zeros(())
        for batch in batches:
            gradients = grad(self._loss)(params, *batch)
            params = {name: tensor - local.lr * gradients[name] for name, tensor in params.items()}
            total = total + torch.cat([gradients[name].reshape(-1) for name in params])
        return total

    def _loss(self, params: dict[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(functional_call(self._model, params, (images,)), targets)


def leak_of(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    local: LocalSteps | None = None,
    mean: Tensor | None = None,
    std: Tensor | None = None,
) -> Leak:
    """What a client with these images `[B, C, H, W]`, pixels in [0, 1], would leak; the labels are known.

    Raises: PreconditionError if these are no images, or labels or model do not fit; ConfigError as `Client` does.
    """
    require_pixels(images)
    blank = images.new_zeros(Layout.of(model).d)
    b, c, h, w = images.shape
    unseen = Leak(blank, (b, c, h, w), labels, mean=mean, std=std, local=local or LocalSteps())
    client = Client(model, unseen)
    gradient = client(unseen.standardise(images)[None], client.one_hot(labels)[None])[0].detach()
    return Leak(gradient, unseen.shape, labels, mean=mean, std=std, local=unseen.local)


def pure(model: nn.Module) -> nn.Module:
    """A copy whose forward pass changes nothing and draws nothing."""
    copy = deepcopy(model)
    for part in copy.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0:
            raise ConfigError(
                "Gradient inversion needs a model whose gradient is no matter of chance; this one has dropout in training "
                "mode. Call model.eval(), or set p to 0."
            )
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training:
            # Without running statistics it takes the batch's, and has nothing to update.
            part.running_mean = part.running_var = part.num_batches_tracked = None
    return copy


def _check(model: nn.Module, leak: Leak) -> None:
    d = Layout.of(model).d
    if len(leak.gradient) != d:
        raise PreconditionError(
            f"The model has {d} parameters; got a gradient of {len(leak.gradient)}. Take the client's model."
        )
