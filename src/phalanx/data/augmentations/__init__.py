"""Random changes of a training batch: one tensor operation for all its images."""

from phalanx.data.augmentations.ats import ATS, ATS_POLICIES
from phalanx.data.augmentations.cutout import Cutout
from phalanx.data.augmentations.horizontal_flip import HorizontalFlip
from phalanx.data.augmentations.random_crop import RandomCrop
from phalanx.data.augmentations.transformations import TRANSFORMATIONS, Transformation

__all__ = ["ATS", "ATS_POLICIES", "TRANSFORMATIONS", "Cutout", "HorizontalFlip", "RandomCrop", "Transformation"]
