"""Rows `[n, d]` as rules ask for them: stored, or scaled and mixed while they are read, so that no second matrix is made."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from phalanx.core import columns, linalg
from phalanx.core.workers import blocks, do_parts, width_of


class Matrix(ABC):
    """Rows, and what is known of them: whatever is asked for is worked out once and shared by everyone who asks."""

    @property
    @abstractmethod
    def stored(self) -> Tensor:
        """The rows that these are made from."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """n and d."""

    @property
    def dtype(self) -> torch.dtype:
        """What the rows are worked in."""
        return self.stored.dtype

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.stored.device

    @abstractmethod
    def row(self, place: int) -> Tensor:
        """One row, `[d]`."""

    @abstractmethod
    def columns(self, block: slice) -> Tensor:
        """Some columns, `[n, w]`."""

    @abstractmethod
    def sums(self, mixing: Tensor) -> Tensor:
        """The rows M X, `[m, d]`, for M `[m, n]` float64."""

    @abstractmethod
    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Σ w_i x_i, `[d]`, for weights `[n]` float64."""

    @cached_property
    def whole(self) -> Tensor:
        """All rows, made: as large as those that they are made from."""
        n, d = self.shape
        made = torch.empty(n, d, dtype=self.dtype, device=self.device)

        def one_part(part: slice) -> None:
            for block in blocks(part, width_of(n)):
                made[:, block] = self.columns(block)

        do_parts(one_part, d, width_of(n))
        return made

    @cached_property
    def norms(self) -> Tensor:
        """Euclidean norm of every row, `[n]` float64."""
        return linalg.norms(self)

    @cached_property
    def _geometry(self) -> linalg.Geometry:
        return linalg.geometry(self, lengths=self.norms)

    @cached_property
    def squared_distances(self) -> Tensor:
        """Squared Euclidean distance of every pair of rows, `[n, n]` float64."""
        return self._geometry.distances

    @cached_property
    def gram(self) -> Tensor:
        """Inner products of all rows `[n, n]` float64, seen from a row in the midst of most others."""
        seen, typical = self._geometry, self.squared_distances.median(dim=1).values
        if typical[seen.centre] <= 16 * typical.min():
            return seen.gram
        return self.gram_about(self.row(int(typical.argmin())))

    def gram_about(self, centre: Tensor) -> Tensor:
        """Inner products of the rows x_i − centre, `[n, n]` float64, for `centre` `[d]`."""
        return linalg.gram(self, centre=centre)

    @cached_property
    def content_rank(self) -> Tensor:
        """The place `[n]` of every row in the lexicographic order of contents; equal rows share one."""
        first_equal = self.squared_distances.eq(0).int().argmax(dim=1)
        distinct, place = torch.unique(first_equal, return_inverse=True)
        rank = columns.lexicographic_rank(lambda block: self.columns(block)[distinct], len(distinct))
        return rank.to(place.device)[place]

    def scaled(self, factors: Tensor) -> "Matrix":
        """The rows f_i x_i, for factors f_i >= 0 `[n]` float64."""
        return Scaled(self, factors)

    def mixed(self, mixing: Tensor) -> "Matrix":
        """The rows M X, for M `[m, n]` float64 whose rows sum to 1."""
        return Mixed(self, mixing)


@dataclass(frozen=True, eq=False)
class Stored(Matrix):
    """Rows that are there."""

    tensor: Tensor

    @property
    def stored(self) -> Tensor:
        return self.tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @cached_property
    def whole(self) -> Tensor:
        return self.tensor

    @cached_property
    def norms(self) -> Tensor:
        return linalg.norms(self.tensor)

    def row(self, place: int) -> Tensor:
        return self.tensor[place]

    def columns(self, block: slice) -> Tensor:
        return self.tensor[:, block]

    def sums(self, mixing: Tensor) -> Tensor:
        return mixing.to(self.tensor) @ self.tensor

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return linalg.weighted_sum(weights, self.tensor)


@dataclass(frozen=True, eq=False)
class Scaled(Matrix):
    """Multiples of others: norms and sums come through the factors, distances from blocks, scaled in turn.

    The parent's own distances, multiplied, have lost the digits of rows that clipping brings together.
    """

    parent: Matrix
    factors: Tensor

    @property
    def stored(self) -> Tensor:
        return self.parent.stored

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parent.shape

    @cached_property
    def norms(self) -> Tensor:
        return self.factors * self.parent.norms

    def row(self, place: int) -> Tensor:
        return linalg.scale_rows(self.parent.row(place)[None], self.factors[place, None])[0]

    def columns(self, block: slice) -> Tensor:
        return linalg.scale_rows(self.parent.columns(block), self.factors)

    def sums(self, mixing: Tensor) -> Tensor:
        if linalg.fits(self.factors, self.dtype):
            return self.parent.sums(mixing * self.factors)
        return mixing.to(self.whole) @ self.whole

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self.parent.weighted_sum(weights.to(self.factors) * self.factors)

    def scaled(self, factors: Tensor) -> Matrix:
        return Scaled(self.parent, factors * self.factors)


@dataclass(frozen=True, eq=False)
class Mixed(Matrix):
    """Weighted means of others: distances cost O(n³) and a sum one read of the parent."""

    parent: Matrix
    mixing: Tensor

    @property
    def stored(self) -> Tensor:
        return self.parent.stored

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.mixing), self.parent.shape[1]

    @cached_property
    def whole(self) -> Tensor:
        return self.parent.sums(self.mixing)

    @cached_property
    def squared_distances(self) -> Tensor:
        return linalg.mixed_squared_distances(self.mixing, self.parent.squared_distances)

    @cached_property
    def gram(self) -> Tensor:
        return self.mixing @ self.parent.gram @ self.mixing.T

    def gram_about(self, centre: Tensor) -> Tensor:
        return self.mixing @ self.parent.gram_about(centre) @ self.mixing.T

    def row(self, place: int) -> Tensor:
        return self.parent.weighted_sum(self.mixing[place])

    def columns(self, block: slice) -> Tensor:
        columns = self.parent.columns(block)
        return self.mixing.to(columns.dtype) @ columns

    def sums(self, mixing: Tensor) -> Tensor:
        return self.parent.sums(mixing @ self.mixing)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self.parent.weighted_sum(weights.to(self.mixing) @ self.mixing)
