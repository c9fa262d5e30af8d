"""Digits: the same images as scikit-learn's own loader gives, in one fixed stratified split."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from phalanx.core.errors import DataError
from phalanx.data import Digits


def test_the_images_are_scikit_learns_own():
    split = Digits().load()
    ours = torch.cat([split.train.images, split.test.images]).flatten(1)
    theirs = load_digits()
    expected = torch.from_numpy(np.rint(theirs.data * 255 / 16).astype(np.uint8))
    with_labels = torch.cat([ours, torch.cat([split.train.labels, split.test.labels])[:, None]], 1).tolist()
    assert sorted(with_labels) == sorted(torch.cat([expected, torch.from_numpy(theirs.target)[:, None]], 1).tolist())


def test_grey_levels_fill_the_range_of_a_byte():
    images = Digits().load().train.images
    assert (images.dtype, int(images.min()), int(images.max())) == (torch.uint8, 0, 255)
    assert len(images.unique()) == 17


def test_each_class_is_split_in_the_same_proportion():
    split = Digits().load()
    assert (len(split.train), len(split.test)) == (1500, 297)
    shares = split.test.labels.bincount() / (split.test.labels.bincount() + split.train.labels.bincount())
    assert torch.allclose(shares, torch.full((10,), 297 / 1797), atol=1 / 170)


def test_the_split_is_always_the_same(untouched_rng):
    first, again = Digits().load(), Digits().load()
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.test.labels, again.test.labels)


def test_no_test_position_is_a_train_position():
    """1,797 images, no two alike, so equal images would be one image twice."""
    split = Digits().load()
    assert len(torch.cat([split.train.images, split.test.images]).flatten(1).unique(dim=0)) == 1797


def test_the_moments_are_those_of_all_images():
    split = Digits().load()
    pixels = torch.cat([split.train.images, split.test.images]).double() / 255
    assert float(split.train.mean) == pytest.approx(float(pixels.mean()), abs=1e-3)
    assert float(split.train.std) == pytest.approx(float(pixels.std()), abs=1e-3)
    assert Digits(normalize=False).load().train.mean is None


def test_the_embedded_file_is_the_one_with_a_checksum():
    assert Digits().load().checksums == {"digits.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"}


def test_without_scikit_learn_the_error_says_so(monkeypatch):
    monkeypatch.setattr("phalanx.data.digits.find_spec", lambda name: None)
    with pytest.raises(DataError, match="scikit-learn"):
        Digits().load()
