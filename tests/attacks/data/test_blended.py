"""Blended: a faint random pattern over the whole image."""

import torch

from phalanx.attacks.data import Blended


def test_the_same_pattern_is_mixed_into_every_image() -> None:
    black, white = Blended(alpha=0.25, seed=3).stamp(torch.stack([torch.zeros(1, 5, 4), torch.ones(1, 5, 4)]))
    torch.testing.assert_close(white - black, torch.full((1, 5, 4), 0.75))
    pattern = black / 0.25
    assert 0 <= pattern.min() < pattern.max() <= 1
    assert not torch.equal(black, Blended(alpha=0.25, seed=4).stamp(torch.zeros(1, 1, 5, 4))[0])
