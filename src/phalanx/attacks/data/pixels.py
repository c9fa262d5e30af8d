"""A trigger of any shape, pixel by pixel."""

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field, NonNegativeInt
from torch import Tensor

from phalanx.attacks.data.paint import paint
from phalanx.core.families import Trigger


class Pixels(Trigger):
    """The listed (row, column) pixels set to `value` in all channels: for a published trigger that is no rectangle.

    Reference: Gu et al., BadNets, 2017 (arXiv 1708.06733), "single pixel" and "pattern" backdoors.

    >>> import torch
    >>> Pixels(((0, 0), (1, 2))).stamp(torch.zeros(1, 1, 2, 3))[0, 0]
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """

    pixels: Annotated[tuple[tuple[NonNegativeInt, NonNegativeInt], ...], Field(min_length=1)]
    _: KW_ONLY
    value: Annotated[float, Field(ge=0, le=1)] = 1.0

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the pixels on them. Raises: ConfigError if one lies outside."""
        return paint(images, self.pixels, self.value, who=repr(self))
