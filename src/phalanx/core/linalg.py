"""Matrix work that rules share, over rows `[n, d]` in column blocks: distances that hold beside huge rows, sums, reducers.

Extra memory is a few blocks and `[n, n]`, never a second matrix. Block borders are fixed, so results are the same bits for any
number of `workers`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phalanx.core import networks

_BLOCK, _WIDE_BLOCK, _FEW_ROWS = 1 << 12, 1 << 13, 32
"""Columns of a block, more where rows are few: enough to pay for its dozen calls, few enough for the cache and for float32 sums
inside it."""
_READ_BLOCK = 1 << 15
"""Columns of a block that is read and not copied, or whose copy is small."""
_GROUP = 512
"""Columns whose squares float32 may add up."""
_PARTS = 8
"""The columns are dealt to workers in at most this many parts, however many workers there are."""
_PART_BLOCKS = 4
"""Blocks of the smallest part: less work is not worth handing over."""
_SMALLEST, _LARGEST = 1e-12, 1e15
"""Between these lengths float32 holds the squares, and all that matters of their parts."""
_SORT_BYTES = 1 << 19
"""Size of the buffer that columns are sorted in: it has to stay in a core's L2 cache."""
_LANES = 64
"""Values that torch sums side by side."""
_NETWORK_ROWS, _NETWORK_WIDTH = 50, 1 << 14
"""Up to this many rows a sorting network on whole rows is faster than sorting every column by itself: 30 reads of the matrix
become 6 at n = 10, and 18 become 15 at n = 50. So wide a block pays for its calls."""
_CANCELLED = 2.0**-5
"""A distance below this share of what it was subtracted from has lost too many digits and is measured again."""

_Block = npt.NDArray[Any]
_Part = TypeVar("_Part")
_POOL: ContextVar[ThreadPoolExecutor | None] = ContextVar("pool", default=None)


@contextmanager
def workers(count: int) -> Iterator[None]:
    """Inside, the work on large matrices is shared among `count` threads, with the same bits as one thread.

    Each of them runs torch with one thread. They end with the context: afterwards the process can be forked safely.
    """
    if count == 1:
        yield
        return
    threads_of_torch = torch.get_num_threads()
    with ThreadPoolExecutor(count, "columns", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        token = _POOL.set(pool)
        try:
            yield
        finally:
            _POOL.reset(token)
            torch.set_num_threads(threads_of_torch)


def _each_part(work: Callable[[slice], _Part], d: int, width: int) -> Iterator[_Part]:
    """What `work` makes of each part of d columns, in order; borders lie between blocks of this width."""
    size = width * max(_PART_BLOCKS, -(-d // (width * _PARTS)))
    parts = [slice(start, min(start + size, d)) for start in range(0, max(1, d), size)]
    pool = _POOL.get()
    return map(work, parts) if pool is None or len(parts) == 1 else pool.map(work, parts)


def _blocks(part: slice, width: int) -> Iterator[slice]:
    return (slice(start, min(start + width, part.stop)) for start in range(part.start, part.stop, width))


def _width(n: int) -> int:
    return _WIDE_BLOCK if n <= _FEW_ROWS else _BLOCK


def norms(matrix: Tensor, *, centre: Tensor | None = None) -> Tensor:
    """Euclidean norm of each row x_i − centre, `[n]` float64. `centre` is `[d]`; the differences are never stored.

    Squares are summed in the rows' own dtype over a few hundred columns and in float64 over those: of float32 rows the relative
    error is near 1e-8, in a third of the time of float64. Not finite exactly where a float32 row is not finite.
    """
    n, d = matrix.shape
    width = _READ_BLOCK if centre is None or n <= _FEW_ROWS else _BLOCK

    def squares(part: slice) -> Tensor:
        total = torch.zeros(n, dtype=torch.float64, device=matrix.device)
        buffer = matrix.new_empty(0 if centre is None else n, width)
        for block in _blocks(part, width):
            rows = matrix[:, block]
            if centre is not None:
                rows = torch.sub(rows, centre[block], out=buffer[:, : rows.shape[1]])
            lengths = _lengths(rows)
            for place in _suspects(lengths):
                row = matrix[place, block].double()
                # Not in place: a float64 row is still the caller's.
                lengths[place] = torch.linalg.vector_norm(row if centre is None else row - centre[block])
            total += lengths.square_()
        return total

    return _sum(_each_part(squares, d, width)).sqrt_()


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


def geometry(matrix: Tensor, *, factors: Tensor | None = None, lengths: Tensor | None = None) -> Geometry:
    """Squared Euclidean distances of all pairs of rows, `[n, n]` float64: symmetric, zero diagonal, non-negative.

    And the Gram matrix that they came from. With `factors` `[n]` those of the rows f_i x_i, which are never stored. `lengths`
    `[n]` are the norms of the rows (scaled ones), if they are known.

    |x − y|² = |x|² + |y|² − 2xy loses its digits where rows share a large part. So rows are centred on the one of median norm
    (the mean would follow a single huge row), and pairs that are still much closer to each other than to that centre are
    measured again, centred on one of them. The relative error of a pair stays near 1e-6 whatever the other rows are (float32;
    float64 is worked in float64); equal rows are at distance 0 exactly. Time O(n² d).
    """
    n = len(matrix)
    if lengths is None:
        lengths = norms(matrix) if factors is None else norms(matrix) * factors.abs()
    first = middle_row(lengths)
    seen_from_first = gram(matrix, centre=_row(matrix, first, factors), factors=factors)
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
        again, minuend_again = _distances(gram(matrix, centre=_row(matrix, centre, factors), members=rows, factors=factors))
        better = minuend_again < minuend[pairs]
        distances[pairs] = torch.where(better, again, distances[pairs])
        minuend[pairs] = torch.where(better, minuend_again, minuend[pairs])
    return Geometry(distances, seen_from_first, first)


def middle_row(lengths: Tensor) -> int:
    """The row of median norm, of rows with the norms `[n]`: seen from it, honest rows keep their digits beside huge ones."""
    return int(lengths.kthvalue((len(lengths) + 1) // 2).indices)


def _row(matrix: Tensor, place: int, factors: Tensor | None) -> Tensor:
    return matrix[place] if factors is None else scale_rows(matrix[place : place + 1], factors[place : place + 1])[0]


def gram(matrix: Tensor, *, centre: Tensor, members: Tensor | None = None, factors: Tensor | None = None) -> Tensor:
    """Inner products of the rows x_i − centre, `[m, m]` float64; of the rows `members` `[m]` only, if given. `centre` is `[d]`.

    With `factors` `[n]` those of f_i x_i − centre: rows are scaled block by block, and no second matrix is made.
    The error of a pair is near 1e-7 |x_i − centre| |x_j − centre| in float32; float64 is worked in float64. Time O(m² d).
    """
    n = len(matrix) if members is None else len(members)
    if factors is not None and members is not None:
        factors = factors[members]

    def products(part: slice) -> Tensor:
        total = torch.zeros(n, n, dtype=torch.float64, device=matrix.device)
        product, buffer = matrix.new_zeros(n, n), matrix.new_empty(n, min(_width(n), part.stop - part.start))
        for block in _blocks(part, _width(n)):
            chosen = matrix[:, block] if members is None else matrix[:, block].index_select(0, members)
            chosen = chosen if factors is None else scale_rows(chosen, factors)
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

    total = _sum(_each_part(products, matrix.shape[1], _width(n)))
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
        for block in _blocks(part, _BLOCK):
            rows = matrix[:, block].double()
            if offset is not None:
                rows = rows + offset[block]
            total += rows @ rows.T
        return total

    gram = _sum(_each_part(products, matrix.shape[1], _BLOCK))
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

    list(_each_part(one_part, len(total), 4 * _READ_BLOCK))
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


def reduce_sorted_columns(
    matrix: Tensor,
    reduce: Callable[[Tensor], Tensor],
    *,
    members: Tensor | None = None,
    kept: slice | None = None,
    width: int | None = None,
) -> Tensor:
    """Sort every column and reduce it: `reduce` gets blocks `[w, n]`, a row for each column, ascending, and returns `[w]`.

    Only of the rows `members` `[m]`, if given; only the places `kept` of the sorted values, if given.

    Few rows are sorted by a network of minima and maxima of whole rows. Of more a block is copied transposed into a buffer that
    stays in the L2 cache and sorted there by numpy: 25 times faster than sorting the matrix along its first axis. The result is
    the same bits for any `width`, if `reduce` treats rows alone.
    """
    n, d = len(matrix) if members is None else len(members), matrix.shape[1]
    kept = slice(0, n) if kept is None else kept
    result = matrix.new_empty(d)
    if matrix.device.type != "cpu":
        for block in _blocks(slice(0, d), _width(n)):
            chosen = matrix[:, block] if members is None else matrix[members, block]
            result[block] = reduce(chosen.T.sort(dim=1).values[:, kept])
        return result
    values, rows = matrix.detach().numpy(), slice(None) if members is None else members.numpy()
    by_network = n <= _NETWORK_ROWS
    width = min(d, width or (_NETWORK_WIDTH if by_network else max(1, _SORT_BYTES // (n * matrix.element_size()))))

    def one_part(part: slice) -> None:
        chosen = (values[rows, block] for block in _blocks(part, width))
        in_order = (_sorted_by_network if by_network else _sorted_by_columns)(chosen, n, kept, width, values.dtype)
        for block, places in zip(_blocks(part, width), in_order, strict=True):
            result[block] = reduce(places)[: block.stop - block.start]

    list(_each_part(one_part, d, width))
    return result


def _sorted_by_network(blocks: Iterator[_Block], n: int, kept: slice, width: int, dtype: Any) -> Iterator[Tensor]:
    """The places `kept` of the sorted columns of each block `[n, w]`, as `[w + padding, kept]`."""
    network = networks.sorting(n, kept.start, kept.stop)
    buffer = np.zeros((network.num_slots, _filled(width)), dtype=dtype)
    for block in blocks:
        network.sort(block, buffer)
        # Torch sums rows in one order where they fill its vectors and in another where they don't.
        yield torch.from_numpy(buffer[kept, : _filled(block.shape[1])]).T


def _filled(width: int) -> int:
    return -(-width // _LANES) * _LANES


def _sorted_by_columns(blocks: Iterator[_Block], n: int, kept: slice, width: int, dtype: Any) -> Iterator[Tensor]:
    """The places `kept` of the sorted columns of each block `[n, w]`, as `[w, kept]`."""
    buffer = np.empty((width, n), dtype=dtype)
    for block in blocks:
        columns = buffer[: block.shape[1]]
        np.copyto(columns, block.T)
        columns.sort(axis=1)
        yield torch.from_numpy(columns)[:, kept]


def reduce_columns(matrix: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce the matrix block by block: `reduce` gets columns `[n, w]` and returns `[w]`."""
    result = matrix.new_empty(matrix.shape[1])
    width = _width(len(matrix))

    def one_part(part: slice) -> None:
        for block in _blocks(part, width):
            result[block] = reduce(matrix[:, block])

    list(_each_part(one_part, matrix.shape[1], width))
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
