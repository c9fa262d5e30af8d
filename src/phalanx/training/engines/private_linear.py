"""DP-SGD of softmax regression for a whole cohort: batched products, and norms without any gradient.

An example's gradient is `(p − onehot) xᵀ` for the weight and `p − onehot` for the bias, so its norm is the product of two short
ones. Poisson batches differ in size: each client is padded to its own largest one of the round, with weight 0, so a client's
bits do not depend on who is trained beside it.
"""

import math
from bisect import bisect_left
from collections import defaultdict

import torch
from torch import Tensor

from phalanx.core.types import Rows, Status
from phalanx.training.engines.linear import residual
from phalanx.training.private_work import PrivateClient, PrivateWork

_BYTES = 3 << 18
"""Memory for the samples of one step, to stay in a core's L2 cache: clients beyond it wait for the next chunk."""
_MULTIPLE = 8
"""Clients whose batches are padded to the same multiple of this train together."""


@torch.no_grad()
def train(work: PrivateWork, out: Rows) -> None:
    """Train every client of the cohort and write its row of `out`; no model is needed."""
    groups: dict[int, list[_Client]] = defaultdict(list)
    for i, place in enumerate(work.cohort.places):
        client = _Client(work.client(i), place)
        if client.sizes:
            groups[client.padded].append(client)
        else:
            out.matrix[place], out.loss[place], out.steps[place], out.status[place] = 0, 0, 0, Status.NO_SAMPLES
    features = work.context.layout.parameters[0].shape[1]
    for padded, clients in groups.items():
        # The busiest come first, so that those who still train are always a prefix.
        clients.sort(key=lambda client: -len(client.sizes))
        size = max(1, _BYTES // (4 * padded * features))
        for start in range(0, len(clients), size):
            _train(work, clients[start : start + size], out)


class _Client:
    """A client's draws in this round, and its row."""

    def __init__(self, work: PrivateClient, place: int) -> None:
        self.work, self.place = work, place
        self.order, self.sizes = work.plan()
        self.padded = max(1, -(-max(self.sizes, default=0) // _MULTIPLE)) * _MULTIPLE


def _train(work: PrivateWork, clients: list[_Client], out: Rows) -> None:
    start, slots = work.context.global_params, work.context.layout.parameters
    parameters = finals = [slot.view(start).repeat(len(clients), *(1 for _ in slot.shape)) for slot in slots]
    batches, optimizer = _Batches(clients), work.optimizer()
    expected = torch.tensor([[client.work.expected_batch] for client in clients], device=start.device)
    sums = torch.empty(len(clients), work.context.layout.d, device=start.device)
    for step in range(batches.steps[0]):
        busy = batches.busy(step)
        if busy < len(parameters[0]):
            optimizer.keep(busy)
            parameters, expected, sums = [parameter[:busy] for parameter in parameters], expected[:busy], sums[:busy]
        for client, row in zip(clients, sums):
            client.work.draw_noise(row)
        gradients = [slot.view(sums) for slot in slots]
        _add_clipped(work, parameters, gradients, *batches.load(step))
        sums /= expected
        work.step(optimizer, parameters, gradients, busy)
    where, steps = torch.tensor([client.place for client in clients]), torch.tensor(batches.steps)
    on_device = where.to(start.device)
    for slot, final in zip(slots, finals):
        slot.view(out.matrix).index_copy_(0, on_device, final.sub_(slot.view(start)))
    # Not the loss: it would tell of the examples what the noise is to hide.
    out.loss[on_device] = math.nan
    out.steps[where], out.status[where] = steps, int(Status.SENT)


def _add_clipped(
    work: PrivateWork, parameters: list[Tensor], sums: list[Tensor], images: Tensor, labels: Tensor, is_sample: Tensor
) -> None:
    """Add the clipped gradients of `images` `[k, B, F]` to `sums`, `[k, C, F]` and perhaps `[k, C]`."""
    back, _ = residual(parameters, images, labels, is_sample)
    squares = back.square().sum(dim=2)
    lengths = torch.linalg.vector_norm(images, dim=2).square()
    squares = torch.stack([squares * lengths, squares][: len(sums)], dim=2)
    is_finite = squares.isfinite().all(dim=2, keepdim=True)
    if not is_finite.all():  # such an example counts as zero, as in `clipped_sum`
        back, images, squares = (torch.where(is_finite, values, 0) for values in (back, images, squares))
    factors = work.clipping.factors(squares)
    sums[0].baddbmm_((back * factors[:, :, :1]).mT, images)
    if len(sums) > 1:
        sums[1].add_((back * factors[:, :, 1:]).sum(dim=1))


class _Batches:
    """Some clients' batches, each padded to the same size: `is_sample` `[steps, k, size, 1]` is 1 for samples, else 0."""

    def __init__(self, clients: list[_Client]) -> None:
        self.clients, self.size, self.samples = clients, clients[0].padded, clients[0].work.samples
        self.steps = [len(client.sizes) for client in clients]
        device = self.samples.labels.device
        counts = torch.tensor([client.sizes + [0] * (self.steps[0] - len(client.sizes)) for client in clients], device=device)
        is_sample = torch.arange(self.size, device=device) < counts.unsqueeze(2)
        first = torch.stack([client.work.index[0] for client in clients])
        index = first.view(-1, 1, 1).repeat(1, *is_sample.shape[1:])
        index[is_sample] = torch.cat([client.work.index[client.order] for client in clients])
        self._index, self.is_sample = index.transpose(0, 1), is_sample.transpose(0, 1).unsqueeze(3).float()
        changes = clients[0].work.changes_samples
        self._positions = [torch.split(client.order, client.sizes) for client in clients] if changes else []

    def busy(self, step: int) -> int:
        """How many clients, from the first on, make this step."""
        return bisect_left(self.steps, -step, key=lambda steps: -steps)

    def load(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images `[k, size, F]`, labels `[k, size]` and `is_sample` `[k, size, 1]` of the busy clients."""
        busy = self.busy(step)
        is_sample = self.is_sample[step, :busy]
        images, labels = self.samples.pixels(self._index[step, :busy].flatten())
        images, labels = self.samples.normalize(images).view(busy, self.size, -1), labels.view(busy, self.size)
        for i, positions in enumerate(each[step] for each in self._positions[:busy]):
            if len(positions):
                changed, their = self.clients[i].work.load(positions)
                images[i, : len(their)], labels[i, : len(their)] = changed.flatten(1), their
        return images, labels, is_sample
