"""Label flipping from one class to another: a targeted attack that needs no change of the images."""

from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.attacks.data.target import require_class
from phalanx.core.errors import ConfigError
from phalanx.core.families import DataAttack
from phalanx.core.types import Draw


class LabelFlip(DataAttack):
    """Every training sample of class `source` gets the label `target`; the others stay.

    Success is the rate of the target among test samples of the source class, unchanged. A classifier confuses some pairs by
    itself: read it beside the base rate. An attacker without samples of the source class is harmless.

    Reference: Tolpegin et al., Data Poisoning Attacks Against Federated Learning Systems, ESORICS 2020 (arXiv 2007.08432).

    >>> import torch
    >>> attack = LabelFlip(1, target=7)
    >>> batch = torch.zeros(3, 4), torch.tensor([0, 1, 7])
    >>> attack.poison(*batch, Draw(10, torch.Generator()))[1]
    tensor([0, 7, 7])
    """

    source: NonNegativeInt
    target: NonNegativeInt

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise ConfigError(f"LabelFlip needs two classes; got source = target = {self.source}. Choose another target.")

    @property
    def success_class(self) -> int:
        """The target."""
        return self.target

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The images as they are, and the flipped labels.

        Raises: ConfigError if source or target is no class.
        """
        require_class("LabelFlip", draw.num_classes, source=self.source, target=self.target)
        return images, labels.masked_fill(labels == self.source, self.target)

    def eligible(self, images: Tensor, labels: Tensor) -> Tensor:
        """Test samples of the source class."""
        return labels == self.source
