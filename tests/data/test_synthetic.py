"""Synthetic: the sizes asked for, deterministic, and learnable as far as the classes are apart."""

import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.data import Synthetic


def test_sizes_are_those_asked_for():
    split = Synthetic(num_samples=31, num_features=7, num_classes=3).load()
    assert split.train.images.shape == (31, 7)
    assert split.train.images.dtype == torch.float32
    assert sorted(split.train.labels.bincount().tolist()) == [10, 10, 11]
    assert len(split.test) == 6


def test_the_test_set_has_every_class_even_of_a_tiny_set():
    assert Synthetic(num_samples=3, num_classes=8).load().test.labels.bincount().tolist() == [1] * 8


def test_the_seed_alone_decides(untouched_rng):
    first, again, other = (Synthetic(seed=seed).load().train.images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_class_is_a_cloud_of_unit_variance_around_its_own_mean():
    train = Synthetic(num_samples=20_000, num_features=5, num_classes=2, separation=3.0).load().train
    for label in range(2):
        cloud = train.images[train.labels == label]
        assert torch.allclose(cloud.T.cov(), torch.eye(5), atol=0.07)
    gap = train.images[train.labels == 0].mean(0) - train.images[train.labels == 1].mean(0)
    assert gap.norm() > 3


def accuracy_of_nearest_mean(separation: float) -> float:
    split = Synthetic(num_samples=2000, num_classes=5, separation=separation).load()
    means = torch.stack([split.train.images[split.train.labels == label].mean(0) for label in range(5)])
    return float((torch.cdist(split.test.images, means).argmin(1) == split.test.labels).float().mean())


def test_it_can_be_learned_and_separation_says_how_well():
    assert accuracy_of_nearest_mean(1.0) > 0.9
    assert 0.2 < accuracy_of_nearest_mean(0.2) < 0.7


@pytest.mark.parametrize("fields", [{"num_samples": 0}, {"num_classes": 1}, {"num_features": 0}, {"separation": 0.0}])
def test_impossible_sizes_are_config_errors(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        Synthetic(**fields)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_samples": 10**9, "num_features": 10},
        {"num_samples": 10**18},
        {"num_features": 10**18},
        {"num_classes": 10**18, "num_features": 1},
    ],
)
def test_more_numbers_than_memory_holds_are_refused_before_they_are_drawn(sizes):
    with pytest.raises(ConfigError, match=r"Synthetic makes at most 1,000,000,000 numbers"):
        Synthetic(**sizes)
