"""Label flipping of every class to its mirror image: an untargeted attack."""

import torch
from torch import Tensor

from phalanx.core.families import DataAttack


class LabelFlipAll(DataAttack):
    """Every training label l becomes C − 1 − l, C the number of classes.

    Untargeted: it shows in the accuracy, and attack success is not defined. With an odd C the middle class stays itself.

    Reference: Fang et al., Local Model Poisoning Attacks to Byzantine-Robust Federated Learning, USENIX Security 2020
    (arXiv 1911.11815).

    >>> batch = torch.zeros(3, 4), torch.tensor([0, 1, 9])
    >>> LabelFlipAll().poison(*batch, chosen=None, attacker=0, num_classes=10, generator=torch.Generator())[1]
    tensor([9, 8, 0])
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
        """The images as they are, and the mirrored labels."""
        return images, num_classes - 1 - labels
