"""Sinusoidal: vertical stripes, fading into each other."""

from math import pi, sin

import pytest
import torch

from phalanx.attacks.data import Sinusoidal


def test_every_row_has_the_wave_of_its_column() -> None:
    stamped = Sinusoidal(delta=0.3, frequency=2).stamp(torch.full((2, 3, 4, 10), 0.5))
    for column in range(10):
        expected = 0.5 + 0.3 * sin(2 * pi * column * 2 / 10)
        assert stamped[..., column].unique().tolist() == pytest.approx([expected], abs=1e-6)


def test_it_stays_inside_what_an_image_can_be() -> None:
    for level in (0.0, 1.0):
        stamped = Sinusoidal(delta=0.5).stamp(torch.full((1, 1, 28, 28), level))
        assert 0 <= stamped.min() < stamped.max() <= 1
