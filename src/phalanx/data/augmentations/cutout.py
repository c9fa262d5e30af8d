"""Cutout: hide a square of every image."""

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.data.augmentations.shape import require_images


class Cutout(Augmentation):
    """Set a `size` x `size` square around a uniform pixel of each image to 0; what reaches over the border is cut off.

    Reference: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017
    (arXiv 1708.04552).
    Differs from the paper: the square is black, not the mean colour, because augmentation comes before standardisation.
    >>> Cutout(size=1).apply(torch.ones(1, 1, 2, 2), torch.Generator()).sum()
    tensor(3.)
    """

    size: PositiveInt = 16

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        require_images(images, "Cutout")
        count, _, height, width = images.shape
        if self.size >= min(height, width):
            raise ConfigError(
                f"Cutout needs size < {min(height, width)} for something of each image to be left; got {self.size}."
            )
        rows, columns = (self._hidden(count, length, generator) for length in (height, width))
        hidden = (rows[:, :, None] & columns[:, None, :]).to(images.device)
        return images.masked_fill(hidden[:, None], 0)

    def _hidden(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Which of `length` places the square covers, `[count, length]`."""
        start = torch.randint(length, (count, 1), generator=generator) - self.size // 2
        places = torch.arange(length)
        return (places >= start) & (places < start + self.size)
