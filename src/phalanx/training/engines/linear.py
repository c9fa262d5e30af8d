"""The closed form for softmax regression: one batched product is a step of many clients. About ten times the naive way.

Every client is padded by its own size only and every product is made matrix by matrix, so a client's bits do not depend on who
is trained beside it.
"""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot

from phalanx.core import params as flat
from phalanx.core.types import Rows, Status
from phalanx.training.work import ClientWork, LocalWork

_BYTES = 16 << 20
"""Memory for the samples of one step: clients beyond it wait for the next chunk."""


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
    clients = {i: work.client(i) for i in rows}
    plans = {i: list(client.positions()) for i, client in clients.items()}
    rows = sorted(rows, key=lambda i: -len(plans[i]))  # those who finish early are last, so the busy ones are a prefix
    start = work.context.global_params
    weights = start.expand(len(rows), -1).contiguous()
    parameters = _views(weights, shapes)
    losses, optimizer = torch.zeros(len(rows), device=start.device), work.optimizer()
    for step in range(len(plans[rows[0]])):
        busy = [i for i in rows if len(plans[i]) > step]
        optimizer.keep(len(busy))
        parameters = [parameter[: len(busy)] for parameter in parameters]
        batch = _batch([clients[i] for i in busy], [plans[i][step] for i in busy], batch_size)
        gradients, loss = _gradients(parameters, *batch)
        work.step(optimizer, parameters, gradients, len(busy))
        losses[: len(busy)] += loss
    places = torch.tensor([work.cohort.places[i] for i in rows])
    counts = torch.tensor([len(plans[i]) for i in rows])
    out.matrix.index_copy_(0, places.to(start.device), weights.sub_(start))
    out.loss.index_copy_(0, places.to(start.device), losses / counts.to(start.device))
    out.steps[places], out.status[places] = counts, int(Status.SENT)


def _views(rows: Tensor, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    pieces = torch.split(rows, [torch.Size(shape).numel() for shape in shapes], dim=1)
    return [piece.view(-1, *shape) for piece, shape in zip(pieces, shapes)]


def _batch(clients: list[ClientWork], positions: list[Tensor], batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images `[k, B, F]`, labels `[k, B]` and weights `[k, B]`: 1 / m for a client's m samples, 0 for the padding."""
    sizes = torch.tensor([len(batch) for batch in positions], device=positions[0].device)[:, None]
    is_sample = torch.arange(batch_size, device=sizes.device) < sizes
    weights = is_sample / sizes
    samples = clients[0].samples
    if any(client.changes_samples for client in clients):
        loaded = [client.load(batch) for client, batch in zip(clients, positions)]
        images = torch.stack([_pad(images.flatten(1), batch_size) for images, _ in loaded])
        labels = torch.stack([_pad(labels, batch_size) for _, labels in loaded])
        return images, labels, weights
    index = torch.stack([_pad(client.index[batch], batch_size) for client, batch in zip(clients, positions)])
    images, labels = samples.pixels(index.flatten())
    return samples.normalize(images).view(*index.shape, -1), labels.view(index.shape), weights


def _pad(batch: Tensor, size: int) -> Tensor:
    """Repeat the first entry: a client's padding is of its own samples, so a bad one harms nobody else."""
    if len(batch) == size:
        return batch
    return torch.cat([batch, batch[:1].expand(size - len(batch), *batch.shape[1:])])


def _gradients(parameters: list[Tensor], images: Tensor, labels: Tensor, weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """Of the mean cross-entropy: `∂/∂logits = (softmax − onehot) / m`. And the losses `[k]`."""
    weight, *bias = parameters
    logits = torch.baddbmm(bias[0].unsqueeze(1), images, weight.mT) if bias else torch.bmm(images, weight.mT)
    log_probabilities = log_softmax(logits, dim=2)
    target = one_hot(labels, weight.shape[1])
    loss = -(log_probabilities.gather(2, labels.unsqueeze(2)).squeeze(2) * weights).sum(dim=1)
    residual = (log_probabilities.exp_() - target).mul_(weights.unsqueeze(2))
    return [torch.bmm(residual.mT, images), *([residual.sum(dim=1)] if bias else [])], loss
