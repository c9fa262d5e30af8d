"""`Updates`: the rows that a rule gets, and whose they are."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phalanx.core.matrix import Matrix, Stored


@dataclass(frozen=True, eq=False, init=False)
class Updates:
    """The rows that passed screening: `matrix` `[n, d]`, `buffers` `[n, b]`, `ids` `[n]` (roster ints), `weights` `[n]`.

    The weights are the server's own, never a client's claim. Distances are computed once and shared by everyone who asks.
    `rows` may be scaled and mixed as they are read; `matrix` makes them. `dataclasses.replace(updates, weights=…)` keeps the
    rows and what is known of them, `matrix=…` gives others.
    """

    rows: Matrix
    buffers: Tensor
    ids: Tensor
    weights: Tensor

    def __init__(
        self, rows: Tensor | Matrix, buffers: Tensor, ids: Tensor, weights: Tensor, *, matrix: Tensor | None = None
    ) -> None:
        given = rows if matrix is None else matrix
        as_rows = Stored(given) if isinstance(given, Tensor) else given
        vars(self).update(rows=as_rows, buffers=buffers, ids=ids, weights=weights)

    @classmethod
    def of(cls, matrix: Tensor) -> "Updates":
        """Anonymous updates with equal weights."""
        n = len(matrix)
        return Updates(matrix, matrix.new_zeros(n, 0), torch.arange(n), torch.ones(n, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def matrix(self) -> Tensor:
        """All rows `[n, d]`: a second matrix, if they were scaled or mixed and nobody asked before."""
        return self.rows.whole

    @property
    def squared_distances(self) -> Tensor:
        """Squared Euclidean distance of every pair of rows, `[n, n]` float64."""
        return self.rows.squared_distances

    @property
    def gram(self) -> Tensor:
        """Inner products of all rows `[n, n]` float64, seen from a row in the midst of most others.

        For sums over weights that add up to 1 or 0, where it does not matter which row that is: distances to a weighted mean,
        its covariance. Seen from the midst, the honest rows keep their digits beside attackers of any size.
        """
        return self.rows.gram

    def gram_about(self, centre: Tensor) -> Tensor:
        """Inner products of the rows x_i − centre, `[n, n]` float64, for `centre` `[d]`."""
        return self.rows.gram_about(centre)

    @property
    def norms(self) -> Tensor:
        """Euclidean norm of every row, `[n]` float64."""
        return self.rows.norms

    @property
    def content_rank(self) -> Tensor:
        """The place `[n]` of every row in the lexicographic order of contents, to break ties with; equal rows share one."""
        return self.rows.content_rank

    def row(self, place: int) -> Tensor:
        """One row of the matrix, `[d]`."""
        return self.rows.row(place)

    def columns(self, block: slice) -> Tensor:
        """Some columns of the matrix, `[n, w]`."""
        return self.rows.columns(block)

    def sums(self, mixing: Tensor) -> Tensor:
        """The rows M X, `[m, d]`, for M `[m, n]` float64."""
        return self.rows.sums(mixing)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Σ w_i x_i, `[d]`, for weights `[n]` float64."""
        return self.rows.weighted_sum(weights)

    def measured(self, norms: Tensor) -> "Updates":
        """The same rows, whose norms `[n]` (float64) the caller has measured already."""
        rows: Matrix = replace(self.rows)  # type: ignore[type-var]  # a subclass is a dataclass
        vars(rows).update(norms=norms)
        return replace(self, rows=rows)

    def scaled(self, factors: Tensor) -> "Updates":
        """The rows f_i x_i, for factors f_i >= 0 `[n]` float64: made only if someone reads them."""
        return replace(self, rows=self.rows.scaled(factors))

    def replaced(self, matrix: Tensor) -> "Updates":
        """The same clients with other rows `[n, d]`."""
        return replace(self, rows=Stored(matrix))

    def mixed(self, mixing: Tensor, *, ids: Tensor | None = None, weights: Tensor | None = None) -> "Updates":
        """The rows M X, for M `[m, n]` float64 whose rows sum to 1: made only if someone reads them.

        The same clients, or where they are others than before, m of them with their `ids` and `weights` `[m]`.
        """
        buffers = mixing.to(self.buffers) @ self.buffers
        return Updates(
            self.rows.mixed(mixing), buffers, self.ids if ids is None else ids, self.weights if weights is None else weights
        )
