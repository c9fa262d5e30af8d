"""Plus, by hand."""

import pytest
import torch

from phalanx.attacks.data import Pixels, Plus
from phalanx.core.errors import ConfigError


def test_a_plus_is_its_centre_and_four_neighbours() -> None:
    stamped = Plus(row=1, column=2).stamp(torch.zeros(1, 1, 3, 4))
    assert stamped[0, 0].tolist() == [[0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0]]


def test_by_default_the_plus_lies_near_the_top_left_corner_without_touching_the_border() -> None:
    images = torch.zeros(1, 1, 28, 28)
    assert Plus().stamp(images).equal(Pixels(((2, 2), (1, 2), (3, 2), (2, 1), (2, 3))).stamp(images))


def test_a_plus_needs_room_for_its_arms() -> None:
    with pytest.raises(ConfigError, match="row"):
        Plus(row=0)
    with pytest.raises(ConfigError, match="reaches row 8"):
        Plus(row=7).stamp(torch.zeros(1, 1, 8, 8))
