"""Each augmentation against one image at a time, and the laws they share."""

import re

import pytest
import torch

from phalanx.core.component import members
from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.data import ATS, Cutout, HorizontalFlip, RandomCrop

ALL = [RandomCrop(padding=2), HorizontalFlip(), Cutout(size=3), ATS(((3, 1, 7), (43, 18, 18)))]
each = pytest.mark.parametrize("augmentation", ALL, ids=lambda value: value.kind)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 200) -> torch.Tensor:
    return 0.01 + 0.99 * torch.rand(count, 3, 6, 8, generator=seeded(9))


@each
def test_the_input_stays_and_shape_and_dtype_are_kept(augmentation):
    images = batch()
    before = images.clone()
    changed = augmentation.apply(images, seeded())
    assert torch.equal(images, before)
    assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
    assert not torch.equal(changed, images)


@each
def test_the_generator_alone_decides(augmentation, untouched_rng):
    first, again, other = (augmentation.apply(batch(), seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each
def test_an_empty_batch_stays_empty(augmentation):
    assert augmentation.apply(torch.zeros(0, 3, 6, 8), seeded()).shape == (0, 3, 6, 8)


def test_every_augmentation_of_the_family_is_tested_here():
    known = {member for member in members(Augmentation).values() if member.__module__.startswith("phalanx.data")}
    assert known == set(map(type, ALL))


def test_a_crop_is_one_of_the_25_shifts_and_each_one_occurs():
    images = batch()
    changed = RandomCrop(padding=2).apply(images, seeded())
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    found = set()
    for before, after in zip(padded, changed):
        shifts = {(r, c) for r in range(5) for c in range(5) if torch.equal(before[:, r : r + 6, c : c + 8], after)}
        assert len(shifts) == 1
        found |= shifts
    assert len(found) == 25


def test_a_flip_mirrors_some_images_wholly_and_leaves_the_others():
    images = batch(2000)
    changed = HorizontalFlip(0.3).apply(images, seeded())
    flipped = (changed == images.flip(-1)).flatten(1).all(1)
    kept = (changed == images).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert 0.25 < flipped.float().mean() < 0.35


def test_a_certain_flip_twice_is_nothing_and_an_impossible_one_changes_nothing():
    images = batch()
    twice = HorizontalFlip(1.0).apply(HorizontalFlip(1.0).apply(images, seeded()), seeded())
    assert torch.equal(twice, images)
    assert torch.equal(HorizontalFlip(0.0).apply(images, seeded()), images)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_cutout_hides_one_rectangle_in_all_channels_cut_off_only_at_the_border(size):
    images = batch()
    hidden = Cutout(size).apply(images, seeded()) == 0
    assert (hidden == hidden[:, :1]).all()
    for mask in hidden[:, 0]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert mask.sum() == len(rows) * len(columns)
        assert rows.tolist() == list(range(rows[0], rows[-1] + 1))
        inside = rows[0] > 0 and rows[-1] < 5 and columns[0] > 0 and columns[-1] < 7
        assert max(len(rows), len(columns)) <= size
        assert not inside or len(rows) == len(columns) == size


def test_cutout_centres_are_uniform():
    hidden = Cutout(1).apply(torch.ones(24_000, 1, 6, 8), seeded()) == 0
    counts = hidden.sum((0, 1)).double()
    assert float(((counts - 500) ** 2 / 500).sum()) < 47 + 5 * 97**0.5  # 47 degrees of freedom


def test_a_cutout_as_large_as_the_image_is_refused_for_it_could_hide_it_all():
    for size in (6, 100):
        with pytest.raises(ConfigError, match=f"Cutout needs size < 6 for something of each image to be left; got {size}"):
            Cutout(size=size).apply(torch.ones(2, 1, 6, 8), torch.Generator())


@pytest.mark.parametrize("make", [lambda: RandomCrop(0), lambda: HorizontalFlip(1.1), lambda: Cutout(0)])
def test_fields_out_of_range_are_config_errors(make):
    with pytest.raises(ConfigError):
        make()


@each
@pytest.mark.parametrize("shape", [(561,), (6, 8)])
def test_samples_that_are_no_images_are_refused_by_name_and_shape(augmentation, shape):
    complaint = rf"{type(augmentation).__name__} needs images \[C, H, W\]; got samples of shape {re.escape(str(list(shape)))}"
    with pytest.raises(ConfigError, match=complaint):
        augmentation.apply(torch.zeros(2, *shape), seeded())


@pytest.mark.parametrize("padding", [6, 10**9])
def test_a_padding_that_may_leave_nothing_of_an_image_is_refused(padding):
    with pytest.raises(ConfigError, match=rf"RandomCrop needs padding < 6, .*; got {padding}"):
        RandomCrop(padding=padding).apply(batch(1), seeded())
