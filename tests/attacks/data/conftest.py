"""A tiny image task: three classes that differ in the brightness of one quarter, and logistic regression on it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from phalanx.core.families import DataAttack
from phalanx.core.types import Draw, Samples

Train = Callable[[DataAttack | None], nn.Module]


def _samples(count: int, seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, 8, 8, generator=generator) * 0.3
    for label, (row, column) in enumerate([(4, 0), (0, 4), (4, 4)]):
        images[labels == label, :, row : row + 4, column : column + 4] += 0.5
    return Samples((images.clamp(0, 1) * 255).to(torch.uint8), labels, 3)


@pytest.fixture(scope="session")
def quarters_test() -> Samples:
    return _samples(150, seed=1)


@pytest.fixture(scope="session")
def train_on_quarters() -> Train:
    """Train a model from the same start on the same batches, poisoned by the attack given."""
    train = _samples(240, seed=0)

    def run(attack: DataAttack | None) -> nn.Module:
        generator = torch.Generator().manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        chosen = None if attack is None else attack.choose(train, torch.arange(len(train)), generator)
        for _ in range(20):
            for index in torch.split(torch.randperm(len(train), generator=generator), 24):
                images, labels = train.pixels(index)
                if attack is not None:
                    mask = None if chosen is None else chosen[index]
                    images, labels = attack.poison(images, labels, Draw(3, generator, mask))
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
        return model

    return run
