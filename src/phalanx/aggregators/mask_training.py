"""Learnable masks over candidate models, trained on root data: the first half of SkyMask, which its variants share.

The merged model is W~ = Σ s_i W_i / Σ s_i, elementwise, with s_i = sigmoid(m_i) and a mask m of its own for every parameter of
every candidate. The gradient of the loss in a mask is known in closed form (tests compare it with autograd),
```
dL/dm_i = dL/dW~ · s_i (1 − s_i) (W_i − W~) / Σ_j s_j
```
so a step is one ordinary backward pass of the merged model, whatever module it is, and one pass over the rows in column blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil

import torch
from torch import Tensor

from phalanx.aggregators.root_loss import LossAndGradient
from phalanx.core.workers import blocks, do_parts

_BLOCK_VALUES, _BLOCK = 1 << 18, 256
"""A block has about as many values, and at least so many columns. Shorter pieces of rows cost more than a core's cache saves:
at n = 100, d = 140,000 a step takes 0.25 s with 2^14 values and 0.13 with 2^18."""

BlockWork = Callable[[slice, Tensor, Tensor, Tensor], None]
"""Work on a block of columns: which they are, the candidates' W_i − W~ there `[n + 1, w]`, and two buffers of that shape."""


@dataclass(frozen=True)
class MaskStep:
    """`m -= rate · clip(gradient, ±bound)`."""

    rate: float
    bound: float


@dataclass(frozen=True)
class TrainedMasks:
    """Masks `[n + 1, d]` before the sigmoid, the root's last, and the losses that training saw.

    `is_finite`: whether the loss and its gradient always were. A row may be so long that no merged model has a loss.
    """

    masks: Tensor
    losses: tuple[float, ...]
    steps: int
    is_finite: bool


def train_masks(
    candidates: "Candidates",
    loss: LossAndGradient,
    *,
    steps: int,
    choose_step: Callable[[Callable[[], Tensor]], MaskStep],
    stops: Callable[[list[float]], bool] = lambda losses: False,
) -> TrainedMasks:
    """Descend on the merged model's loss in the masks, from 1 everywhere.

    `choose_step` may ask for the sizes of all entries of the first gradient `[(n + 1) d]`, which it may overwrite; `stops` is
    asked after every loss. Training ends where the loss or its gradient is not finite. Memory: the masks, and three blocks
    for each worker.
    """
    masks = candidates.rows.new_ones(len(candidates), candidates.rows.shape[1])
    merge, losses, step = candidates.merged(masks), list[float](), MaskStep(0, 0)
    for turn in range(steps):
        value, gradient = loss(merge.update)
        losses.append(value)
        if not (abs(value) < torch.inf and gradient.isfinite().all()):
            return TrainedMasks(masks, tuple(losses), turn, is_finite=False)
        if stops(losses):
            return TrainedMasks(masks, tuple(losses), turn, is_finite=True)
        if turn == 0:
            step = choose_step(partial(candidates.first_sizes, gradient, merge, masks))
            masks.fill_(1)
        candidates.descend(masks, gradient, step, merge)
    return TrainedMasks(masks, tuple(losses), steps, is_finite=True)


@dataclass(frozen=True)
class Merge:
    """Σ s_i `[d]`, and the merged model as an update `[d]` to the global one."""

    total: Tensor
    update: Tensor


@dataclass(frozen=True)
class Candidates:
    """The clients' updates `[n, d]` and the root's `[d]`: the n + 1 models to be merged, each as its way from the global one.

    The shares of a parameter add up to 1, so the merged model is the global one plus the merged updates.
    """

    rows: Tensor
    root: Tensor

    def __len__(self) -> int:
        return len(self.rows) + 1

    def merged(self, masks: Tensor) -> Merge:
        """What masks `[n + 1, d]` merge to."""
        merge = Merge(self.rows.new_empty(self.rows.shape[1]), self.rows.new_zeros(self.rows.shape[1]))

        def one_block(block: slice, offsets: Tensor, shares: Tensor, _: Tensor) -> None:
            torch.sigmoid(masks[:, block], out=shares)
            _merge(merge, block, offsets, shares)

        self._do_blocks(merge.update, one_block)
        return merge

    def first_sizes(self, gradient: Tensor, merge: Merge, out: Tensor) -> Tensor:
        """The sizes of the first gradient in all masks, flat; written into `out` `[n + 1, d]`."""
        share = torch.sigmoid(merge.total.new_ones(()))
        slope = gradient.to(merge.total) * (share * (1 - share)) / merge.total

        def one_block(block: slice, offsets: Tensor, _: Tensor, __: Tensor) -> None:
            torch.mul(offsets, slope[block], out=out[:, block]).abs_()

        self._do_blocks(merge.update, one_block)
        return out.view(-1)

    def descend(self, masks: Tensor, gradient: Tensor, step: MaskStep, merge: Merge) -> None:
        """One step of the masks, and what they merge to then: both in place, in one pass over masks and rows."""
        # rate · clip(g, ±bound) = clip(rate · g, ±rate · bound), where all candidates share a factor of g.
        largest, bound = torch.finfo(masks.dtype).max, step.rate * step.bound
        slope = (gradient.double() / merge.total * step.rate).clamp_(-largest, largest).to(masks.dtype)

        def one_block(block: slice, offsets: Tensor, shares: Tensor, change: Tensor) -> None:
            some = masks[:, block]
            torch.sigmoid(some, out=shares)
            torch.addcmul(shares, shares, shares, value=-1, out=change)  # s (1 − s)
            some -= change.mul_(offsets).mul_(slope[block]).clamp_(-bound, bound)
            torch.sigmoid(some, out=shares)
            _merge(merge, block, offsets, shares)

        self._do_blocks(merge.update, one_block)

    def _do_blocks(self, centre: Tensor, work: BlockWork) -> None:
        """Have `work` done on all columns; workers share them."""
        n, d = self.rows.shape
        width = max(_BLOCK, _BLOCK_VALUES // (n + 1))

        def one_part(part: slice) -> None:
            buffers = [self.rows.new_empty(n + 1, min(width, d)) for _ in range(3)]
            for block in blocks(part, width):
                offsets, *others = (buffer[:, : block.stop - block.start] for buffer in buffers)
                torch.sub(self.rows[:, block], centre[block], out=offsets[:-1])
                torch.sub(self.root[block], centre[block], out=offsets[-1])
                work(block, offsets, others[0], others[1])

        do_parts(one_part, d, width)


def _merge(merge: Merge, block: slice, offsets: Tensor, shares: Tensor) -> None:
    """Move the merged update to Σ s_i W_i / Σ s_i, from the candidates' offsets to where it was; overwrites `shares`."""
    total = shares.sum(dim=0)
    merge.total[block] = total
    merge.update[block] += shares.mul_(offsets).sum(dim=0).div_(total)


def quantile_of(sizes: Tensor, share: float) -> float:
    """The smallest entry of `[m]` that at least `share` of the entries do not exceed. On a CPU `sizes` is reordered."""
    place = max(ceil(share * len(sizes)), 1)
    if sizes.device.type != "cpu":
        return float(sizes.kthvalue(place).values)
    values = sizes.numpy()
    values.partition(place - 1)  # twice as fast as kthvalue, and without a copy
    return float(values[place - 1])
