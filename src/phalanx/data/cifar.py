"""CIFAR-10 and CIFAR-100 from their binary versions: records of label bytes and 3,072 bytes of pixels. A file may hold fewer
records than the original: what is there is taken, and the split shows how many."""

from dataclasses import KW_ONLY
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from phalanx.core.errors import DataError
from phalanx.core.families import Dataset
from phalanx.core.types import DataSplit, Samples
from phalanx.data.files import Download, checksums, find, located

_PIXELS = 3 * 32 * 32


class _Cifar(Dataset):
    """What both sets share: the record format. `normalize` standardises each channel with the training set's mean and std."""

    normalize: bool = True
    _: KW_ONLY
    _folder: ClassVar[str]
    _train: ClassVar[tuple[str, ...]]
    _test: ClassVar[str]
    _label_bytes: ClassVar[int]
    _num_classes: ClassVar[int]
    _mean: ClassVar[tuple[float, float, float]]
    _std: ClassVar[tuple[float, float, float]]
    _archive: ClassVar[tuple[str, str]]

    def place(self) -> Path | None:
        return located(self._folder, (self._train[0], self._test))

    def load(self) -> DataSplit:
        name, checksum = self._archive
        mirrors = ("https://www.cs.toronto.edu/~kriz/",)
        place = find(
            self._folder, (self._train[0], self._test), (Download(name, checksum, mirrors, (*self._train, self._test)),)
        )
        train = [place / file for file in self._train if (place / file).is_file()]
        test = place / self._test
        return DataSplit(self.kind, self._samples(train), self._samples([test]), checksums=checksums([*train, test]))

    def _samples(self, paths: list[Path]) -> Samples:
        records = np.concatenate([read_records(path, _PIXELS + self._label_bytes) for path in paths])
        labels = torch.from_numpy(records[:, self._label_bytes - 1].astype(np.int64))
        if int(labels.max()) >= self._num_classes:
            raise DataError(f"{paths[0].parent} holds labels above {self._num_classes - 1}; not {self._folder}. Get it again.")
        images = torch.from_numpy(np.ascontiguousarray(records[:, self._label_bytes :])).view(-1, 3, 32, 32)
        mean, std = (torch.tensor(m).view(3, 1, 1) if self.normalize else None for m in (self._mean, self._std))
        return Samples(images, labels, self._num_classes, mean, std)


class CIFAR10(_Cifar, kind="cifar10"):
    """Small photographs: 50,000 + 10,000 of 3 x 32 x 32, 10 classes.

    Reference: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    _folder = "CIFAR-10"
    _train = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
    _test = "cifar-10-batches-bin/test_batch.bin"
    _label_bytes = 1
    _num_classes = 10
    _mean = (0.4914, 0.4822, 0.4465)
    _std = (0.2470, 0.2435, 0.2616)
    _archive = ("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530")


class CIFAR100(_Cifar, kind="cifar100"):
    """Small photographs: 50,000 + 10,000 of 3 x 32 x 32, with the 100 fine labels.

    Reference: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    _folder = "CIFAR-100"
    _train = ("cifar-100-binary/train.bin",)
    _test = "cifar-100-binary/test.bin"
    _label_bytes = 2  # coarse, then fine
    _num_classes = 100
    _mean = (0.5071, 0.4865, 0.4409)
    _std = (0.2673, 0.2564, 0.2762)
    _archive = ("cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8")


def read_records(path: Path, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The records of a file as `[N, length]`.

    Raises: DataError if the file does not hold whole records.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(content) or len(content) % length:
        raise DataError(f"{path} has {len(content)} bytes, which is no whole number of {length}-byte records. Get it again.")
    return content.reshape(-1, length)
