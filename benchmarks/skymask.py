"""SkyMask against the naive way, in which all candidates' masks are in one autograd graph: ratios, and what a round takes.

    python benchmarks/skymask.py [--quick]

One thread, both sides in one run, taken in turns, minimum of the repeats. Both train masks on the root data from the same
rows, with the same steps; the naive way keeps about 13 times the masks in its graph. Shapes are the paper's: softmax
regression on HAR with 30 clients and 247 root samples, its network for Fashion-MNIST with 30 and 100 clients and 100 root
samples. The bars in seconds are what a prototype took. The rows are noise: what they hold does not change the time. On HAR a
third of either side's step is the model's own pass, and the rest of ours is small operations.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from phalanx.aggregators import SkyMask
from phalanx.aggregators.mask_training import Candidates, MaskStep, root_loss, train_masks
from phalanx.core.families import Architecture
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Root, RoundContext, Samples, Updates
from phalanx.models import LogisticRegression, SkyMaskCNN
from phalanx.training.engines.loop import use_channels_last
from ratios import Row, interleaved, one_core, show


@dataclass(frozen=True)
class Workload:
    """A model, its clients and its root set; the bars are a ratio, and the seconds of a whole round."""

    name: str
    architecture: Architecture
    shape: tuple[int, ...]
    clients: int
    root: int
    classes: int
    ratio: float
    seconds: float


WORKLOADS = (
    Workload("LR on HAR", LogisticRegression(), (561,), 30, 247, 6, 1.5, 0.05),
    Workload("SkyMask CNN", SkyMaskCNN(), (1, 28, 28), 30, 100, 10, 2, 3.4),
    Workload("SkyMask CNN", SkyMaskCNN(), (1, 28, 28), 100, 100, 10, 3, 14.8),
)


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` leaves out the last workload and repeats less."""
    with one_core():
        return [row for workload in WORKLOADS[: -1 if quick else None] for row in _measure(workload, 1 if quick else 3)]


def _measure(workload: Workload, repeats: int) -> Iterator[Row]:
    rows, context = scene(workload)
    n, d = rows.shape
    name, steps = f"{workload.name}, n = {n}, d = {d:,}", 5
    fast, slow = interleaved(partial(ours, rows, context, steps), partial(naive, rows, context, steps), repeats=repeats)
    yield Row(f"{name}: a mask step over the naive one ({1000 * fast / steps:.0f} ms)", slow / fast, workload.ratio)
    (whole,) = interleaved(lambda: SkyMask().aggregate(Updates.of(rows), {}, context), repeats=repeats)
    yield Row(f"{name}: 20 steps and the clustering", whole, workload.seconds, unit="s", higher_is_better=False)


def scene(workload: Workload) -> tuple[Tensor, RoundContext]:
    """Rows `[n, d]` and the round that they belong to."""
    generator = torch.Generator().manual_seed(0)
    model = workload.architecture.build(workload.shape, workload.classes, generator)
    use_channels_last(model)
    params, buffers = flatten(model)
    images = torch.randn(workload.root, *workload.shape, generator=generator)
    samples = Samples(images, torch.arange(workload.root) % workload.classes, workload.classes)
    rows, root = (0.01 * torch.randn(count, len(params), generator=generator) for count in (workload.clients, 1))
    layout = Layout.of(model)
    return rows, RoundContext(0, 0, layout, params, buffers, model=model, root=Root(samples, lambda: root[0]))


def ours(rows: Tensor, context: RoundContext, steps: int) -> Tensor:
    """The masks after some steps, by the closed form."""
    assert context.root is not None
    with root_loss(context) as loss:
        candidates = Candidates(rows, context.root.update())
        return train_masks(candidates, loss, steps=steps, choose_step=lambda sizes: MaskStep(1e6, 1e-6)).masks


def naive(rows: Tensor, context: RoundContext, steps: int) -> Tensor:
    """The same masks, by autograd through the merge."""
    assert context.root is not None
    assert context.model is not None
    models = context.global_params + torch.cat([rows, context.root.update()[None]])
    masks, samples = torch.ones_like(models), context.root.samples
    for _ in range(steps):
        masks.requires_grad_()
        shares = masks.sigmoid()
        merged = (shares * models).sum(dim=0) / shares.sum(dim=0)
        logits = torch.func.functional_call(context.model, context.layout.views(merged), (samples.images,))
        gradient = torch.autograd.grad(cross_entropy(logits, samples.labels), masks)[0]
        masks = masks.detach() - 1e6 * gradient.clamp(-1e-6, 1e-6)
    return masks


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
