"""What holds for every trigger."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks.data import Blended, Distributed, Patch, Picture, Pixels, Plus, Sinusoidal, Warp
from phalanx.core.component import members
from phalanx.core.errors import ConfigError
from phalanx.core.families import Trigger

SPREAD = [Blended(), Sinusoidal(), Warp(strength=1.0)]  # over the whole image: put on twice they are not the same
TRIGGERS = [
    Patch(2, 3),
    Patch(2, row=3, column=4, value=0.0),
    Plus(value=0.5),
    Picture((((0.25, 0.5), (0.75, 1.0)),), row=2, column=3),
    Pixels(((0, 0), (4, 5))),
    Distributed.mnist(),
    *SPREAD,
]


def test_every_trigger_of_the_library_is_listed_here() -> None:
    assert {trigger.kind for trigger in TRIGGERS} == {
        kind for kind, member in members(Trigger).items() if member.__module__.startswith("phalanx.")
    }


@pytest.mark.parametrize("trigger", TRIGGERS, ids=repr)
@given(
    batch=st.integers(0, 3),
    channels=st.sampled_from([1, 3]),
    height=st.integers(10, 32),
    width=st.integers(10, 32),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
)
def test_a_stamp_keeps_shape_range_and_input_and_is_put_on_once(
    trigger: Trigger, batch: int, channels: int, height: int, width: int, dtype: torch.dtype
) -> None:
    images = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = images.clone()
    stamped = trigger.stamp(images)
    assert images.equal(before), "the input is not changed"
    assert stamped.shape == images.shape
    assert stamped.dtype == dtype
    assert not stamped.numel() or (float(stamped.min()) >= 0 and float(stamped.max()) <= 1)
    if trigger in SPREAD:
        return
    assert trigger.stamp(stamped).equal(stamped), "stamping twice is stamping once"
    changed = (stamped != images).any(dim=(0, 1)) if batch else torch.zeros(height, width, dtype=torch.bool)
    assert changed.sum() <= 16


@pytest.mark.parametrize("trigger", TRIGGERS, ids=repr)
@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(5, 561), torch.zeros(1, 28, 28)],
    ids=["uint8", "features", "no batch"],
)
def test_what_is_no_batch_of_float_images_is_refused(trigger: Trigger, images: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"needs float images \[B, C, H, W\]"):
        trigger.stamp(images)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=repr)
def test_images_that_are_views_of_something_else_are_stamped_right(trigger: Trigger) -> None:
    images = torch.rand(4, 28, 28, 3, generator=torch.Generator().manual_seed(2)).permute(0, 3, 1, 2)[::2]
    assert trigger.stamp(images).equal(trigger.stamp(images.contiguous()))
