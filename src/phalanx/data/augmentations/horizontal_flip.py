"""HorizontalFlip: mirror some images."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from phalanx.core.families import Augmentation


class HorizontalFlip(Augmentation):
    """Swap left and right of every image with `probability`, independently. Not for digits or letters.

    >>> HorizontalFlip(1.0).apply(torch.tensor([[[[1., 2.]]]]), torch.Generator())
    tensor([[[[2., 1.]]]])
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        flipped = torch.rand(len(images), generator=generator) < self.probability
        return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)
