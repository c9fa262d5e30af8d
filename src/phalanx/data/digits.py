"""Digits: scikit-learn's embedded 8 x 8 images. The default data set, because it is there without a download."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from phalanx.core import rng
from phalanx.core.errors import DataError
from phalanx.core.families import Dataset
from phalanx.core.types import DataSplit, Samples
from phalanx.data.files import checksums, read_gzip


class Digits(Dataset):
    """Handwritten digits: 1,797 images of 1 x 8 x 8, 10 classes, always split into the same 1,500 + 297, class by class.

    The 17 grey levels are stored as uint8 0..255. `normalize` standardises with the mean and std of all images. With 150
    training images a class, it shows that a method works, not how well.

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    >>> split = Digits().load()
    >>> len(split.train), len(split.test), tuple(split.train.images.shape[1:])
    (1500, 297, (1, 8, 8))
    """

    normalize: bool = True

    def load(self) -> DataSplit:
        path = _embedded()
        table = torch.from_numpy(np.loadtxt(io.BytesIO(read_gzip(path)), delimiter=","))
        images = (table[:, :-1] * (255 / 16)).round().to(torch.uint8).view(-1, 1, 8, 8)
        labels = table[:, -1].long()
        mean, std = (torch.full((1, 1, 1), moment) if self.normalize else None for moment in (0.3053, 0.3760))
        train, test = (Samples(images[part], labels[part], 10, mean, std) for part in _stratified(labels, test_size=297))
        return DataSplit(self.kind, train, test, checksums=checksums([path]))


def _embedded() -> Path:
    """The file inside scikit-learn. Found without importing that package, which takes 0.9 s of a run's start."""
    package = find_spec("sklearn")
    folder = ((package and package.submodule_search_locations) or [""])[0]
    path = Path(folder, "datasets", "data", "digits.csv.gz")
    if not path.is_file():
        raise DataError(f"The digits need {path}, a part of scikit-learn 1.5 to 1.9. Install scikit-learn again.")
    return path


def _stratified(labels: Tensor, test_size: int) -> tuple[Tensor, Tensor]:
    """Train and test positions, each in file order, every class in the same proportion up to one sample."""
    shuffled = torch.randperm(len(labels), generator=rng.generator(0, "digits split"))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    # Every (N / test_size)-th of a list sorted by class is a stratified sample.
    picks = torch.arange(test_size) * len(labels) // test_size
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[by_class[picks]] = True
    return (~is_test).nonzero().squeeze(1), is_test.nonzero().squeeze(1)
