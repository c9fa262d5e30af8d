"""FLIP: what a pass of trigger inversion costs, and a round of FLIP beside the official order of work and beside plain SGD.

    python benchmarks/flip.py [--quick]

One thread, all sides in one run, taken in turns, minimum of the repeats. FLIP's network for MNIST, trained on scikit-learn's
digits enlarged to 28 x 28, so that searches find what they find on real data. The official order inverts one universal trigger
before each of the first batches, in the layout that torch has by default, with torch's own Adam. Rounds are a client's first,
with 300 images and an eighth of the steps. Last, what the options that spare steps leave of a planted backdoor, on digits.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from phalanx.attacks import Backdoor, Patch
from phalanx.core.families import Trainer
from phalanx.core.params import Layout, evaluating, flatten, load
from phalanx.core.types import Cohort, RoundContext, Rows, Samples
from phalanx.data import Digits
from phalanx.metrics import evaluate
from phalanx.models import MLP, FlipCNN
from phalanx.training import SGD, CleanHardening, Flip, TriggerInversion, Triggers
from phalanx.training.engines.loop import use_channels_last
from ratios import Row, interleaved, one_core, show

UNIVERSAL, PAIR = TriggerInversion(50, lr=0.5, cost=1e-2), TriggerInversion(25, lr=0.5, cost=1e-2)
FLIP = Flip(universal=UNIVERSAL, pair=PAIR, repeat=replace(PAIR, steps=6), most_steps=30)
STALL = 20
SMALL: dict[str, Any] = {"batch_size": 32, "most_steps": 40}


class Official(TriggerInversion):
    """The search as the official code writes it down: torch's layout and Adam, counters in Python numbers. Both directions of a
    pair share their passes there, too; universal searches are asked for one by one."""

    def invert_all(self, model: nn.Module, images: Tensor, labels: Tensor, pairs: Sequence[Any], **options: Any) -> Triggers:
        """Masks and patterns as Phalanx returns them."""
        plain = deepcopy(model).to(memory_format=torch.contiguous_format)
        groups, parts = [images[_members(labels, *pair)] for pair in pairs], range(len(pairs))
        best, smallest = torch.zeros(len(pairs), 1 + images.shape[1], *images.shape[2:]), [float("inf") for _ in parts]
        point = torch.atanh((torch.rand_like(best) - 0.5) * (2 - 1e-6)).requires_grad_()
        adam, costs, streaks = torch.optim.Adam([point], self.lr, self.betas), [self.cost for _ in parts], [0 for _ in parts]
        targets = [torch.full((len(group),), target) for group, (_, target) in zip(groups, pairs)]
        with evaluating(plain):
            for _ in range(self.steps if any(map(len, groups)) else 0):
                marks = torch.tanh(point) / 2 + 0.5
                stamped = [((1 - mark[:1]) * group + mark[:1] * mark[1:]).clamp(0, 1) for mark, group in zip(marks, groups)]
                logits = plain(torch.cat(stamped)).split([len(group) for group in groups])
                losses = [cross_entropy(logits[i], targets[i]) + costs[i] * marks[i, :1].sum() for i in parts if len(groups[i])]
                adam.zero_grad()
                sum(losses, torch.zeros(())).backward()
                adam.step()
                for i in parts:
                    size = marks[i, :1].sum().item()
                    is_success = (logits[i].argmax(1) == targets[i]).float().mean().item() >= self.threshold
                    if is_success and size < smallest[i]:
                        best[i], smallest[i] = marks[i].detach(), size
                    streaks[i] = max(streaks[i], 0) + 1 if is_success else min(streaks[i], 0) - 1
                    if abs(streaks[i]) == self.patience:
                        costs[i], streaks[i] = costs[i] * 1.5 if is_success else costs[i] / 1.5**1.5, 0
        found = torch.tensor(smallest).isfinite()
        return Triggers(tuple(pairs), best[:, :1], best[:, 1:], found, found.float())


def _members(labels: Tensor, source: int | None, target: int) -> Tensor:
    return labels != target if source is None else labels == source


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` repeats less."""
    repeats = 1 if quick else 3
    with one_core():
        samples, model = scene()
        return [
            *passes(samples, model, repeats),
            *stalled(samples, model),
            *rounds(samples, model, repeats),
            *success(seeds=1 if quick else 3),
        ]


def scene() -> tuple[Samples, nn.Module]:
    """Digits of 28 x 28 pixels, and FLIP's network after 60 steps on them: right on nine of ten."""
    small, labels = Digits(normalize=False).load().train.pixels(torch.arange(1200))
    samples = Samples(interpolate(small, size=28), labels, 10)
    model = FlipCNN().build((1, 28, 28), 10, torch.Generator().manual_seed(0))
    rows, context = _round(model)
    SGD(0.05, momentum=0.9, steps=60).train(Cohort((0,), (0,), samples, (torch.arange(1200),)), {}, context, rows)
    load(model, context.global_params + rows.matrix[0])
    use_channels_last(model)
    return samples, model


def passes(samples: Samples, model: nn.Module, repeats: int) -> list[Row]:
    """Milliseconds of a step: of a pair in both directions, and of ten universal searches together and one by one."""
    images, labels = samples.pixels(torch.arange(400))
    few = torch.cat([(labels == label).nonzero().flatten()[:6] for label in (3, 8)])
    some = torch.cat([(labels == label).nonzero().flatten()[:2] for label in range(10)])
    both, all_targets, steps = [(3, 8), (8, 3)], [(None, target) for target in range(10)], 10

    def search(inversion: TriggerInversion, where: Tensor, pairs: Sequence[Any]) -> Callable[[], object]:
        return partial(inversion.invert_all, model, images[where], labels[where], pairs)

    ours, official = TriggerInversion(steps), Official(steps)
    one_by_one = [search(ours, some, [pair]) for pair in all_targets]
    as_there = [search(official, some, [pair]) for pair in all_targets]
    pair, naive_pair, together, alone, naive = interleaved(
        search(ours, few, both),
        search(official, few, both),
        search(ours, some, all_targets),
        lambda: [way() for way in one_by_one],
        lambda: [way() for way in as_there],
        repeats=repeats,
        clock=time.thread_time,
    )
    each = 1000 / steps / 10
    return [
        Row(f"a step of a pair, 2 x 6 images ({1000 * pair / steps:.1f} ms): official / ours", naive_pair / pair, 1.5),
        Row(f"a universal step of 18 images ({each * together:.1f} ms): official / ours, ten together", naive / together, 1.5),
        Row("the same: ours one by one / together", alone / together, None),
    ]


def stalled(samples: Samples, model: nn.Module) -> list[Row]:
    """What `stall` saves of ten universal searches, and what that costs in size."""
    images, labels = samples.pixels(torch.arange(400))
    some = torch.cat([(labels == label).nonzero().flatten()[:2] for label in range(10)])
    whole, counts = TriggerInversion(200, lr=0.2), list[int]()
    sizes = list[Tensor]()
    handle = model.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    for inversion in (whole, replace(whole, stall=STALL)):
        counts.append(0)
        found = inversion.invert_all(model, images[some], labels[some], [(None, target) for target in range(10)])
        sizes.append(found.sizes)
    handle.remove()
    cut = counts.index(0, 1)
    larger = 100 * float((sizes[1] / sizes[0]).nanmedian() - 1)
    return [
        Row(f"images through the model, stall = {STALL}: of 200 steps", 100 * sum(counts[cut:]) / sum(counts[:cut]), None, "%"),
        Row("the same: masks larger by, median", larger, None, "%", higher_is_better=False),
    ]


def rounds(samples: Samples, model: nn.Module, repeats: int) -> list[Row]:
    """A round of one client who is there for the first time, and one who remembers."""
    rows, context = _round(model)
    cohort = Cohort((0,), (0,), samples, (torch.arange(300),))
    searches = {"universal": UNIVERSAL, "pair": PAIR, "repeat": FLIP.repeat}
    official = replace(FLIP, warm_up="one_by_one", **{name: Official(**vars(it)) for name, it in searches.items()})
    stalling = replace(FLIP, **{name: replace(it, stall=STALL) for name, it in searches.items()})
    reusing = replace(FLIP, known="repeat")
    memory = dict[str, Tensor]()
    for number in range(4):
        memory = dict(FLIP.train(cohort, memory, replace(context, round=number), rows))

    def round(trainer: Trainer, state: Any) -> Callable[[], object]:
        return partial(trainer.train, cohort, state, context, rows)

    calls = [_passes(model, round(trainer, {})) for trainer in (FLIP, replace(official, **searches))]
    first, naive, stall, later, reused, plain = interleaved(
        round(FLIP, {}),
        round(official, {}),
        round(stalling, {}),
        round(FLIP, memory),
        round(reusing, memory),
        round(SGD(0.1, momentum=0.9, weight_decay=5e-4, batch_size=64, epochs=1), {}),
        repeats=repeats,
        clock=time.thread_time,
    )
    return [
        Row(f"FLIP, first round ({first:.1f} s): official order / ours", naive / first, 2),
        Row(f"the same with stall = {STALL}", naive / stall, None),
        Row("FLIP, first round: forward and backward passes", calls[0], None, "", higher_is_better=False),
        Row("the same in the official order", calls[1], None, "", higher_is_better=False),
        Row("FLIP, first round / fifth round", first / later, None),
        Row('FLIP, first round / fifth round with known = "repeat"', first / reused, None),
        Row(f"FLIP, first round / SGD, one epoch ({1000 * plain:.0f} ms)", first / plain, None, higher_is_better=False),
    ]


def success(seeds: int) -> list[Row]:
    """What the options cost in attack success: a planted backdoor after three rounds of one client; mean ± spread of seeds."""
    search = TriggerInversion(200, lr=0.2, cost=1e-2)
    whole = Flip(universal=search, pair=replace(search, steps=100), repeat=replace(search, steps=25), largest=16, **SMALL)
    searches = {name: replace(getattr(whole, name), stall=STALL) for name in ("universal", "pair", "repeat")}
    ways: dict[str, Trainer] = {
        "its control, clean_hardening": CleanHardening(**SMALL),
        "FLIP": whole,
        f"FLIP with stall = {STALL}": replace(whole, **searches),
        'FLIP with known = "repeat"': replace(whole, known="repeat"),
    }
    rows = list[Row]()
    for name, way in ways.items():
        left = [100 * _after(way, seed) for seed in range(seeds)]
        spread = f" ± {stdev(left):.0f}" if seeds > 1 else ""
        rows.append(Row(f"attack success left on digits: {name}{spread}", fmean(left), None, "%", higher_is_better=False))
    return rows


def _after(trainer: Trainer, seed: int) -> float:
    split, backdoor = Digits(normalize=False).load(), Backdoor(Patch(2), target=3, share=0.2)
    model = MLP(hidden=(32,)).build((1, 8, 8), 10, torch.Generator().manual_seed(seed))
    rows, context = _round(model)
    attacker = Cohort((1,), (0,), split.train, (torch.arange(600),), poison=backdoor, attackers=(0,))
    client = Cohort((0,), (0,), split.train, (torch.arange(600, 1000),))
    SGD(0.1, momentum=0.9, batch_size=40, epochs=15).train(attacker, {}, context, rows)
    params, state = context.global_params + rows.matrix[0], dict[str, Tensor]()
    for number in range(3):
        state = dict(trainer.train(client, state, replace(context, round=number, seed=seed, global_params=params), rows))
        params = params + rows.matrix[0]
    load(model, params)
    return evaluate(model, split.test, poison=backdoor).attack_success or 0.0


def _passes(model: nn.Module, way: Callable[[], object]) -> int:
    calls = list[None]()
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    way()
    handle.remove()
    return len(calls)


def _round(model: nn.Module) -> tuple[Rows, RoundContext]:
    layout = Layout.of(model)
    return Rows.empty(1, layout), RoundContext(0, 0, layout, *flatten(model), model=model)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
