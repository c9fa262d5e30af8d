"""A movement that is learnt with the image: what the view does, and that it undoes a shift."""

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.data import TRANSFORMATIONS
from phalanx.inversion import DLG, InvertingGradients, TransformAware, leak_of
from phalanx.inversion.transform_aware import GREY, Moved
from phalanx.metrics import psnr
from phalanx.models import SigmoidCNN


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=3, side=16):
    small = torch.rand(count, 1, side // 4, side // 4, generator=seeded(1))
    return nn.functional.interpolate(small, size=(side, side), mode="bilinear")


@pytest.mark.parametrize("is_affine, numbers", [(False, 2), (True, 6)])
def test_numbers_of_zero_move_nothing(is_affine, numbers):
    images = pictures()
    assert torch.allclose(Moved(0.5, is_affine=is_affine)(images, torch.zeros(3, numbers)), images, atol=1e-5)


@pytest.mark.parametrize("pixels", [-5, 2])
def test_a_shift_by_whole_pixels_is_a_shift_with_grey_behind_it(pixels):
    images = pictures()
    moved = Moved(0.5, is_affine=False)(images, torch.tensor([[32 / 16 * pixels, 0.0]]).expand(3, 2))
    expected = images.roll(-pixels, 3)
    expected[..., -pixels if pixels > 0 else 0 : None if pixels > 0 else -pixels] = GREY
    assert torch.allclose(moved, expected, atol=1e-5)


def test_an_affine_map_may_mirror():
    images = pictures()
    numbers = torch.tensor([[0.0, 0.0, -32.0, 0.0, 0.0, 0.0]]).expand(3, 6)  # a column's place c becomes -c
    assert torch.allclose(Moved(0.5, is_affine=True)(images, numbers), images.flip(3), atol=1e-5)


def test_a_search_begins_within_its_reach():
    starts = Moved(0.25, is_affine=True).start(1000, seeded())
    assert starts[:, :2].abs().max() <= 8
    assert starts[:, :2].abs().max() > 7
    assert not starts[:, 2:].any()


def test_a_shift_is_learnt_with_the_image():
    """A thing on black, moved by a quarter (index 21): the naive attacker finds it where it was put, this one where it was."""
    small = torch.zeros(1, 1, 4, 4)
    small[..., 1:3, 1:3] = torch.tensor([[0.9, 0.6], [0.7, 1.0]])
    image = nn.functional.interpolate(small, size=(16, 16), mode="bilinear")
    model = SigmoidCNN().build((1, 16, 16), 10, seeded())
    shown = TRANSFORMATIONS[21]((image * 255).round().to(torch.uint8), torch.tensor([1])) / 255
    leak, attack = leak_of(model, shown, torch.tensor([3])), InvertingGradients(1e-2, steps=300, restarts=6)
    naive, aware = (one.reconstruct(leak, model, seeded(1)) for one in (attack, TransformAware(attack)))
    assert psnr(aware.transformed, shown) > 20
    assert psnr(aware.images, image) > psnr(naive.images, image) + 3


def test_the_standardisation_is_the_clients():
    image, model = pictures(1), SigmoidCNN().build((1, 16, 16), 10, seeded())
    mean, std = torch.full((1, 1, 1), 0.4), torch.full((1, 1, 1), 0.3)
    leak = leak_of(model, image, torch.tensor([3]), mean=mean, std=std)
    found = TransformAware(InvertingGradients(1e-2, steps=200), reach=0.01).reconstruct(leak, model, seeded(1))
    assert psnr(found.transformed, image) > 18


@pytest.mark.parametrize("field", [{"moves": "rotation"}, {"reach": 0.0}])
def test_what_it_cannot_learn_is_refused(field):
    with pytest.raises(ConfigError, match=next(iter(field))):
        TransformAware(DLG(), **field)
