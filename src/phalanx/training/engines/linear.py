"""The closed form for softmax regression: one batched product is a step of many clients. About ten times the naive way.

Every client is padded by its own size only and every product is made matrix by matrix, so a client's bits do not depend on who
is trained beside it.
"""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from phalanx.core import params as flat
from phalanx.core.types import Rows, Status
from phalanx.training.work import ClientWork, LocalWork

_BYTES = 3 << 18
"""Memory for the samples of one step, to stay in a core's L2 cache: clients beyond it wait for the next chunk."""


def is_linear(model: nn.Module) -> bool:
    """Whether `model` is flattening and one `nn.Linear`, all of it trainable, in float32.

    A module of another form can declare with an attribute `is_softmax_regression = True` that it computes
    `flatten(x) @ weight.T + bias` from its only parameters, weight `[C, F]` and bias `[C]`.
    """
    declared = getattr(model, "is_softmax_regression", False)
    if not declared and not _is_flat_then_linear(model):
        return False
    parameters = list(model.parameters())
    shapes = [parameter.dim() for parameter in parameters]
    trainable = all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in parameters)
    return trainable and shapes in ([2, 1], [2]) and not list(model.buffers())


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
    """Train every client of the cohort and write its row of `out`; `model` only tells the shapes."""
    shapes = [tuple(parameter.shape) for parameter in flat.trainable(model).values()]
    for rows, batch_size in _chunks(work, features=shapes[0][1]):
        _train(work, rows, batch_size, shapes, out)
    for place in (place for place, index in zip(work.cohort.places, work.cohort.index) if not len(index)):
        out.matrix[place], out.loss[place], out.steps[place] = 0, 0, 0
        out.status[place] = Status.NO_SAMPLES


def _chunks(work: LocalWork, features: int) -> Iterator[tuple[list[int], int]]:
    """Clients that are trained together, with the batch size that they are padded to: a power of two for those with less."""
    groups: dict[int, list[int]] = defaultdict(list)
    for i, index in enumerate(work.cohort.index):
        if len(index):
            groups[min(work.batch_size, 1 << (len(index) - 1).bit_length())].append(i)
    for batch_size, members in groups.items():
        size = max(1, _BYTES // (4 * batch_size * features))
        yield from ((members[start : start + size], batch_size) for start in range(0, len(members), size))


def _train(work: LocalWork, rows: list[int], batch_size: int, shapes: list[tuple[int, ...]], out: Rows) -> None:
    batches = [_Batches(work.client(i), batch_size) for i in rows]
    order = sorted(range(len(rows)), key=lambda row: -len(batches[row].sizes))  # the busy ones are always a prefix
    batches, places = [batches[row] for row in order], [work.cohort.places[rows[row]] for row in order]
    start = work.context.global_params
    pieces = torch.split(start, [torch.Size(shape).numel() for shape in shapes])
    parameters = finals = [piece.view(shape).repeat(len(rows), *(1 for _ in shape)) for piece, shape in zip(pieces, shapes)]
    losses, optimizer = torch.zeros(len(rows), device=start.device), work.optimizer()
    for step in range(len(batches[0].sizes)):
        busy = [batch for batch in batches if len(batch.sizes) > step]
        if len(busy) < len(losses):
            optimizer.keep(len(busy))
            parameters = [parameter[: len(busy)] for parameter in parameters]
        images, labels, shares = _load(busy, step)
        residual, loss = _residual(parameters, images, labels, shares)
        losses[: len(busy)] += loss
        if optimizer.plain_rate is not None and not work.hooks:
            _descend(parameters, residual, images, optimizer.plain_rate)
        else:
            work.step(optimizer, parameters, _gradients(parameters, residual, images), len(busy))
    weights = torch.cat([parameter.flatten(1) for parameter in finals], dim=1)
    where, steps = torch.tensor(places), torch.tensor([len(batch.sizes) for batch in batches])
    out.matrix.index_copy_(0, where.to(start.device), weights.sub_(start))
    out.loss.index_copy_(0, where.to(start.device), losses / steps.to(start.device))
    out.steps[where], out.status[where] = steps, int(Status.SENT)


class _Batches:
    """A client's batches, each padded to `size`: with its own first sample, so a bad sample harms nobody else."""

    def __init__(self, client: ClientWork, size: int) -> None:
        self.client, self.size = client, size
        self.order, self.sizes = client.plan()
        self.index = self._pad_all(client.index[self.order])
        self._positions = torch.split(self.order, self.sizes) if client.changes_samples else ()

    def _pad_all(self, samples: Tensor) -> Tensor:
        """`[steps, size]`."""
        if len(samples) == len(self.sizes) * self.size:
            return samples.view(-1, self.size)
        is_sample = torch.arange(self.size) < torch.tensor(self.sizes)[:, None]
        padded = samples[:1].repeat(len(self.sizes), self.size)
        padded[is_sample.to(padded.device)] = samples
        return padded

    def load(self, step: int) -> tuple[Tensor, Tensor]:
        """Images `[size, F]` and labels `[size]` of a client whose samples are changed."""
        images, labels = self.client.load(self._positions[step])
        missing = self.size - len(labels)
        images = images.flatten(1)
        if not missing:
            return images, labels
        return torch.cat([images, images[:1].expand(missing, -1)]), torch.cat([labels, labels[:1].expand(missing)])


def _load(batches: list[_Batches], step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images `[k, B, F]`, labels `[k, B]` and weights `[k, B, 1]`: 1 / m for a client's m samples, 0 for the padding."""
    client, size = batches[0].client, batches[0].size
    sizes = torch.tensor([batch.sizes[step] for batch in batches], device=client.index.device).view(-1, 1, 1)
    weights = (torch.arange(size, device=sizes.device).unsqueeze(1) < sizes) / sizes
    if client.changes_samples:
        loaded = [batch.load(step) for batch in batches]
        return torch.stack([images for images, _ in loaded]), torch.stack([labels for _, labels in loaded]), weights
    images, labels = client.samples.pixels(torch.cat([batch.index[step] for batch in batches]))
    return client.samples.normalize(images).view(len(batches), size, -1), labels.view(len(batches), size), weights


def _residual(parameters: list[Tensor], images: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy's gradient at the logits, `(softmax − onehot) / m` `[k, B, C]`; and the losses `[k]`."""
    weight, *bias = parameters
    labels = labels.unsqueeze(2)
    logits = torch.baddbmm(bias[0].unsqueeze(1), images, weight.mT) if bias else torch.bmm(images, weight.mT)
    log_probabilities = log_softmax(logits, dim=2)
    loss = -(log_probabilities.gather(2, labels) * weights).sum(dim=(1, 2))
    return log_probabilities.exp_().mul_(weights).scatter_add_(2, labels, -weights), loss


def _gradients(parameters: list[Tensor], residual: Tensor, images: Tensor) -> list[Tensor]:
    return [torch.bmm(residual.mT, images), residual.sum(dim=1)][: len(parameters)]


def _descend(parameters: list[Tensor], residual: Tensor, images: Tensor, rate: float) -> None:
    """A plain step without the gradients in between."""
    weight, *bias = parameters
    weight.baddbmm_(residual.mT, images, alpha=-rate)
    if bias:
        bias[0].sub_(residual.sum(dim=1), alpha=rate)
