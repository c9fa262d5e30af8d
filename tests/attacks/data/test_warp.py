"""Warp: pixels moved by a smooth field."""

import torch

from phalanx.attacks.data import Warp


def test_a_constant_image_stays_and_a_picture_moves_a_little() -> None:
    torch.testing.assert_close(Warp(strength=2.0).stamp(torch.full((1, 3, 12, 12), 0.4)), torch.full((1, 3, 12, 12), 0.4))
    picture = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for strength in (0.5, 2.0):
        warped = Warp(strength=strength).stamp(picture)
        assert not torch.equal(warped, picture)
        assert 0 <= warped.min() <= warped.max() <= 1
    assert (Warp(strength=1e-4).stamp(picture) - picture).abs().max() < 0.01


def test_a_ramp_shows_how_far_pixels_move() -> None:
    ramp = torch.linspace(0, 1, 28).expand(1, 1, 28, 28).contiguous()
    moved = (Warp(strength=1.0).stamp(ramp) - ramp).abs() * 27  # in pixels
    assert 0.1 < moved.mean() < 1.5


def test_every_image_is_bent_alike() -> None:
    picture = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    one, two = Warp().stamp(picture.repeat(2, 1, 1, 1))
    assert torch.equal(one, two)
