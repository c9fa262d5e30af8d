"""Searches of several leaks at once, what they tell of their steps, and leaks that cannot be searched together."""

from dataclasses import replace

import pytest
import torch

from phalanx.core.errors import PreconditionError
from phalanx.inversion import DLG, InvertingGradients, LocalSteps, MaskAware, PolicyAware, TransformAware, leak_of
from phalanx.inversion.transform_aware import Moved
from phalanx.models import MLP

IMAGES = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def scene(**leak):
    model = MLP(hidden=(4,)).build((1, 6, 6), 3, torch.Generator().manual_seed(0))
    return model, [leak_of(model, image[None], torch.tensor([label]), **leak) for label, image in enumerate(IMAGES)]


@pytest.mark.parametrize("knows", [(True, True), (False, False)])
def test_every_leak_keeps_its_own_mask_and_labels(knows):
    model, leaks = scene()
    leaks = [replace(leak, known=torch.rand(len(leak.gradient)) < 0.7) for leak in leaks]
    leaks = [leak if known else replace(leak, labels=None) for leak, known in zip(leaks, knows)]
    draws, attack = torch.Generator().manual_seed(2), DLG(steps=20, restarts=3, together=2)
    for found, leak in zip(attack.reconstruct_all(leaks, model, torch.Generator().manual_seed(2)), leaks):
        alone = attack.reconstruct(leak, model, draws)
        assert torch.allclose(found.losses, alone.losses, rtol=1e-2, atol=1e-5)
        assert found.labels.tolist() == alone.labels.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": None},
        {"local": LocalSteps(0.1)},
        {"mean": torch.zeros(1), "std": torch.ones(1)},
        {"known": torch.ones(163, dtype=torch.bool)},
        {"view": Moved(0.5, is_affine=False)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_leaks_of_different_kinds_are_one_sentence(change):
    model, leaks = scene()
    with pytest.raises(PreconditionError, match="Search them one by one"):
        DLG(steps=1).reconstruct_all([leaks[0], replace(leaks[1], **change)], model, torch.Generator())


@pytest.mark.parametrize(
    "wrapped", [lambda attack: attack, MaskAware, TransformAware, lambda attack: PolicyAware(attack, ((0,),), undo_steps=1)]
)
def test_a_search_tells_of_every_step_and_of_the_smallest_loss(wrapped):
    model, leaks = scene()
    told = []
    attack = InvertingGradients(steps=4, restarts=3, together=4)
    found = wrapped(attack).reconstruct_all(
        leaks, model, torch.Generator().manual_seed(0), watch=lambda *tale: told.append(tale)
    )
    assert [(made, most) for made, most, _ in told] == [(made, 10) for made in range(1, 11)]  # two blocks of 4 + 1 passes
    lowest = [loss for *_, loss in told]
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[-1] == pytest.approx(min(float(one.losses.min()) for one in found))


def test_who_watches_changes_nothing():
    model, leaks = scene()
    quiet, watched = (
        DLG(steps=10).reconstruct_all(leaks, model, torch.Generator().manual_seed(4), watch=watch)
        for watch in (None, lambda *tale: None)
    )
    assert all(torch.equal(one.images, other.images) for one, other in zip(quiet, watched))


def test_no_leaks_are_no_work():
    assert DLG().reconstruct_all([], scene()[0], torch.Generator()) == []
