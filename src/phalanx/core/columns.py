"""Rules that look at one column after another: sorted or as they are, reduced block by block; and rows in order of content."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phalanx.core import networks
from phalanx.core.workers import blocks, do_parts, width_of

_SORT_BYTES = 1 << 19
"""Size of the buffer that columns are sorted in: it has to stay in a core's L2 cache."""
_LANES = 64
"""Values that torch sums side by side."""
_NETWORK_ROWS, _NETWORK_WIDTH = 50, 1 << 14
"""Up to this many rows a sorting network on whole rows is faster than sorting every column by itself: 30 reads of the matrix
become 6 at n = 10, and 18 become 15 at n = 50. So wide a block pays for its calls."""

_Block = npt.NDArray[Any]


def reduce_sorted_columns(
    matrix: Tensor,
    reduce: Callable[[Tensor], Tensor],
    *,
    members: Tensor | None = None,
    kept: slice | None = None,
    width: int | None = None,
) -> Tensor:
    """Sort every column and reduce it: `reduce` gets blocks `[w, n]`, a row for each column, ascending, and returns `[w]`.

    Only of the rows `members` `[m]`, if given; only the places `kept` of the sorted values, if given. `reduce` has to be pure:
    with workers it is called from several threads at once, and a block is overwritten by the next.

    Few rows are sorted by a network of minima and maxima of whole rows. Of more a block is copied transposed into a buffer that
    stays in the L2 cache and sorted there by numpy: 25 times faster than sorting the matrix along its first axis. The result is
    the same bits for any `width`, if `reduce` treats rows alone.
    """
    n, d = len(matrix) if members is None else len(members), matrix.shape[1]
    kept = slice(0, n) if kept is None else kept
    result = matrix.new_empty(d)
    if matrix.device.type != "cpu":
        for block in blocks(slice(0, d), width_of(n)):
            chosen = matrix[:, block] if members is None else matrix[members, block]
            result[block] = reduce(chosen.T.sort(dim=1).values[:, kept])
        return result
    values, rows = matrix.detach().numpy(), slice(None) if members is None else members.numpy()
    by_network = n <= _NETWORK_ROWS
    width = min(d, width or (_NETWORK_WIDTH if by_network else max(1, _SORT_BYTES // (n * matrix.element_size()))))

    def one_part(part: slice) -> None:
        chosen = (values[rows, block] for block in blocks(part, width))
        in_order = (_sorted_by_network if by_network else _sorted_by_columns)(chosen, n, kept, width, values.dtype)
        for block, places in zip(blocks(part, width), in_order, strict=True):
            result[block] = reduce(places)[: block.stop - block.start]

    do_parts(one_part, d, width)
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
    """Reduce the matrix block by block: `reduce` gets columns `[n, w]` and returns `[w]`.

    It has to be pure: with workers it is called from several threads at once.
    """
    result = matrix.new_empty(matrix.shape[1])
    width = width_of(len(matrix))

    def one_part(part: slice) -> None:
        for block in blocks(part, width):
            result[block] = reduce(matrix[:, block])

    do_parts(one_part, matrix.shape[1], width)
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
