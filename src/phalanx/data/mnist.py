"""MNIST, Fashion-MNIST (one file format, idx) and MNIST as colour images, from their canonical gzip files."""

from dataclasses import KW_ONLY, replace
from math import prod
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from phalanx.core.errors import DataError
from phalanx.core.families import Dataset
from phalanx.core.types import DataSplit, Samples
from phalanx.data.files import Download, checksums, find, located, read_gzip

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


class _Idx(Dataset):
    """What the three sets share: four files of one format. `normalize` standardises with the training set's mean and std."""

    normalize: bool = True
    _: KW_ONLY
    _folder: ClassVar[str]
    _moments: ClassVar[tuple[float, float]]
    _md5: ClassVar[tuple[str, str, str, str]]
    _mirrors: ClassVar[tuple[str, ...]]

    def place(self) -> Path | None:
        return located(self._folder, _FILES)

    def load(self) -> DataSplit:
        downloads = tuple(Download(name, f"md5:{md5}", self._mirrors) for name, md5 in zip(_FILES, self._md5, strict=True))
        place = find(self._folder, _FILES, downloads)
        paths = [place / name for name in _FILES]
        train, test = (self._samples(*paths[i : i + 2]) for i in (0, 2))
        return DataSplit(self.kind, train, test, checksums=checksums(paths))

    def _samples(self, images: Path, labels: Path) -> Samples:
        pixels, classes = read_idx(images, dims=3), read_idx(labels, dims=1)
        if len(pixels) != len(classes):
            raise DataError(f"{images} holds {len(pixels)} images, but {labels} {len(classes)} labels. Get both again.")
        mean, std = (torch.full((1, 1, 1), moment) if self.normalize else None for moment in self._moments)
        return Samples(pixels.unsqueeze(1), classes.long(), 10, mean, std)


class MNIST(_Idx):
    """Handwritten digits: 60,000 + 10,000 images of 1 x 28 x 28, 10 classes.

    Reference: LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 1998.
    """

    _folder = "MNIST"
    _moments = (0.1307, 0.3081)
    _md5 = (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )
    _mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )


class FashionMNIST(_Idx):
    """Images of clothes: 60,000 + 10,000 of 1 x 28 x 28, 10 classes, 6,000 + 1,000 each.

    Reference: Xiao et al., Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, 2017
    (arXiv 1708.07747).
    """

    _folder = "FashionMNIST"
    _moments = (0.2860, 0.3530)
    _md5 = (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    )
    _mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )


class MNISTRGB(Dataset, kind="mnist_rgb"):
    """MNIST as 3 x 32 x 32: two black pixels around each image, three equal channels; for models made for CIFAR.

    `normalize` standardises with the mean and std of the unpadded MNIST, the same for all channels. Memory: 215 MB.
    """

    normalize: bool = True

    def place(self) -> Path | None:
        return MNIST().place()

    def load(self) -> DataSplit:
        split = MNIST(normalize=self.normalize).load()
        return replace(split, name=self.kind, train=_coloured(split.train), test=_coloured(split.test))


def _coloured(samples: Samples) -> Samples:
    images = functional.pad(samples.images, (2, 2, 2, 2)).repeat(1, 3, 1, 1)
    mean, std = (None if moment is None else moment.repeat(3, 1, 1) for moment in (samples.mean, samples.std))
    return replace(samples, images=images, mean=mean, std=std)


def read_idx(path: Path, *, dims: int) -> Tensor:
    """The uint8 tensor in a gzipped idx file: magic 0, 0, 8 (unsigned bytes), dims; then the sizes, big-endian; then the bytes.

    Raises: DataError if the header or the length is not that of such a file.
    """
    content = read_gzip(path)
    if content[:4] != bytes((0, 0, 8, dims)) or len(content) < 4 + 4 * dims:
        raise DataError(f"{path} is not an idx file of {dims} dimensions (first bytes {content[:4].hex()}). Get it again.")
    sizes = np.frombuffer(content, ">u4", count=dims, offset=4).tolist()
    expected, found = prod(sizes), len(content) - 4 - 4 * dims
    if expected != found:
        raise DataError(f"{path} announces {expected} bytes of data but holds {found}. Get it again.")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * dims).copy()).view(sizes)
