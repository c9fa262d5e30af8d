"""Random changes of a training batch: one tensor operation for all its images."""

from phalanx.data.augmentations.cutout import Cutout
from phalanx.data.augmentations.horizontal_flip import HorizontalFlip
from phalanx.data.augmentations.random_crop import RandomCrop

__all__ = ["Cutout", "HorizontalFlip", "RandomCrop"]
