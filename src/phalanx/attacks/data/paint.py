"""Setting pixels of a batch: what all triggers made of solid pixels share."""

from collections.abc import Sequence

import torch
from torch import Tensor

from phalanx.core.errors import ConfigError


def paint(images: Tensor, pixels: Sequence[tuple[int, int]], value: float, *, who: str) -> Tensor:
    """A copy of `images` `[B, C, H, W]` with `value` at every (row, column), in all channels.

    Raises: ConfigError if the images are no float batch of that shape, or a pixel lies outside of them.
    """
    require_inside(images, *(max(pixel[axis] for pixel in pixels) for axis in (0, 1)), who=who)
    row, column = torch.tensor(pixels, device=images.device).unbind(1)
    stamped = images.clone()
    stamped[..., row, column] = value
    return stamped


def require_inside(images: Tensor, row: int, column: int, *, who: str) -> None:
    """Raise ConfigError unless the batch holds float images `[B, C, H, W]` in which this pixel lies."""
    if images.dim() != 4 or not images.dtype.is_floating_point:
        raise ConfigError(
            f"{who} needs float images [B, C, H, W] in [0, 1]; got {images.dtype} of shape {list(images.shape)}. "
            "Use a data set of images, or a data attack that changes labels only."
        )
    height, width = images.shape[-2:]
    if row >= height or column >= width:
        raise ConfigError(
            f"{who} reaches row {row}, column {column}; the images have rows 0..{height - 1} and columns 0..{width - 1}. "
            "Move the trigger or make it smaller."
        )
