"""A small world to train in: random images, unequal clients, and the naive way that every engine is held against."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.core import params as flat
from phalanx.core.families import Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, Samples

SHAPE, CLASSES = (1, 8, 8), 4


def linear_model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, CLASSES)
    )


def batchnorm_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES)
    )


def dropout_net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.5), nn.Linear(16, CLASSES))


class World:
    """One model, its global parameters, and clients of the sizes asked for."""

    def __init__(self, make: Callable[[], nn.Module], sizes: tuple[int, ...], round: int = 3) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.model = make()
        generator = torch.Generator().manual_seed(2)
        total = sum(sizes)
        images = torch.randint(0, 256, (total, *SHAPE), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, CLASSES, (total,), generator=generator)
        self.samples = Samples(images, labels, CLASSES, mean=torch.tensor(0.4), std=torch.tensor(0.3))
        self.index = torch.randperm(total, generator=generator).split(sizes)
        self.layout = Layout.of(self.model)
        params, buffers = flat.flatten(self.model)
        self.context = RoundContext(round, 7, self.layout, params, buffers, model=self.model)
        ids = tuple(range(len(sizes)))
        self.cohort = Cohort(ids, ids, self.samples, self.index)

    def rows(self) -> Rows:
        """Rows with old numbers in them: whoever trains must overwrite them all."""
        rows = Rows.empty(len(self.cohort), self.layout)
        for tensor in (rows.matrix, rows.buffers, rows.loss, rows.steps, rows.status):
            tensor.fill_(9)
        return rows

    def train(self, trainer: Trainer, **cohort: object) -> Rows:
        rows = self.rows()
        trainer.train(replace(self.cohort, **cohort), {}, self.context, rows)
        return rows

    def naive(self, make: Callable[[nn.Module], torch.optim.Optimizer], batch_size: int, epochs: int) -> Tensor:
        """A deep copy, torch's optimiser and `backward` for each client, in our order and memory format."""
        updates = []
        for client, index in zip(self.cohort.ids, self.index):
            model = copy.deepcopy(self.model)
            flat.load(model, self.context.global_params, self.context.global_buffers)
            is_image_model = any(parameter.dim() == 4 for parameter in model.parameters())
            if is_image_model:
                model.to(memory_format=torch.channels_last)
            model.train()
            optimizer, shuffling = make(model), self.context.generator("batches", client)
            for _ in range(epochs):
                for positions in torch.randperm(len(index), generator=shuffling).split(batch_size):
                    images, labels = self.samples.pixels(index[positions])
                    images = self.samples.normalize(images)
                    if is_image_model:
                        images = images.to(memory_format=torch.channels_last)
                    optimizer.zero_grad()
                    cross_entropy(model(images), labels).backward()
                    optimizer.step()
            updates.append(torch.cat([flat.flatten(model)[0] - self.context.global_params, flat.flatten(model)[1]]))
        return torch.stack(updates)


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def nets() -> dict[str, Callable[[], nn.Module]]:
    return {f.__name__: f for f in (linear_model, mlp, cnn, batchnorm_net, dropout_net)}
