"""`Federation`: all samples as tensors, and for each client the positions of its own. Nothing is copied a client."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from phalanx.core import rng
from phalanx.core.errors import DataError
from phalanx.core.families import Partitioner
from phalanx.core.types import DataSplit, Samples
from phalanx.data.partitioners import FromFile
from phalanx.data.root_set import RootSet


@dataclass(frozen=True)
class Federation:
    """Who holds which samples: `clients[i]` are client i's positions `[m_i]` int64 in `train`; `root` is the server's own."""

    name: str
    train: Samples
    test: Samples
    clients: tuple[Tensor, ...]
    root: Samples | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def build(cls, split: DataSplit, partitioner: Partitioner, root: RootSet | None = None, seed: int = 0) -> Self:
        """Take the root set out of the training samples, then deal what is left to clients.

        `split` may be a user's own tensors. Raises: DataError if it does not fit together or cannot be dealt so.
        """
        _check(split)
        root = root or RootSet()
        if root.takes_samples and isinstance(partitioner, FromFile):
            raise DataError(
                "A partition from a file deals all positions itself and leaves none for a root set. Leave [root] out."
            )
        train = split.train
        trusted = root.draw(train.labels, train.num_classes, rng.generator(seed, "root"), groups=split.groups)
        left = torch.ones(len(train), dtype=torch.bool)
        left[trusted] = False
        pool = left.nonzero().squeeze(1)
        groups = None if split.groups is None else split.groups[pool]
        parts = partitioner.split(train.labels[pool], groups, rng.generator(seed, "partition"))
        _check_partition(parts, len(pool))
        clients = tuple(pool[part] for part in parts)
        return cls(split.name, train, split.test, clients, _take(train, trusted), split.checksums)

    @property
    def num_clients(self) -> int:
        """How many clients there are, empty ones included."""
        return len(self.clients)

    @property
    def num_classes(self) -> int:
        """How many classes the labels name."""
        return self.train.num_classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.train.images.shape[1:])

    def to(self, device: torch.device | str) -> Self:
        """The same federation with all its tensors on a device."""
        return replace(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            clients=tuple(index.to(device) for index in self.clients),
            root=self.root and self.root.to(device),
        )


def _take(samples: Samples, positions: Tensor) -> Samples | None:
    if not len(positions):
        return None
    return replace(samples, images=samples.images[positions], labels=samples.labels[positions])


def _check(split: DataSplit) -> None:
    for part, samples in (("train", split.train), ("test", split.test)):
        images, labels = samples.images, samples.labels
        if labels.dim() != 1 or images.dim() < 2 or not images.shape[1:].numel():
            raise DataError(
                f"The {part} set needs images [N, ...] with at least one number each and labels [N]; "
                f"got shapes {list(images.shape)} and {list(labels.shape)}."
            )
        if not len(labels) or len(images) != len(labels):
            raise DataError(f"The {part} set needs one label an image and at least one; got {len(images)} and {len(labels)}.")
        if images.dtype not in (torch.uint8, torch.float32) or labels.dtype != torch.int64:
            raise DataError(
                f"The {part} set needs uint8 or float32 images and int64 labels; got {images.dtype} and {labels.dtype}."
            )
        if int(labels.min()) < 0 or int(labels.max()) >= samples.num_classes:
            raise DataError(f"The {part} set's labels must lie in [0, {samples.num_classes}), the number of classes.")
    if split.train.images.shape[1:] != split.test.images.shape[1:] or split.train.num_classes != split.test.num_classes:
        raise DataError("The train and the test set must have samples of one shape and the same number of classes.")
    if split.groups is not None and len(split.groups) != len(split.train):
        raise DataError(f"Groups need one entry a training sample; got {len(split.groups)} for {len(split.train)}.")


def _check_partition(parts: list[Tensor], count: int) -> None:
    if not parts:
        raise DataError("A federation needs at least one client; the partitioner made none.")
    dealt = torch.cat(parts)
    if dealt.dtype != torch.int64 or bool(((dealt < 0) | (dealt >= count)).any()):
        raise DataError(f"A partitioner must return int64 positions in [0, {count}), the samples that it may deal.")
    if bool((dealt.bincount() > 1).any()):
        raise DataError("A sample was dealt to two clients (or twice to one): the parts of a partition must be disjoint.")
