"""SkyMask against the official way and a naive one, both with all candidates' masks in one autograd graph: ratios, and seconds.

    python benchmarks/skymask.py [--quick]

One thread, all sides in one run, taken in turns, minimum of the repeats, of the thread's own time. All train masks on the root
data from the same rows, with the same steps. The official way has a mask tensor for each candidate and parameter, joins them
into new tensors that it sums, lets autograd fill all of their gradients, clips and descends on each; the naive way has one
tensor for all. Either keeps about 13 times the masks in its graph. Shapes are the paper's: softmax regression on HAR with 30
clients and 231 root samples, its network for Fashion-MNIST with 30 and 100 clients and 100 root samples, ResNet-20 with 20 and
100. The bars in seconds are what a prototype took. The rows are noise: what they hold does not change the time.

The model's own pass is in every side's step, and its time is printed: a ratio cannot exceed their step over it. On HAR a third
of either side's step is that pass, and the rest of ours is small operations.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from phalanx.aggregators import SkyMask
from phalanx.aggregators.mask_training import Candidates, MaskStep, train_masks
from phalanx.aggregators.root_loss import root_loss
from phalanx.core.families import Architecture
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Root, RoundContext, Samples, Updates
from phalanx.models import LogisticRegression, ResNet20, SkyMaskCNN
from phalanx.training.engines.loop import use_channels_last
from ratios import Row, interleaved, one_core, show


@dataclass(frozen=True)
class Workload:
    """A model, its clients and its root set; the bars are ratios to the naive and the official way, and a round's seconds."""

    name: str
    architecture: Architecture
    shape: tuple[int, ...]
    clients: int
    root: int
    classes: int
    ratio: float | None = None
    seconds: float | None = None
    official: float | None = None


WORKLOADS = (
    Workload("LR on HAR", LogisticRegression(), (561,), 30, 231, 6, ratio=1.5, seconds=0.05),
    Workload("SkyMask CNN", SkyMaskCNN(), (1, 28, 28), 30, 100, 10, ratio=2, seconds=3.4),
    Workload("SkyMask CNN", SkyMaskCNN(), (1, 28, 28), 100, 100, 10, ratio=3, seconds=14.8, official=10),
    Workload("ResNet-20", ResNet20(), (3, 32, 32), 20, 100, 10),
    Workload("ResNet-20", ResNet20(), (3, 32, 32), 100, 100, 10, official=10),
)


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` takes the workloads of at most 30 clients and no ResNet, and repeats less."""
    chosen = [one for one in WORKLOADS if not quick or (one.clients <= 30 and not isinstance(one.architecture, ResNet20))]
    with one_core():
        return [row for workload in chosen for row in _measure(workload, 1 if quick else 3)]


def _measure(workload: Workload, repeats: int) -> Iterator[Row]:
    rows, context = scene(workload)
    n, d = rows.shape
    name, steps = f"{workload.name}, n = {n}, d = {d:,}", 5
    ways = [partial(way, rows, context, steps) for way in (ours, naive, official, passes)]
    fast, slow, theirs, alone = interleaved(*ways, repeats=repeats, clock=time.thread_time)
    of = f"{1000 * fast / steps:.0f} ms, {1000 * alone / steps:.0f} of them the model's pass"
    yield Row(f"{name}: a mask step ({of}) over the naive one", slow / fast, workload.ratio)
    yield Row(f"{name}: the same over the official one ({1000 * theirs / steps:.0f} ms)", theirs / fast, workload.official)
    rule = partial(SkyMask().aggregate, Updates.of(rows), {}, context)
    (whole,) = interleaved(rule, repeats=repeats, clock=time.thread_time)
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


def passes(rows: Tensor, context: RoundContext, steps: int) -> None:
    """What no way is without: so many passes of a merged model."""
    update = rows.mean(dim=0)
    with root_loss(context) as loss:
        for _ in range(steps):
            loss(update)


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


def official(rows: Tensor, context: RoundContext, steps: int) -> Tensor:
    """The same masks, as the official code trains them: a tensor for each candidate and parameter, joined to be summed."""
    assert context.root is not None
    assert context.model is not None
    models = context.global_params + torch.cat([rows, context.root.update()[None]])
    samples, shape = context.root.samples, context.layout.views
    weights = {name: [shape(model)[name].clone() for model in models] for name in shape(models[0])}
    masks = {name: [torch.ones_like(weight, requires_grad=True) for weight in some] for name, some in weights.items()}
    everyone = [mask for some in masks.values() for mask in some]
    optimizer = torch.optim.SGD(everyone, lr=1e6)
    for _ in range(steps):
        optimizer.zero_grad()
        merged = {name: _merged(some, weights[name]) for name, some in masks.items()}
        logits = torch.func.functional_call(context.model, merged, (samples.images,))
        loss = cross_entropy(logits, samples.labels)
        loss.backward(retain_graph=True)
        for mask in everyone:
            assert mask.grad is not None
            mask.grad.clamp_(-1e-6, 1e-6)
        optimizer.step()
    return torch.stack([torch.cat([masks[name][place].detach().reshape(-1) for name in masks]) for place in range(len(models))])


def _merged(masks: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    shares = [mask.sigmoid() for mask in masks]
    return _sum([share * weight for share, weight in zip(shares, weights)]) / _sum(shares)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([*parts]).reshape(len(parts), *parts[0].shape).sum(dim=0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
