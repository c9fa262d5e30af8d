"""Label flipping of every class to its mirror image: an untargeted attack."""

from torch import Tensor

from phalanx.core.families import DataAttack
from phalanx.core.types import Draw


class LabelFlipAll(DataAttack):
    """Every training label l becomes C − 1 − l, C the number of classes.

    Untargeted: it shows in the accuracy, and attack success is not defined. With an odd C the middle class stays itself.

    Reference: Fang et al., Local Model Poisoning Attacks to Byzantine-Robust Federated Learning, USENIX Security 2020
    (arXiv 1911.11815).

    >>> import torch
    >>> batch = torch.zeros(3, 4), torch.tensor([0, 1, 9])
    >>> LabelFlipAll().poison(*batch, Draw(10, torch.Generator()))[1]
    tensor([9, 8, 0])
    """

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The images as they are, and the mirrored labels."""
        return images, draw.num_classes - 1 - labels
