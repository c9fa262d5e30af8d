"""The closed form for softmax regression: one batched product is a step of many clients. About ten times the naive way.

Every client is padded by its own size only and every product is made matrix by matrix, so a client's bits do not depend on who
is trained beside it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from phalanx.core.types import Rows, Status
from phalanx.training.work import ClientWork, LocalWork

_BYTES = 3 << 18
"""Memory for the samples of one step, to stay in a core's L2 cache: clients beyond it wait for the next chunk."""


def is_linear(model: nn.Module) -> bool:
    """Whether `model` is flattening and one `nn.Linear`, all of it trainable, in float32.

    A module of another form can declare with an attribute `is_softmax_regression = True` that it computes
    `flatten(x) @ weight.T + bias` from its only parameters, weight `[C, F]` and bias `[C]`.
    """
    if _is_hooked(model):
        return False  # someone changes or watches what the layer does
    declared = getattr(model, "is_softmax_regression", False)
    if not declared and not _is_flat_then_linear(model):
        return False
    parameters = list(model.parameters())
    shapes = [parameter.dim() for parameter in parameters]
    trainable = all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in parameters)
    return trainable and shapes in ([2, 1], [2]) and not list(model.buffers())


def _is_hooked(model: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, kind) for part in model.modules() for kind in kinds) or any(
        parameter._backward_hooks for parameter in model.parameters()
    )


def _is_flat_then_linear(model: nn.Module) -> bool:
    *before, last = _stages(model)
    flattens = (type(part) is nn.Identity or (type(part) is nn.Flatten and part.start_dim == 1) for part in before)
    return type(last) is nn.Linear and all(flattens)


def _stages(model: nn.Module) -> list[nn.Module]:
    if type(model) is not nn.Sequential or not len(model):
        return [model]
    return [stage for part in model for stage in _stages(part)]


@torch.no_grad()
def train(work: LocalWork, model: nn.Module, out: Rows) -> None:
    """Train every client of the cohort and write its row of `out`; the model itself is not needed."""
    for members, batch_size in _chunks(work):
        _train(work, _Batches([work.client(i) for i in members], batch_size), [work.cohort.places[i] for i in members], out)
    for place in (place for place, index in zip(work.cohort.places, work.cohort.index) if not index.numel()):
        out.matrix[place], out.loss[place], out.steps[place] = 0, 0, 0
        out.status[place] = Status.NO_SAMPLES


def _chunks(work: LocalWork) -> Iterator[tuple[list[int], int]]:
    """Clients that are trained together, with the batch size that they are padded to: a power of two for those with less.

    The busiest come first, so that those who still train are always a prefix.
    """
    sizes = [index.numel() for index in work.cohort.index]
    groups: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if sizes[i]:
            groups[min(work.batch_size, 1 << (sizes[i] - 1).bit_length())].append(i)
    features = work.context.layout.parameters[0].shape[1]
    for batch_size, members in groups.items():
        size = max(1, _BYTES // (4 * batch_size * features))
        yield from ((members[start : start + size], batch_size) for start in range(0, len(members), size))


def _train(work: LocalWork, batches: "_Batches", places: list[int], out: Rows) -> None:
    start, slots = work.context.global_params, work.context.layout.parameters
    parameters = finals = [slot.view(start).repeat(len(places), *(1 for _ in slot.shape)) for slot in slots]
    losses, optimizer = torch.zeros(len(places), device=start.device), work.optimizer()
    for step in range(batches.steps[0]):
        busy = batches.busy(step)
        if busy < len(parameters[0]):
            optimizer.keep(busy)
            parameters = [parameter[:busy] for parameter in parameters]
        images, labels = batches.load(step)
        back, loss = residual(parameters, images, labels, batches.shares[step, :busy])
        losses[:busy] += loss
        if optimizer.plain_rate is not None and not work.hooks:
            _descend(parameters, back, images, optimizer.plain_rate)
        else:
            work.step(optimizer, parameters, _gradients(parameters, back, images), busy)
    where, steps = torch.tensor(places), torch.tensor(batches.steps)
    on_device = where.to(start.device)
    for slot, final in zip(slots, finals):
        slot.view(out.matrix).index_copy_(0, on_device, final.sub_(slot.view(start)))
    out.loss.index_copy_(0, on_device, losses / steps.to(start.device))
    out.steps[where], out.status[where] = steps, int(Status.SENT)


class _Batches:
    """Some clients' batches, each padded to `size` with its client's own first sample: a bad sample harms nobody else.

    `shares` `[steps, k, size, 1]` is 1 / m for the m samples of a batch and 0 for the padding.
    """

    def __init__(self, clients: list[ClientWork], size: int) -> None:
        self.clients, self.size, self.samples = clients, size, clients[0].samples
        plans = [client.plan() for client in clients]
        self.steps = [len(sizes) for _, sizes in plans]
        samples = torch.cat([client.index[order] for client, (order, _) in zip(clients, plans)])
        counts = torch.tensor([sizes + [0] * (self.steps[0] - len(sizes)) for _, sizes in plans], device=samples.device)
        is_sample = torch.arange(size, device=samples.device) < counts.unsqueeze(2)
        self._index = _padded(samples, is_sample).transpose(0, 1)
        self.shares = (is_sample / counts.unsqueeze(2)).transpose(0, 1).unsqueeze(3)
        self._positions = [torch.split(order, sizes) for order, sizes in plans] if clients[0].changes_samples else []

    def busy(self, step: int) -> int:
        """How many clients, from the first on, make this step."""
        return bisect_left(self.steps, -step, key=lambda steps: -steps)

    def load(self, step: int) -> tuple[Tensor, Tensor]:
        """Images `[k, size, F]` and labels `[k, size]` of the busy clients."""
        busy = self.busy(step)
        if self._positions:
            loaded = [self._changed(client, positions[step]) for client, positions in zip(self.clients[:busy], self._positions)]
            return torch.stack([images for images, _ in loaded]), torch.stack([labels for _, labels in loaded])
        images, labels = self.samples.pixels(self._index[step, :busy].flatten())
        return self.samples.normalize(images).view(busy, self.size, -1), labels.view(busy, self.size)

    def _changed(self, client: ClientWork, positions: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = client.load(positions)
        missing = self.size - len(labels)
        images = images.flatten(1)
        if not missing:
            return images, labels
        return torch.cat([images, images[:1].expand(missing, -1)]), torch.cat([labels, labels[:1].expand(missing)])


def _padded(samples: Tensor, is_sample: Tensor) -> Tensor:
    """`samples`, one client after the other, laid out where `is_sample` `[k, steps, size]`; each client's first elsewhere."""
    if samples.numel() == is_sample.numel():
        return samples.view(is_sample.shape)
    per_client = is_sample.sum(dim=(1, 2))
    padded = samples[per_client.cumsum(0) - per_client].view(-1, 1, 1).repeat(1, *is_sample.shape[1:])
    padded[is_sample] = samples
    return padded


def residual(parameters: list[Tensor], images: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy's gradient at the logits, `(softmax − onehot) / m` `[k, B, C]`; and the losses `[k]`."""
    weight, *bias = parameters
    labels = labels.unsqueeze(2)
    logits = torch.baddbmm(bias[0].unsqueeze(1), images, weight.mT) if bias else torch.bmm(images, weight.mT)
    log_probabilities = log_softmax(logits, dim=2)
    loss = -(log_probabilities.gather(2, labels) * weights).sum(dim=(1, 2))
    return log_probabilities.exp_().mul_(weights).scatter_add_(2, labels, -weights), loss


def _gradients(parameters: list[Tensor], back: Tensor, images: Tensor) -> list[Tensor]:
    return [torch.bmm(back.mT, images), back.sum(dim=1)][: len(parameters)]


def _descend(parameters: list[Tensor], back: Tensor, images: Tensor, rate: float) -> None:
    """A plain step without the gradients in between."""
    weight, *bias = parameters
    weight.baddbmm_(back.mT, images, alpha=-rate)
    if bias:
        bias[0].sub_(back.sum(dim=1), alpha=rate)
