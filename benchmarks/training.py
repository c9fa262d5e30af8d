"""Local training of a cohort beside the naive way, beside pure arithmetic, and with two workers beside one.

python benchmarks/training.py [--quick]

The naive way is what research code does: a deep copy of the model, torch.optim.SGD and a DataLoader for each client. The data
are random, only time is measured: one process, one thread, one core, minima of interleaved repeats.
"""

import argparse
import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from phalanx.core import params as flat
from phalanx.core import rng
from phalanx.core.families import Architecture
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, Samples
from phalanx.models import CNN, MLP, LogisticRegression, ResNet20, SkyMaskCNN
from phalanx.training import SGD, InProcess, WorkerPool
from ratios import Row, interleaved, one_core, show

LR = 0.05


@dataclass(frozen=True)
class Workload:
    """A cohort that trains for one local epoch, and the bars it is held against."""

    name: str
    architecture: Architecture
    shape: tuple[int, ...]
    clients: int
    samples_each: int
    batch_size: int
    naive_bar: float
    overhead_bar: float | None = None

    def build(self) -> "Cohorts":
        """Random images, stored as bytes like real ones, dealt evenly; and the model."""
        generator, total = rng.generator(0, "benchmark"), self.clients * self.samples_each
        images = torch.randint(0, 256, (total, *self.shape), dtype=torch.uint8, generator=generator)
        samples = Samples(images, torch.randint(0, 10, (total,), generator=generator), num_classes=10)
        return Cohorts(self, samples, self.architecture.build(self.shape, 10, generator))


class Cohorts:
    """A workload's cohort in memory, and the ways to train it."""

    def __init__(self, workload: Workload, samples: Samples, model: nn.Module) -> None:
        self.batch_size, self.samples, self.model = workload.batch_size, samples, model
        self.index = torch.arange(len(samples)).split(workload.samples_each)
        everyone = tuple(range(workload.clients))
        self.cohort = Cohort(everyone, everyone, samples, self.index)
        self.layout, self.trainer = Layout.of(model), SGD(LR, epochs=1, batch_size=workload.batch_size)
        params, buffers = flat.flatten(model)
        self.context = RoundContext(0, 0, self.layout, params, buffers)
        self.naive_model = copy.deepcopy(model)
        self.own_tensors = [TensorDataset(*samples.pixels(index)) for index in self.index]

    def train(self, executor: InProcess | WorkerPool) -> Rows:
        """Phalanx's way."""
        executor.train(self.trainer, self.cohort, {}, self.context, executor.rows)
        return executor.rows

    def in_process(self) -> InProcess:
        return InProcess(self.model, self.layout, len(self.cohort), 0)

    def pool(self, workers: int) -> WorkerPool:
        return WorkerPool(workers, self.model, self.samples, self.index, self.layout, len(self.cohort), 0)

    def naive(self) -> list[Tensor]:
        """Research code's way."""
        updates = []
        for dataset in self.own_tensors:
            model = copy.deepcopy(self.naive_model)
            model.train()
            optimizer = torch.optim.SGD(model.parameters(), lr=LR)
            for images, labels in DataLoader(dataset, batch_size=self.batch_size, shuffle=True):
                optimizer.zero_grad()
                loss = cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
            updates.append(flat.flatten(model)[0] - self.context.global_params)
        return updates

    def arithmetic(self) -> None:
        """Forward and backward alone, as often and in the same memory layout as `train` does them."""
        images, labels = self.samples.pixels(self.index[0][: self.batch_size])
        if images.dim() == 4:
            images = images.to(memory_format=torch.channels_last)
        parameters = list(self.model.parameters())
        self.model.train()
        for index in self.index:
            for _ in range(len(index) // self.batch_size):
                torch.autograd.grad(cross_entropy(self.model(images), labels), parameters)


def workloads(quick: bool) -> list[Workload]:
    """The cohorts of the performance table; `quick` has fewer clients."""
    few, some = (2, 20) if quick else (5, 100)
    mnist, color = (1, 28, 28), (3, 32, 32)
    return [
        Workload("logistic regression", LogisticRegression(), mnist, some, 100, 10, 8),
        Workload("MLP 784-200-10", MLP(hidden=(200,)), mnist, some, 50, 10, 1.6),
        Workload("small CNN", CNN(), mnist, 2 * some, 30, 10, 1.7, 35),
        Workload("SkyMask CNN", SkyMaskCNN(), mnist, 2 * few, 96, 32, 1.4, 15),
        Workload("ResNet-20", ResNet20(), color, few, 96, 32, 1.15, 15),
    ]


def against_naive(workload: Workload, repeats: int) -> list[Row]:
    """How much faster than the naive way; how much slower than its own arithmetic."""
    cohorts = workload.build()
    with cohorts.in_process() as executor:
        ours, naive, pure = interleaved(lambda: cohorts.train(executor), cohorts.naive, cohorts.arithmetic, repeats=repeats)
    rows = [Row(f"{workload.name}, {workload.clients} clients, × naive", naive / ours, workload.naive_bar)]
    if workload.overhead_bar is not None:
        overhead = 100 * (ours / pure - 1)
        rows.append(
            Row(f"{workload.name}, beyond forward and backward", overhead, workload.overhead_bar, "%", higher_is_better=False)
        )
    return rows


def with_workers(workload: Workload, repeats: int) -> list[Row]:
    """Two pinned workers beside one, and whether their rows are the same bytes as those of one process."""
    cohorts = workload.build()
    with cohorts.in_process() as alone, cohorts.pool(1) as one, cohorts.pool(2) as two:
        with one_core():
            alone_rows = cohorts.train(alone)
        single, double = interleaved(lambda: cohorts.train(one), lambda: cohorts.train(two), repeats=repeats)
        is_same = all(torch.equal(alone_rows.matrix, pool.rows.matrix) for pool in (one, two))
    return [
        Row(f"{workload.name}: two pinned workers, × one", single / double, 1.5),
        Row(f"{workload.name}: rows byte-equal with 1 and 2 workers", float(is_same), 1, unit="(1 = yes)"),
    ]


def one_step_round(repeats: int) -> Row:
    """The training part of the cheapest round: 100 clients, logistic regression, one step of batch 10. Ten rounds in a row,
    as in a run: after the collection between repeats the first finds cold caches."""
    workload = Workload("logistic regression", LogisticRegression(), (1, 28, 28), 100, 600, 10, 0)
    cohorts = workload.build()
    cohorts.trainer = SGD(LR, steps=1, batch_size=10)
    with cohorts.in_process() as executor:
        (seconds,) = interleaved(lambda: [cohorts.train(executor) for _ in range(10)], repeats=4 * repeats)
    return Row("logistic regression, 100 clients, one step of 10", 1000 * seconds / 10, 5, "ms", higher_is_better=False)


def measure(quick: bool) -> list[Row]:
    """Every figure of this file beside its bar."""
    repeats = 3 if quick else 7
    with one_core():
        rows = [one_step_round(repeats)]
        for workload in workloads(quick):
            rows += against_naive(workload, repeats)
    return rows + with_workers(workloads(quick=False)[2], repeats)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
