"""HorizontalFlip: mirror some images."""

import torch
from torch import Tensor

from phalanx.core.families import Augmentation
from phalanx.core.numbers import Probability
from phalanx.data.augmentations.shape import require_images


class HorizontalFlip(Augmentation):
    """Swap left and right of every image with `probability`, independently. Not for digits or letters.

    >>> HorizontalFlip(1.0).apply(torch.tensor([[[[1., 2.]]]]), torch.Generator())
    tensor([[[[2., 1.]]]])
    """

    probability: Probability = 0.5

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        require_images(images, "HorizontalFlip")
        flipped = torch.rand(len(images), generator=generator) < self.probability
        return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)
