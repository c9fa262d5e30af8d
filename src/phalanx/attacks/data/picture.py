"""A small picture as a trigger: each pixel with a value of its own."""

from dataclasses import KW_ONLY
from typing import Annotated, Self

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from phalanx.attacks.data.paint import require_inside
from phalanx.core.errors import ConfigError
from phalanx.core.families import Trigger
from phalanx.core.numbers import Probability

_Row = Annotated[tuple[Probability, ...], Field(min_length=1)]
_Channel = Annotated[tuple[_Row, ...], Field(min_length=1)]


class Picture(Trigger):
    """`images[..., row : row + h, column : column + w] = pixels` `[C, h, w]`; one channel goes for all of an image's.

    For a trigger with grey levels or colours, such as what `OptimizedBackdoor` finds; a solid rectangle is a `Patch`.

    Reference: Gu et al., BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain, 2017
    (arXiv 1708.06733), the yellow square, bomb and flower.

    >>> Picture((((0.25, 1.0),),), column=1).stamp(torch.zeros(1, 1, 2, 3))[0, 0]
    tensor([[0.0000, 0.2500, 1.0000],
            [0.0000, 0.0000, 0.0000]])
    """

    pixels: Annotated[tuple[_Channel, ...], Field(min_length=1)]
    """Of each channel the rows, from top to bottom."""
    _: KW_ONLY
    row: NonNegativeInt = 0
    """The topmost row, counted from 0."""
    column: NonNegativeInt = 0
    """The leftmost column, counted from 0."""

    def __post_init__(self) -> None:
        shapes = {(len(channel), len(row)) for channel in self.pixels for row in channel}
        if len(shapes) > 1:
            raise ConfigError(f"Picture needs rows of one length and channels of one height; got {sorted(shapes)}.")

    @classmethod
    def of(cls, pixels: Tensor, *, row: int, column: int) -> Self:
        """The picture of a tensor `[C, h, w]` in [0, 1]."""
        return cls(tuple(tuple(map(tuple, channel)) for channel in pixels.tolist()), row=row, column=column)

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the picture on them. Raises: ConfigError if it does not fit, or has other channels."""
        who, (height, width) = "A Picture", (len(self.pixels[0]), len(self.pixels[0][0]))
        require_inside(images, self.row + height - 1, self.column + width - 1, who=who)
        if len(self.pixels) not in (1, images.shape[1]):
            raise ConfigError(f"A Picture with {len(self.pixels)} channels does not fit images with {images.shape[1]}.")
        stamped = images.clone()
        picture = torch.tensor(self.pixels, dtype=images.dtype, device=images.device)
        stamped[..., self.row : self.row + height, self.column : self.column + width] = picture
        return stamped
