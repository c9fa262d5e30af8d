"""Labels without meaning: the weakest poison, and the model of a broken annotator."""

import torch
from torch import Tensor

from phalanx.core.families import DataAttack
from phalanx.core.types import Draw


class RandomLabels(DataAttack):
    """Every training label is replaced by a uniform draw from all classes, anew in every batch.

    Untargeted: it shows in the accuracy, and attack success is not defined. One label in C stays right by chance. Its
    gradient is little more than noise around "all classes alike"; LabelFlipAll harms more.

    Reference: none of its own.

    >>> batch = torch.zeros(1000, 1), torch.zeros(1000, dtype=torch.int64)
    >>> attack = RandomLabels()
    >>> attack.poison(*batch, Draw(2, torch.Generator()))[1].unique()
    tensor([0, 1])
    """

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The images as they are, and drawn labels."""
        drawn = torch.randint(draw.num_classes, labels.shape, generator=draw.generator, dtype=labels.dtype)
        return images, drawn.to(labels.device)
