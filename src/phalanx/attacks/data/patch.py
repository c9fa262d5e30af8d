"""The rectangle of BadNets: the most common backdoor trigger."""

from dataclasses import KW_ONLY
from itertools import product
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.attacks.data.paint import paint, require_inside
from phalanx.core.families import Trigger


class Patch(Trigger):
    """A solid rectangle, `images[..., row : row + height, column : column + width] = value`, in all channels.

    Conspicuous, and easy to learn: for a mark that no single client knows whole see Distributed.

    Reference: Gu et al., BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain, 2017
    (arXiv 1708.06733).

    >>> import torch
    >>> Patch(2, column=1).stamp(torch.zeros(1, 1, 3, 3))[0, 0]
    tensor([[0., 1., 1.],
            [0., 1., 1.],
            [0., 0., 0.]])
    """

    height: PositiveInt = 4
    width: PositiveInt | None = None
    """None: a square."""
    _: KW_ONLY
    row: NonNegativeInt = 0
    """The topmost row, counted from 0."""
    column: NonNegativeInt = 0
    """The leftmost column, counted from 0."""
    value: Annotated[float, Field(ge=0, le=1)] = 1.0

    def stamp(self, images: Tensor) -> Tensor:
        """The images with the rectangle on them. Raises: ConfigError if it does not fit."""
        rows = range(self.row, self.row + self.height)
        columns = range(self.column, self.column + (self.width or self.height))
        require_inside(images, rows[-1], columns[-1], who=repr(self))  # before a huge rectangle is listed pixel by pixel
        return paint(images, list(product(rows, columns)), self.value, who=repr(self))
