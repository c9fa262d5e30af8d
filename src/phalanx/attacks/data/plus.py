"""The plus sign: five pixels that hide in a corner."""

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor

from phalanx.attacks.data.paint import paint
from phalanx.core.families import Trigger


class Plus(Trigger):
    """Five pixels, the centre `(row, column)` and its four neighbours, set to `value` in all channels.

    By default near the top-left corner, where digits and garments leave the background free.

    Reference: none of its own; a "pattern backdoor" as in Gu et al., BadNets, 2017 (arXiv 1708.06733).

    >>> import torch
    >>> Plus(row=1, column=1).stamp(torch.zeros(1, 1, 3, 3))[0, 0]
    tensor([[0., 1., 0.],
            [1., 1., 1.],
            [0., 1., 0.]])
    """

    _: KW_ONLY
    row: PositiveInt = 2
    """The centre's row, at least 1."""
    column: PositiveInt = 2
    """The centre's column, at least 1."""
    value: Annotated[float, Field(ge=0, le=1)] = 1.0

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the plus on them. Raises: ConfigError if it does not fit."""
        arms = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
        pixels = [(self.row + down, self.column + right) for down, right in arms]
        return paint(images, pixels, self.value, who=repr(self))
