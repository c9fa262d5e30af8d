"""RandomCrop: move every image by a few pixels."""

import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.data.augmentations.shape import require_images


class RandomCrop(Augmentation):
    """Pad every image with `padding` black pixels and cut its own size out again, at a uniform place of its own.

    Time and memory O(B C (H + 2 padding)(W + 2 padding)).

    >>> RandomCrop(padding=1).apply(torch.ones(2, 3, 4, 4), torch.Generator()).shape
    torch.Size([2, 3, 4, 4])
    """

    padding: PositiveInt = 4

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        require_images(images, "RandomCrop")
        count, _, height, width = images.shape
        if self.padding >= min(height, width):
            raise ConfigError(
                f"RandomCrop needs padding < {min(height, width)}, the images' shorter side, for something of each to be left; "
                f"got {self.padding}. Lower padding."
            )
        padded = functional.pad(images, (self.padding,) * 4)
        corners = torch.randint(2 * self.padding + 1, (2, count, 1), generator=generator).to(images.device)
        rows = corners[0] + torch.arange(height, device=images.device)
        columns = corners[1] + torch.arange(width, device=images.device)
        batch = torch.arange(count, device=images.device)[:, None, None]
        # Index tensors around a slice put the channels last.
        return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
