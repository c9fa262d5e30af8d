"""Undoing ATS: exactly where nothing is lost, the right sign and policy where they leave a trace, and its purpose."""

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.data import ATS, TRANSFORMATIONS
from phalanx.inversion import DLG, LinearRecovery, PolicyAware, TransformAware, leak_of
from phalanx.metrics import psnr, recovery
from phalanx.models import MLP


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=4, channels=1, side=16):
    """Smooth images with black corners, as photographs of things have."""
    small = torch.rand(count, channels, side // 4, side // 4, generator=seeded(1))
    small[:, :, 0, 0], small[:, :, -1, -1] = 0, 1
    return nn.functional.interpolate(small, size=(side, side), mode="bilinear")


def knows(*policies):
    return PolicyAware(LinearRecovery(), policies)


def transformed(images, policy, *signs):
    pixels = (images * 255).round().to(torch.uint8)
    for index, sign in zip(policy, signs):
        pixels = TRANSFORMATIONS[index](pixels, torch.full((len(images),), sign))
    return pixels / 255


def test_an_inverted_image_is_inverted_back():
    images = pictures()
    assert torch.allclose(knows((0,)).undo(1 - images), images, atol=0.02)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_shifted_image_is_shifted_back_whatever_the_sign(sign):
    """Index 24 moves rows by 0.15 of 16, two pixels (pillow cuts off); those that left cannot be known."""
    images = pictures()
    found = knows((24,)).undo(transformed(images, (24,), sign))
    inside = found[..., 2:, :] if sign > 0 else found[..., :-2, :]
    assert (inside - (images[..., 2:, :] if sign > 0 else images[..., :-2, :])).abs().max() < 0.03


@pytest.mark.parametrize("index", [13, 18])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_an_enhancement_is_read_off_what_fits(index, sign):
    images = pictures()
    assert psnr(knows((index,)).undo(transformed(images, (index,), sign)), images).mean() > 25


def test_each_image_of_a_hybrid_finds_its_own_policy():
    images = pictures(2)
    mixed = torch.cat([transformed(images[:1], (21, 0), 1, 1), transformed(images[1:], (42,), -1)])
    together = knows((21, 0), (42,)).undo(mixed)
    apart = torch.cat([knows((21, 0)).undo(mixed[:1]), knows((42,)).undo(mixed[1:])])
    assert torch.allclose(together, apart, atol=1e-3)


def test_a_policy_that_changes_nothing_is_undone_to_itself():
    images = pictures(2, 3)
    assert torch.allclose(PolicyAware(LinearRecovery(), ((28, 39),), tv=0).undo(images), images, atol=0.02)


@pytest.mark.parametrize("policy", [(3, 1, 7), (43, 18, 18), (19, 15, 45), (14, 48, 48)])
def test_who_knows_the_policy_sees_more_than_who_does_not(policy):
    """Exact recovery of what was trained on: what a policy hides then is what it hides from anybody."""
    images, labels = pictures(6), torch.arange(6) % 4
    model, shown = MLP(hidden=()).build((1, 16, 16), 4, seeded()), ATS((policy,)).apply(images, seeded(2))
    leaks = [leak_of(model, shown[i : i + 1], labels[i : i + 1]) for i in range(6)]
    naive, aware = (
        torch.cat([found.images for found in attack.reconstruct_all(leaks, model, seeded())])
        for attack in (LinearRecovery(), knows(policy))
    )
    scores = [recovery(found, images, mean_image=images.mean(0)).mean_psnr for found in (naive, aware)]
    assert scores[1] > scores[0] + 2


def test_what_it_says_the_client_saw_is_what_the_attack_found():
    images, model = pictures(1), MLP(hidden=()).build((1, 16, 16), 4, seeded())
    found = knows((0,)).reconstruct(leak_of(model, 1 - images, torch.tensor([2])), model, seeded())
    assert psnr(found.transformed, 1 - images) > 60
    assert psnr(found.images, images) > 30


@pytest.mark.parametrize(
    "policies, message", [(((0, 50),), "less than 50"), (((-1,),), "greater than or equal to 0"), ((), "at least 1 item")]
)
def test_a_policy_that_there_is_not_is_one_sentence(policies, message):
    with pytest.raises(ConfigError, match=message):
        PolicyAware(LinearRecovery(), policies)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 2, 8, 8), "C = 1 or 3"),
        (torch.zeros(1, 8, 8), "Images are"),
        (torch.full((1, 1, 8, 8), 9.0), "Images are"),
    ],
)
def test_what_is_no_grey_or_colour_image_is_one_sentence(images, message):
    with pytest.raises(PreconditionError, match=message):
        knows((0,)).undo(images)


def test_around_an_attack_that_says_what_was_trained_on_it_says_the_same():
    """A client that inverts its images and shifts them afterwards."""
    images, model = pictures(1), MLP(hidden=(8,)).build((1, 16, 16), 4, seeded())
    leak = leak_of(model, 1 - images, torch.tensor([2]))
    shifted = TransformAware(DLG(steps=3))
    inner, outer = (one.reconstruct(leak, model, seeded()) for one in (shifted, PolicyAware(shifted, ((0,),))))
    assert torch.equal(outer.transformed, inner.transformed)
    assert torch.allclose(outer.images, 1 - inner.images, atol=0.05)
