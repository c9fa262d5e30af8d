"""Picture: pixels by hand, in one channel and in three, and what is refused."""

import pytest
import torch

from phalanx.attacks.data import Picture
from phalanx.core.errors import ConfigError


def test_every_pixel_of_every_channel_has_its_value():
    picture = Picture((((0.1, 0.2),), ((0.3, 0.4),), ((0.5, 0.6),)), row=1)
    stamped = picture.stamp(torch.zeros(2, 3, 2, 2))
    assert stamped[:, :, 0].count_nonzero() == 0
    for image in stamped:
        torch.testing.assert_close(image[:, 1], torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))


def test_one_channel_goes_for_all():
    stamped = Picture((((0.5,), (1.0,)),), column=1).stamp(torch.zeros(1, 3, 2, 2))
    assert stamped[0, :, :, 1].tolist() == [[0.5, 1.0]] * 3


def test_a_picture_of_a_tensor_is_that_tensor():
    pixels = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0))
    assert Picture.of(pixels, row=1, column=0).stamp(torch.zeros(1, 3, 3, 4))[0, :, 1:].equal(pixels)


def test_bad_pictures_are_named():
    with pytest.raises(ConfigError, match="rows of one length"):
        Picture((((0.5, 1.0), (1.0,)),))
    with pytest.raises(ConfigError, match="channels of one height"):
        Picture((((0.5,),), ((0.5,), (0.5,))))
    with pytest.raises(ConfigError, match="2 channels does not fit images with 3"):
        Picture((((0.5,),), ((0.5,),))).stamp(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ConfigError, match="reaches row 2"):
        Picture((((0.5,),),), row=2).stamp(torch.zeros(1, 1, 2, 2))
