"""DP-SGD beside Opacus' own loop: one client with a large batch, and a cohort of small clients beside one engine after another.

python benchmarks/dpsgd.py [--quick]

Opacus' way is that of its tutorials: `PrivacyEngine.make_private` around a module, torch.optim.SGD and a DataLoader, for one
client after another. The data are random, only time is measured: one process, one thread, one core, time of that thread, minima
of interleaved repeats.

The cohort's bar is out of reach of the larger models. Of the MLP's step the noise (159,010 normal numbers in float64, which
Opacus draws in float32 at a quarter of the time) and plain SGD are two thirds of Opacus' time already, of the CNN's plain SGD
alone is more than a quarter: see how long DP-SGD takes beside it.
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from phalanx.core import params as flat
from phalanx.core import rng
from phalanx.core.families import Architecture, Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Samples
from phalanx.models import CNN, MLP, LogisticRegression
from phalanx.training import DPSGD, SGD, FlatClipping, InProcess
from ratios import Row, interleaved, one_core, show

LR, NOISE, MAX_NORM, SHAPE = 0.05, 1.0, 1.2, (1, 28, 28)
PRIVATE = DPSGD(LR, steps=1, noise_multiplier=NOISE, clipping=FlatClipping(MAX_NORM))


@dataclass(frozen=True)
class Workload:
    """A cohort that makes a few steps, and the bar for how much faster than Opacus it is to be (None: only told)."""

    name: str
    architecture: Architecture
    clients: int
    samples_each: int
    batch_size: int
    steps: int
    bar: float | None


class Cohorts:
    """A workload's cohort in memory, and the ways to train it."""

    def __init__(self, workload: Workload) -> None:
        self.workload, generator = workload, rng.generator(0, "benchmark")
        total, everyone = workload.clients * workload.samples_each, tuple(range(workload.clients))
        images = torch.randint(0, 256, (total, *SHAPE), dtype=torch.uint8, generator=generator)
        samples = Samples(images, torch.randint(0, 10, (total,), generator=generator), num_classes=10)
        index = torch.arange(total).split(workload.samples_each)
        self.cohort = Cohort(everyone, everyone, samples, index)
        self.model = workload.architecture.build(SHAPE, 10, generator)
        self.theirs = copy.deepcopy(self.model).train()
        layout = Layout.of(self.model)
        self.context = RoundContext(0, 0, layout, *flat.flatten(self.model))
        self.executor = InProcess(self.model, layout, workload.clients)
        self.own_tensors = [TensorDataset(*samples.pixels(own)) for own in index]

    def way(self, trainer: DPSGD | SGD) -> Callable[[], object]:
        """Phalanx's way, with this trainer."""
        sized: Trainer = replace(trainer, steps=self.workload.steps, batch_size=self.workload.batch_size)
        return lambda: self.executor.train(sized, self.cohort, {}, self.context, self.executor.rows)

    def opacus(self) -> list[nn.Module]:
        """One engine after another."""
        from opacus import PrivacyEngine

        trained = []
        for dataset in self.own_tensors:
            model = copy.deepcopy(self.theirs)
            model, optimizer, loader = PrivacyEngine(accountant="rdp").make_private(
                module=model,
                optimizer=torch.optim.SGD(model.parameters(), lr=LR),
                data_loader=DataLoader(dataset, batch_size=self.workload.batch_size),
                noise_multiplier=NOISE,
                max_grad_norm=MAX_NORM,
            )
            made = 0
            while made < self.workload.steps:
                for images, labels in loader:
                    optimizer.zero_grad()
                    cross_entropy(model(images), labels).backward()
                    optimizer.step()
                    made += 1
                    if made == self.workload.steps:
                        break
            trained.append(model)
        return trained


def workloads(quick: bool) -> list[Workload]:
    """The two bars of the specification, and the same cohort with larger models."""
    clients = 20 if quick else 100
    return [
        Workload("MNIST CNN, batch 256", CNN(), 1, 2560, 256, 5, 2),
        Workload(f"logistic regression, {clients} clients, batch 10", LogisticRegression(), clients, 100, 10, 10, 5),
        Workload(f"MLP 784-200-10, {clients} clients, batch 10", MLP(hidden=(200,)), clients, 50, 10, 5, 5),
        Workload(f"small CNN, {clients} clients, batch 10", CNN(), clients, 50, 10, 5, 5),
    ]


def measure(quick: bool) -> list[Row]:
    """Every figure of this file beside its bar."""
    rows = []
    with one_core(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus warns of its own generator and hooks
        for workload in workloads(quick):
            cohorts = Cohorts(workload)
            ways = [
                PRIVATE,
                replace(PRIVATE, engine="loop", gradients="layers"),
                replace(PRIVATE, engine="loop", gradients="vmap"),
            ]
            opacus, plain, ours, layers, vmap = interleaved(
                cohorts.opacus,
                cohorts.way(SGD(LR, steps=1)),
                *(cohorts.way(trainer) for trainer in ways),
                repeats=2 if quick else 3,
                clock=time.thread_time,
            )
            rows += [
                Row(f"{workload.name}: DP-SGD, × Opacus", opacus / ours, workload.bar),
                Row(f"{workload.name}: DP-SGD beside plain SGD", ours / plain, None, "× the time"),
                Row(f"{workload.name}: examples by layers beside by vmap", vmap / layers, None),
            ]
    return rows


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
