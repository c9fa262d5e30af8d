"""Matrix work that rules share, over rows `[n, d]` in column blocks: norms, distances that hold beside huge rows, sums.

Extra memory is a few blocks and `[n, n]`, never a second matrix.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from phalanx.core.workers import BLOCK, FEW_ROWS, blocks, do_parts, each_part, width_of

_READ_BLOCK = 1 << 15
"""Columns of a block that is read and not copied, or whose copy is small."""
_GROUP = 512
"""Columns whose squares float32 may add up."""
_SMALLEST, _LARGEST = 1e-12, 1e15
"""Between these lengths float32 holds the squares, and all that matters of their parts."""
_CANCELLED = 2.0**-5
"""A distance below this share of what it was subtracted from has lost too many digits and is measured again."""
_SQUARABLE = 1e-140, 1e140
"""Between these lengths float64 holds the square of every entry that matters."""


class Readable(Protocol):
    """Rows `[n, d]` that are made as they are read: scaled ones, mixed ones."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def row(self, place: int) -> Tensor:
        """One row, `[d]`."""

    def columns(self, block: slice) -> Tensor:
        """Some columns, `[n, w]`."""


def _row(rows: Tensor | Readable, place: int) -> Tensor:
    return rows[place] if isinstance(rows, Tensor) else rows.row(place)


def _columns(rows: Tensor | Readable, block: slice) -> Tensor:
    return rows[:, block] if isinstance(rows, Tensor) else rows.columns(block)


def norms(matrix: Tensor | Readable, *, centre: Tensor | None = None) -> Tensor:
    """Euclidean norm of each row x_i − centre, `[n]` float64. `centre` is `[d]`; the differences are never stored.

    Squares are summed in the rows' own dtype over a few hundred columns and in float64 over those: of float32 rows the relative
    error is near 1e-8, in a third of the time of float64. Not finite exactly where a row is not finite: a length beyond
    float64's range counts as its largest number.
    """
    n, d = matrix.shape
    is_copied = centre is not None or not isinstance(matrix, Tensor)
    width = BLOCK if is_copied and n > FEW_ROWS else _READ_BLOCK

    def squares(part: slice) -> Tensor:
        total = torch.zeros(n, dtype=torch.float64, device=matrix.device)
        buffer = torch.empty(0 if centre is None else n, width, dtype=matrix.dtype, device=matrix.device)
        for block in blocks(part, width):
            columns = _columns(matrix, block)
            rows = columns if centre is None else torch.sub(columns, centre[block], out=buffer[:, : columns.shape[1]])
            lengths = _lengths(rows)
            for place in _suspects(lengths):
                row = columns[place].double()
                # Not in place: a float64 row is still the caller's.
                lengths[place] = torch.linalg.vector_norm(row if centre is None else row - centre[block])
            total += lengths.square_()
        return total

    lengths = _sum(each_part(squares, d, width)).sqrt_()
    if matrix.dtype == torch.float64:
        for place, length in enumerate(lengths.tolist()):
            if not _SQUARABLE[0] < length < _SQUARABLE[1]:
                row = _row(matrix, place)
                lengths[place] = _length(row if centre is None else row - centre)
    return lengths


def _length(row: Tensor) -> Tensor:
    """The norm of a float64 row of any size: scaled by a power of two, so that no square leaves float64's range."""
    largest = row.abs().amax()
    if not (largest > 0 and largest.isfinite()):
        return largest
    # Of the largest numbers the power itself would be infinite, of subnormal ones its inverse.
    scale = torch.exp2(torch.frexp(largest).exponent.clamp(-1000, 1000).double())
    length: Tensor = torch.linalg.vector_norm(row / scale)
    return (length * scale).clamp(max=torch.finfo(torch.float64).max)


def _lengths(rows: Tensor) -> Tensor:
    n, whole = len(rows), rows.shape[1] // _GROUP * _GROUP
    groups = torch.linalg.vector_norm(rows[:, :whole].reshape(n, whole // _GROUP, _GROUP), dim=2)
    rest = torch.linalg.vector_norm(rows[:, whole:], dim=1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(torch.cat([groups, rest], dim=1), dim=1, dtype=torch.float64)
    return lengths


def _suspects(lengths: Tensor) -> list[int]:
    """The places of lengths whose squares float32 may have lost; of NaN, too."""
    return [place for place, length in enumerate(lengths.tolist()) if not _SMALLEST < length < _LARGEST]


def _sum(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts)
    for part in parts:
        total += part
    return total


@dataclass(frozen=True)
class Geometry:
    """How rows lie: `distances` `[n, n]` are squared Euclidean, `gram` `[n, n]` the inner products seen from row `centre`."""

    distances: Tensor
    gram: Tensor
    centre: int


def geometry(matrix: Tensor | Readable, *, lengths: Tensor | None = None) -> Geometry:
    """Squared Euclidean distances of all pairs of rows, `[n, n]` float64: symmetric, zero diagonal, non-negative.

    And the Gram matrix that they came from. `lengths` `[n]` are the norms of the rows, if they are known.

    |x − y|² = |x|² + |y|² − 2xy loses its digits where rows share a large part. So rows are centred on the one of median norm
    (the mean would follow a single huge row), and pairs that are still much closer to each other than to that centre are
    measured again, centred on one of them. The relative error of a pair stays near 1e-6 whatever the other rows are (float32;
    float64 is worked in float64); equal rows are at distance 0 exactly. Time O(n² d).
    """
    n = matrix.shape[0]
    first = middle_row(norms(matrix) if lengths is None else lengths)
    seen_from_first = gram(matrix, centre=_row(matrix, first))
    distances, minuend = _distances(seen_from_first)
    for _ in range(n):  # each turn settles all pairs of one row for good; rarely is there a second
        cancelled = distances < _CANCELLED * minuend
        if not cancelled.any():
            break
        centre = int(cancelled.sum(dim=1).argmax())
        near = cancelled[centre].clone()
        near[centre] = True
        rows = near.nonzero().flatten()
        pairs = (rows[:, None], rows)
        again, minuend_again = _distances(gram(matrix, centre=_row(matrix, centre), members=rows))
        better = minuend_again < minuend[pairs]
        distances[pairs] = torch.where(better, again, distances[pairs])
        minuend[pairs] = torch.where(better, minuend_again, minuend[pairs])
    return Geometry(distances, seen_from_first, first)


def middle_row(lengths: Tensor) -> int:
    """The row of median norm, of rows with the norms `[n]`: seen from it, honest rows keep their digits beside huge ones."""
    return int(lengths.kthvalue((len(lengths) + 1) // 2).indices)


def gram(matrix: Tensor | Readable, *, centre: Tensor, members: Tensor | None = None) -> Tensor:
    """Inner products of the rows x_i − centre, `[m, m]` float64; of the rows `members` `[m]` only, if given. `centre` is `[d]`.

    The error of a pair is near 1e-7 |x_i − centre| |x_j − centre| in float32; float64 is worked in float64. Time O(m² d).
    """
    n, d = matrix.shape[0] if members is None else len(members), matrix.shape[1]

    def products(part: slice) -> Tensor:
        total = torch.zeros(n, n, dtype=torch.float64, device=matrix.device)
        buffer = torch.empty(n, min(width_of(n), part.stop - part.start), dtype=matrix.dtype, device=matrix.device)
        product = buffer.new_zeros(n, n)
        for block in blocks(part, width_of(n)):
            chosen = _columns(matrix, block)
            chosen = chosen if members is None else chosen.index_select(0, members)
            rows = torch.sub(chosen, centre[block], out=buffer[:, : chosen.shape[1]])
            suspects = _suspects(_lower_triangle(rows, product).diagonal().sqrt())
            # Rows of zeros are nothing to worry about: the centre is one of them.
            if any(rows[place].any() for place in suspects):
                # Each row is scaled by a power of two, which costs no digit, so that no square leaves float32's range.
                exponent = torch.frexp(rows.abs().amax(dim=1)).exponent.clamp(-126, 126)
                rows *= torch.exp2(-exponent).to(rows.dtype)[:, None]
                scale = torch.exp2(exponent.double())
                total += _lower_triangle(rows, product).double() * scale[:, None] * scale
            else:
                total += product
        return total

    total = _sum(each_part(products, d, width_of(n)))
    return total.tril() + total.tril(-1).T


def _lower_triangle(rows: Tensor, out: Tensor) -> Tensor:
    """The inner products of rows, the lower triangle at least, in two products: 15 % faster than all of it at n = 100."""
    half = len(rows) // 2
    torch.mm(rows[:half], rows[:half].T, out=out[:half, :half])
    torch.mm(rows[half:], rows.T, out=out[half:])
    return out


def _distances(gram: Tensor) -> tuple[Tensor, Tensor]:
    """|x − y|² of each pair of rows with this Gram matrix, and |x|² + |y|², which it was subtracted from."""
    squares = gram.diagonal()
    minuend = (squares[:, None] + squares).fill_diagonal_(0)
    return (minuend - 2 * gram).clamp_(min=0).fill_diagonal_(0), minuend


def krum_scores(squared_distances: Tensor, f: int) -> Tensor:
    """Sum of squared distances of each row to its n − f − 2 nearest others, `[n]`."""
    n = len(squared_distances)
    others = squared_distances.sort(dim=1).values[:, 1:]
    return others[:, : n - f - 2].sum(dim=1)


def mixed_squared_distances(mixing: Tensor, distances: Tensor) -> Tensor:
    """Squared distances `[m, m]` of the rows M X, from those of X `[n, n]`; each row of `mixing` `[m, n]` must sum to 1.

    |y_i − y_j|² = −½ (m_i − m_j)ᵀ D (m_i − m_j). Time O(m n²), whatever d is.
    """
    product = -0.5 * (mixing @ distances @ mixing.T)
    squares = product.diagonal()
    minuend = squares[:, None] + squares
    mixed = minuend - product - product.T
    # What rounding leaves of equal rows is no distance.
    mixed[mixed <= 1e-13 * minuend.abs()] = 0
    return mixed.fill_diagonal_(0)


def cosine_distances(matrix: Tensor, *, offset: Tensor | None = None) -> Tensor:
    """1 − cos of all pairs of rows x_i + offset, `[n, n]` float64, worked in float64: symmetric, zero diagonal, in [0, 2].

    Two zero rows are at distance 0, a zero row and another at 1. `offset` is `[d]`; the sum is never stored. Time O(n² d).
    """
    n = len(matrix)

    def products(part: slice) -> Tensor:
        total = torch.zeros(n, n, dtype=torch.float64, device=matrix.device)
        for block in blocks(part, BLOCK):
            rows = matrix[:, block].double()
            if offset is not None:
                rows = rows + offset[block]
            total += rows @ rows.T
        return total

    gram = _sum(each_part(products, matrix.shape[1], BLOCK))
    gram = gram.tril() + gram.tril(-1).T
    lengths = gram.diagonal().sqrt()
    is_zero = lengths == 0
    unit = torch.where(is_zero, 1.0, lengths)
    distances = (1 - gram / unit[:, None] / unit).clamp_(0, 2)
    distances[is_zero[:, None] & is_zero] = 0
    return distances.fill_diagonal_(0)


def weighted_sum(weights: Tensor, matrix: Tensor) -> Tensor:
    """Σ w_i x_i, `[d]` in the dtype of the matrix, for weights `[n]` float64. One read of the matrix."""
    weights = weights.to(matrix.device)
    rounded, extreme = _split(weights, matrix.dtype)
    total = matrix.new_empty(matrix.shape[1])

    def one_part(part: slice) -> None:
        torch.mv(matrix[:, part].T, rounded, out=total[part])

    do_parts(one_part, len(total), 4 * _READ_BLOCK)
    for row in extreme:
        total += (matrix[row].double() * weights[row]).to(matrix.dtype)
    return total


def scale_rows(matrix: Tensor, factors: Tensor) -> Tensor:
    """A new matrix with the rows f_i x_i, for factors `[n]` float64."""
    factors = factors.to(matrix.device)
    rounded, extreme = _split(factors, matrix.dtype)
    scaled = matrix * rounded[:, None]
    for row in extreme:
        scaled[row] = (matrix[row].double() * factors[row]).to(matrix.dtype)
    return scaled


def fits(factors: Tensor, dtype: torch.dtype) -> bool:
    """Whether `dtype` holds all these factors."""
    return not _split(factors, dtype)[1]


def _split(weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, list[int]]:
    """Weights in `dtype`, and which of them it cannot hold (a row of 1e38 clipped to 1): they are 0 in the former."""
    holds = torch.finfo(dtype)
    extreme = [place for place, weight in enumerate(weights.tolist()) if weight and not holds.tiny <= abs(weight) <= holds.max]
    if extreme:
        weights = weights.clone()
        weights[extreme] = 0
    return weights.to(dtype), extreme


def clip_factors(lengths: Tensor, bound: float | Tensor) -> Tensor:
    """min(1, bound / length) for lengths `[n]`; 1 where the length is 0."""
    return torch.where(lengths > bound, bound / lengths, 1.0)
