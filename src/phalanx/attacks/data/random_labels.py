"""Labels without meaning: the weakest poison, and the model of a broken annotator."""

import torch
from torch import Tensor

from phalanx.core.families import DataAttack


class RandomLabels(DataAttack):
    """Every training label is replaced by a uniform draw from all classes, anew in every batch.

    Untargeted: it shows in the accuracy, and attack success is not defined. One label in C stays right by chance. Its
    gradient is little more than noise around "all classes alike"; LabelFlipAll harms more.

    >>> batch = torch.zeros(1000, 1), torch.zeros(1000, dtype=torch.int64)
    >>> attack = RandomLabels()
    >>> attack.poison(*batch, chosen=None, attacker=0, num_classes=2, generator=torch.Generator())[1].unique()
    tensor([0, 1])
    """

    def poison(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        chosen: Tensor | None,
        attacker: int,
        num_classes: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """The images as they are, and drawn labels."""
        drawn = torch.randint(num_classes, labels.shape, generator=generator, dtype=labels.dtype)
        return images, drawn.to(labels.device)
