"""Patch, by hand and against slicing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.attacks.data import Patch
from phalanx.core.errors import ConfigError


def test_a_patch_covers_its_rectangle_in_every_channel_and_nothing_else() -> None:
    stamped = Patch(1, 2, row=1, column=1, value=0.25).stamp(torch.zeros(1, 2, 3, 4))
    channel = torch.tensor([[0.0, 0, 0, 0], [0, 0.25, 0.25, 0], [0, 0, 0, 0]])
    assert stamped.equal(torch.stack([channel, channel]).unsqueeze(0))


def test_without_a_width_a_patch_is_square() -> None:
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert Patch(3, row=2).stamp(images).equal(Patch(3, 3, row=2).stamp(images))


@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4), st.floats(0, 1))
def test_a_patch_is_a_slice_assignment(row: int, column: int, height: int, width: int, value: float) -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected: Tensor = images.clone()
    expected[:, :, row : row + height, column : column + width] = value
    assert Patch(height, width, row=row, column=column, value=value).stamp(images).equal(expected)


def test_a_patch_may_touch_the_last_pixel_and_not_go_beyond() -> None:
    images = torch.zeros(1, 1, 8, 10)
    assert Patch(2, row=6, column=8).stamp(images)[0, 0, 7, 9] == 1
    with pytest.raises(ConfigError, match=r"reaches row 8, column 9.*rows 0..7 and columns 0..9"):
        Patch(2, row=7, column=8).stamp(images)
    with pytest.raises(ConfigError, match="column 10"):
        Patch(2, row=6, column=9).stamp(images)


@pytest.mark.parametrize("fields", [{"height": 0}, {"row": -1}, {"value": 1.5}, {"value": float("nan")}, {"size": 3}])
def test_a_patch_that_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Patch(**fields)  # type: ignore[arg-type]


def test_a_rectangle_of_a_trillion_pixels_is_refused_before_it_is_listed() -> None:
    with pytest.raises(ConfigError, match="reaches row 999999, column 999999"):
        Patch(10**6).stamp(torch.zeros(1, 1, 4, 4))
