"""Leaks made of several: worked by hand, against one batch of all images, and what averaging does to noise."""

from dataclasses import replace

import pytest
import torch

from phalanx.core.errors import PreconditionError
from phalanx.inversion import DLG, Leak, LocalSteps, averaged_leak, group_leak, leak_of
from phalanx.inversion.transform_aware import Moved
from phalanx.metrics import psnr
from phalanx.models import SigmoidCNN


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(count):
    model = SigmoidCNN().build((1, 8, 8), 4, seeded())
    return model, torch.rand(count, 1, 8, 8, generator=seeded(1)), torch.arange(count) % 4


def test_a_group_of_clients_is_one_batch_of_all_their_images():
    model, images, labels = scene(6)
    parts = [leak_of(model, images[part], labels[part]) for part in (slice(0, 1), slice(1, 3), slice(3, 6))]
    together, whole = group_leak(parts), leak_of(model, images, labels)
    assert torch.allclose(together.gradient, whole.gradient, atol=1e-6)
    assert together.shape == (6, 1, 8, 8)
    assert torch.equal(together.labels, labels)
    assert group_leak([*parts[:2], replace(parts[2], labels=None)]).labels is None


def test_averaging_rounds_takes_the_noise_away_and_gives_the_image_back():
    model, images, labels = scene(1)
    clean = leak_of(model, images, labels)
    draws = seeded(3)
    noisy = [
        replace(clean, gradient=clean.gradient + 0.02 * torch.randn(len(clean.gradient), generator=draws)) for _ in range(64)
    ]
    average = averaged_leak(noisy)
    assert float((average.gradient - clean.gradient).std()) == pytest.approx(0.02 / 8, rel=0.1)
    attack = DLG(steps=150, restarts=4)
    once, often = (psnr(attack.reconstruct(leak, model, seeded(1)).images, images) for leak in (noisy[0], average))
    assert often > once + 5


@pytest.mark.parametrize("local", [LocalSteps(0.1, epochs=2), LocalSteps(0.1, batch_size=1)])
def test_a_group_that_makes_several_steps_is_one_sentence(local):
    leak = Leak(torch.zeros(3), (2, 1, 1, 1), local=local)
    with pytest.raises(PreconditionError, match="one step each"):
        group_leak([leak, leak])


@pytest.mark.parametrize("combine", [averaged_leak, group_leak])
@pytest.mark.parametrize(
    "leaks",
    [
        [],
        [Leak(torch.zeros(3), (1, 1, 1, 1)), Leak(torch.zeros(4), (1, 1, 1, 1))],
        [Leak(torch.zeros(3), (1, 1, 1, 1)), Leak(torch.zeros(3), (1, 1, 2, 2))],
        [Leak(torch.zeros(3), (1, 1, 1, 1)), Leak(torch.zeros(3), (1, 1, 1, 1), local=LocalSteps(0.5))],
        [Leak(torch.zeros(3), (1, 1, 1, 1), mean=torch.zeros(1), std=torch.tensor([std])) for std in (1.0, 2.0)],
        [Leak(torch.zeros(3), (1, 1, 1, 1)), Leak(torch.zeros(3), (1, 1, 1, 1), view=Moved(0.5, is_affine=False))],
    ],
    ids=["none", "models", "shapes", "training", "standardisation", "view"],
)
def test_leaks_that_do_not_go_together_are_one_sentence(combine, leaks):
    with pytest.raises(PreconditionError, match="all are of one model, shape and training"):
        combine(leaks)


@pytest.mark.parametrize("combine", [averaged_leak, group_leak])
def test_leaks_that_are_masked_already_are_one_sentence(combine):
    leak = Leak(torch.tensor([1.0, 0.0]), (1, 1, 1, 1), known=torch.tensor([True, False]))
    with pytest.raises(PreconditionError, match="Combine first, then mask"):
        combine([leak, leak])


def test_rounds_of_other_labels_are_not_averaged():
    leaks = [Leak(torch.zeros(3), (1, 1, 1, 1), torch.tensor([label])) for label in (0, 1)]
    with pytest.raises(PreconditionError, match="one model"):
        averaged_leak(leaks)
