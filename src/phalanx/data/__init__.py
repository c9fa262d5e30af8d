"""Data sets, how they are dealt to clients, and what happens to a training batch."""

from phalanx.data.augmentations import (
    ATS,
    ATS_POLICIES,
    TRANSFORMATIONS,
    Cutout,
    HorizontalFlip,
    RandomCrop,
    Transformation,
)
from phalanx.data.cifar import CIFAR10, CIFAR100
from phalanx.data.digits import Digits
from phalanx.data.federation import Federation
from phalanx.data.har import HAR, HARPerSubject
from phalanx.data.mnist import MNIST, MNISTRGB, FashionMNIST
from phalanx.data.partitioners import IID, ByGroup, ClientDirichlet, Dirichlet, FromFile, LabelBias, Shards
from phalanx.data.root_set import RootSet
from phalanx.data.synthetic import Synthetic

__all__ = [
    "ATS",
    "ATS_POLICIES",
    "CIFAR10",
    "CIFAR100",
    "HAR",
    "IID",
    "MNIST",
    "MNISTRGB",
    "TRANSFORMATIONS",
    "ByGroup",
    "ClientDirichlet",
    "Cutout",
    "Digits",
    "Dirichlet",
    "FashionMNIST",
    "Federation",
    "FromFile",
    "HARPerSubject",
    "HorizontalFlip",
    "LabelBias",
    "RandomCrop",
    "RootSet",
    "Shards",
    "Synthetic",
    "Transformation",
]
