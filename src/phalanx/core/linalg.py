"""Matrix work that rules share, over rows `[n, d]` in column blocks: distances that hold beside huge rows, sums, reducers.

Extra memory is a few blocks and `[n, n]`, never a second matrix. Block borders are fixed, so results are the same bits for any
number of workers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_BLOCK, _BLOCK_VALUES = 4096, 1 << 16
"""A block has this many columns, or where rows are few this many values: large enough to pay for its dozen calls, small enough
for the cache and for float32 sums inside it."""
_SORT_BYTES = 1 << 20
"""Size of the buffer that columns are sorted in: it has to stay in a core's L2 cache."""
_CANCELLED = 2.0**-5
"""A distance below this share of what it was subtracted from has lost too many digits and is measured again."""


def _blocks(matrix: Tensor, width: int | None = None) -> Iterator[slice]:
    n, d = matrix.shape
    width = width or max(_BLOCK, _BLOCK_VALUES // n)
    return (slice(start, min(start + width, d)) for start in range(0, d, width))


def norms(matrix: Tensor, *, centre: Tensor | None = None) -> Tensor:
    """Euclidean norm of each row x_i − centre, `[n]` float64. `centre` is `[d]`; the differences are never stored."""
    squares = torch.zeros(len(matrix), dtype=torch.float64, device=matrix.device)
    for block in _blocks(matrix):
        rows = matrix[:, block].double()
        if centre is not None:
            rows = rows - centre[block]  # not in place: float64 rows are still the caller's
        squares += torch.linalg.vector_norm(rows, dim=1).square()
    return squares.sqrt()


@dataclass(frozen=True)
class Geometry:
    """How rows lie: `distances` `[n, n]` are squared Euclidean, `gram` `[n, n]` the inner products seen from row `centre`."""

    distances: Tensor
    gram: Tensor
    centre: int


def geometry(matrix: Tensor) -> Geometry:
    """Squared Euclidean distances of all pairs of rows, `[n, n]` float64: symmetric, zero diagonal, non-negative.

    And the Gram matrix that they came from.

    |x − y|² = |x|² + |y|² − 2xy loses its digits where rows share a large part. So rows are centred on the one of median norm
    (the mean would follow a single huge row), and pairs that are still much closer to each other than to that centre are
    measured again, centred on one of them. The relative error of a pair stays near 1e-6 whatever the other rows are (float32;
    float64 is worked in float64); equal rows are at distance 0 exactly. Time O(n² d).
    """
    n = len(matrix)
    first = middle_row(matrix)
    seen_from_first = gram(matrix, centre=matrix[first])
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
        again, minuend_again = _distances(gram(matrix, centre=matrix[centre], members=rows))
        better = minuend_again < minuend[pairs]
        distances[pairs] = torch.where(better, again, distances[pairs])
        minuend[pairs] = torch.where(better, minuend_again, minuend[pairs])
    return Geometry(distances, seen_from_first, first)


def middle_row(matrix: Tensor) -> int:
    """The row of median norm: seen from it, honest rows keep their digits beside huge ones."""
    return int(norms(matrix).kthvalue((len(matrix) + 1) // 2).indices)


def gram(matrix: Tensor, *, centre: Tensor, members: Tensor | None = None) -> Tensor:
    """Inner products of the rows x_i − centre, `[m, m]` float64; of the rows `members` `[m]` only, if given. `centre` is `[d]`.

    The error of a pair is near 1e-7 |x_i − centre| |x_j − centre| in float32; float64 is worked in float64. Time O(m² d).
    """
    n = len(matrix) if members is None else len(members)
    half = n // 2
    total = torch.zeros(n, n, dtype=torch.float64, device=matrix.device)
    product = torch.zeros(n, n, dtype=matrix.dtype, device=matrix.device)
    for block in _blocks(matrix):
        chosen = matrix[:, block] if members is None else matrix[:, block].index_select(0, members)
        rows = chosen - centre[block]
        # Each row is scaled by a power of two, which costs no digit, so that no square leaves float32's range.
        exponent = torch.frexp(rows.abs().amax(dim=1)).exponent.clamp(-126, 126)
        rows *= torch.exp2(-exponent).to(rows.dtype)[:, None]
        # The lower triangle in two products: 15 % faster than all of it at n = 100.
        product[:half, :half] = rows[:half] @ rows[:half].T
        product[half:] = rows[half:] @ rows.T
        scale = torch.exp2(exponent.double())
        total += product.double() * scale[:, None] * scale
    return total.tril() + total.tril(-1).T


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
    gram = torch.zeros(n, n, dtype=torch.float64, device=matrix.device)
    for block in _blocks(matrix):
        rows = matrix[:, block].double()
        if offset is not None:
            rows = rows + offset[block]
        gram += rows @ rows.T
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
    rounded, is_extreme = _split(weights, matrix.dtype)
    total = rounded @ matrix
    for row in is_extreme.nonzero().flatten():
        total += matrix[row].double().mul_(weights[row]).to(matrix.dtype)
    return total


def scale_rows(matrix: Tensor, factors: Tensor) -> Tensor:
    """A new matrix with the rows f_i x_i, for factors `[n]` float64."""
    factors = factors.to(matrix.device)
    rounded, is_extreme = _split(factors, matrix.dtype)
    scaled = matrix * rounded[:, None]
    for row in is_extreme.nonzero().flatten():
        scaled[row] = matrix[row].double().mul_(factors[row]).to(matrix.dtype)
    return scaled


def _split(weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights in `dtype`, and the mask of those it cannot hold (a row of 1e38 clipped to 1): they are 0 in the former."""
    size, holds = weights.abs(), torch.finfo(dtype)
    is_extreme = (size != 0) & ((size < holds.tiny) | (size > holds.max))
    return weights.masked_fill(is_extreme, 0).to(dtype), is_extreme


def clip_factors(lengths: Tensor, bound: float | Tensor) -> Tensor:
    """min(1, bound / length) for lengths `[n]`; 1 where the length is 0."""
    return torch.where(lengths > bound, bound / lengths, 1.0)


def reduce_sorted_columns(
    matrix: Tensor, reduce: Callable[[Tensor], Tensor], *, members: Tensor | None = None, width: int | None = None
) -> Tensor:
    """Sort every column and reduce it: `reduce` gets blocks `[w, n]`, a row for each column, ascending, and returns `[w]`.

    Only of the rows `members` `[m]`, if given.

    A block is copied transposed into a buffer that stays in the L2 cache and sorted there by numpy: 25 times faster than
    sorting the matrix along its first axis. The result is the same bits for any `width`, if `reduce` treats rows alone.
    """
    n, d = len(matrix) if members is None else len(members), matrix.shape[1]
    width = width or max(1, _SORT_BYTES // (n * matrix.element_size()))
    result = matrix.new_empty(d)
    if matrix.device.type != "cpu":
        for block in _blocks(matrix):
            chosen = matrix[:, block] if members is None else matrix[members, block]
            result[block] = reduce(chosen.T.sort(dim=1).values)
        return result
    values, chosen_rows = matrix.detach().numpy(), slice(None) if members is None else members.numpy()
    buffer = np.empty((width, n), dtype=values.dtype)
    for block in _blocks(matrix, width):
        columns = buffer[: block.stop - block.start]
        np.copyto(columns, values[chosen_rows, block].T)
        columns.sort(axis=1)
        result[block] = reduce(torch.from_numpy(columns))
    return result


def reduce_columns(matrix: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce the matrix block by block: `reduce` gets columns `[n, w]` and returns `[w]`."""
    result = matrix.new_empty(matrix.shape[1])
    for block in _blocks(matrix):
        result[block] = reduce(matrix[:, block])
    return result


def lexicographic_rank(read: Callable[[slice], Tensor], n: int) -> Tensor:
    """The place `[n]` of each row in the order of content (first column, then second …); `read` gives some columns.

    Reads no further than it takes to tell all rows apart. Equal rows share a place.
    """
    start, width, num_places = 0, 64, 1
    rank = torch.zeros(n, dtype=torch.int64)
    while num_places < n and (block := read(slice(start, start + width))).shape[1]:
        keys = torch.cat([rank.to(block)[:, None], block], dim=1)
        ordered, rank = torch.unique(keys, dim=0, return_inverse=True)
        start, width, num_places = start + width, 2 * width, len(ordered)
    return rank
