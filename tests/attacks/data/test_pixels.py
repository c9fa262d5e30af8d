"""Pixels, by hand."""

import pytest
import torch

from phalanx.attacks.data import Pixels
from phalanx.core.errors import ConfigError


def test_only_the_listed_pixels_change() -> None:
    stamped = Pixels(((0, 0), (1, 2)), value=0.5).stamp(torch.zeros(2, 1, 2, 3))
    assert stamped[1, 0].tolist() == [[0.5, 0, 0], [0, 0, 0.5]]


def test_a_pixel_listed_twice_is_set_once() -> None:
    images = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert Pixels(((1, 1), (1, 1))).stamp(images).equal(Pixels(((1, 1),)).stamp(images))


def test_no_pixels_or_negative_ones_are_refused() -> None:
    with pytest.raises(ConfigError):
        Pixels(())
    with pytest.raises(ConfigError):
        Pixels(((-1, 0),))


def test_a_table_of_lists_makes_the_same_trigger() -> None:
    assert Pixels.from_table({"pixels": [[0, 1], [2, 3]]}) == Pixels(((0, 1), (2, 3)))
