"""The line that attacks move a row along, away from the honest mean, and how far it then lies from every honest row."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phalanx.attacks.update.deviations import Deviation, mean_and_direction

_COLUMNS = 4096
"""Columns a block: small enough for the cache, three times as fast as blocks of 16 MB."""


@dataclass(frozen=True)
class Line:
    """The rows mean + γ p, `[d]` each, as the honest rows x_i see them.

    |x_i − mean − γ p|² = squares_i − 2 γ along_i + γ² length, where `squares` `[h]` is |x_i − mean|², `along` `[h]` is
    (x_i − mean)·p and `length` is |p|², all of them float64.
    """

    mean: Tensor
    direction: Tensor
    squares: Tensor
    along: Tensor
    length: float

    @classmethod
    def away_from(cls, rows: Tensor, deviation: Deviation) -> "Line":
        """The line from the mean of `rows` `[h, d]` in the direction p that `deviation` names. Three reads of the rows."""
        mean, direction = mean_and_direction(rows, deviation)
        along = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        squares = torch.zeros_like(along)
        for start in range(0, rows.shape[1], _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            offset = rows[:, columns].double() - mean[columns].double()
            along += offset @ direction[columns].double()
            squares += offset.square_().sum(1)
        return cls(mean, direction, squares, along, float(direction.double().square().sum()))

    def backwards(self) -> "Line":
        """The same line in the opposite direction."""
        return replace(self, direction=-self.direction, along=-self.along)

    def at(self, gamma: float) -> Tensor:
        """mean + γ p, `[d]`."""
        return torch.add(self.mean, self.direction, alpha=gamma)

    def distances(self, gamma: float, honest: Tensor) -> Tensor:
        """Squared distances of the row at γ and, behind it, the honest rows, `[1 + h, 1 + h]`; `honest` are the latter's."""
        to_honest = (self.squares - 2 * gamma * self.along + gamma**2 * self.length).clamp(min=0)
        return _bordered(honest, to_honest, 0.0)

    def gram(self, gamma: float, honest: Tensor) -> Tensor:
        """The same of inner products; `honest` are seen from one of the honest rows, and so is the result."""
        centre = int(honest.diagonal().argmin())
        to_mean, offset = honest.mean(dim=1), float(self.along[centre])
        own = float(to_mean.mean()) - 2 * gamma * offset + gamma**2 * self.length
        return _bordered(honest, to_mean + gamma * (self.along - offset), own)


def _bordered(inner: Tensor, border: Tensor, corner: float) -> Tensor:
    """`[1 + h, 1 + h]`: a row and a column in front of `inner` `[h, h]`."""
    h = len(inner)
    result = inner.new_full((1 + h, 1 + h), corner)
    result[1:, 1:], result[0, 1:], result[1:, 0] = inner, border, border
    return result
