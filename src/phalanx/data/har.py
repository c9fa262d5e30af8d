"""HAR: smartphone sensors of 30 people as 561 features, in the original split and in SkyMask's, from CSV files."""

from dataclasses import KW_ONLY
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from phalanx.core import rng
from phalanx.core.errors import DataError
from phalanx.core.families import Dataset
from phalanx.core.types import DataSplit, Samples
from phalanx.data.files import checksums, find, located, read_gzip

ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
_FEATURES = 561
_FILES = ("train.csv.gz", "test.csv.gz")


class HAR(Dataset):
    """Human activities: 7,352 samples of 21 people for training, 2,947 of 9 others for the test; 561 features, 6 classes.

    The groups are the people, for `ByGroup`. `normalize` standardises every feature with the training samples' mean and std.
    The files are `train.csv.gz` and `test.csv.gz` in Kaggle's layout: 561 feature columns, subject, activity.

    Reference: Anguita et al., A Public Domain Dataset for Human Activity Recognition Using Smartphones, ESANN 2013.
    """

    normalize: bool = True

    @property
    def measures_training_samples(self) -> bool:
        return self.normalize

    def place(self) -> Path | None:
        return located("HAR", _FILES)

    def load(self) -> DataSplit:
        paths = _paths()
        (features, subjects, labels), (test_features, _, test_labels) = map(read_table, paths)
        train, test = _standardised((features, labels), (test_features, test_labels), self.normalize)
        return DataSplit(self.kind, train, test, subjects, checksums(paths))


class HARPerSubject(Dataset):
    """HAR with all 30 people in training, and a part of each one's samples for the test.

    Reference: Yan et al., SkyMask: Attack-agnostic Robust Federated Learning with Fine-grained Learnable Masks, ECCV 2024
    (arXiv 2312.12484), which has 30 clients and holds out 20 %. `seed` chooses which samples.
    """

    normalize: bool = True
    _: KW_ONLY
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: NonNegativeInt = 0

    @property
    def measures_training_samples(self) -> bool:
        return self.normalize

    def place(self) -> Path | None:
        return located("HAR", _FILES)

    def load(self) -> DataSplit:
        paths = _paths()
        features, subjects, labels = (torch.cat(parts) for parts in zip(*map(read_table, paths), strict=True))
        is_test = torch.zeros(len(labels), dtype=torch.bool)
        for subject in subjects.bincount().nonzero().flatten().tolist():
            own = (subjects == subject).nonzero().squeeze(1)
            shuffled = torch.randperm(len(own), generator=rng.generator(self.seed, "har test samples", client=subject))
            is_test[own[shuffled[: int(len(own) * self.test_share)]]] = True
        train, test = _standardised(
            (features[~is_test], labels[~is_test]), (features[is_test], labels[is_test]), self.normalize
        )
        return DataSplit(self.kind, train, test, subjects[~is_test], checksums(paths))


def read_table(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Features `[N, 561]`, subjects `[N]` and labels `[N]`. Columns count by position: their names are not distinct.

    Raises: DataError if the file is no such table.
    """
    try:
        _, *lines = read_gzip(path).decode().splitlines()
        if not lines:
            raise ValueError("it has no rows")
        table = np.loadtxt(lines, delimiter=",", usecols=range(_FEATURES + 1), dtype=np.float32, ndmin=2)
        labels = [ACTIVITIES.index(line.rpartition(",")[2].strip('" ')) for line in lines if line]
    except ValueError as error:
        raise DataError(
            f"{path} is not a table of {_FEATURES} features, subject and activity ({error}). Get it again."
        ) from error
    numbers = torch.from_numpy(table)
    return numbers[:, :_FEATURES].contiguous(), numbers[:, _FEATURES].long(), torch.tensor(labels)


def _paths() -> list[Path]:
    place = find("HAR", _FILES, ())  # no verified checksum of a canonical CSV is known, so nothing is fetched
    return [place / name for name in _FILES]


def _standardised(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], normalize: bool) -> tuple[Samples, Samples]:
    std, mean = torch.std_mean(train[0], dim=0, correction=0)
    # A constant feature has nothing to scale.
    moments = (mean, torch.where(std > 0, std, 1.0)) if normalize else (None, None)
    first, second = (Samples(features, labels, len(ACTIVITIES), *moments) for features, labels in (train, test))
    return first, second
