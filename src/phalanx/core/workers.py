"""How work on large matrices is divided: columns in parts, which workers take, and in blocks, which fit a core's cache.

Borders are fixed, so results are the same bits for any number of workers.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

BLOCK, _WIDE_BLOCK, FEW_ROWS = 1 << 12, 1 << 13, 32
"""Columns of a block, more where rows are few: enough to pay for its dozen calls, few enough for the cache and for float32 sums
inside it."""
_PARTS = 8
"""The columns are dealt to workers in at most this many parts, however many workers there are."""
_PART_BLOCKS = 4
"""Blocks of the smallest part: less work is not worth handing over."""

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


def each_part(work: Callable[[slice], _Part], d: int, width: int) -> Iterator[_Part]:
    """What `work` makes of each part of d columns, in order; borders lie between blocks of this width.

    Without workers a part is worked out when its result is asked for, so that sums need not hold all parts at once.
    """
    size = width * max(_PART_BLOCKS, -(-d // (width * _PARTS)))
    parts = [slice(start, min(start + size, d)) for start in range(0, max(1, d), size)]
    pool = _POOL.get()
    return map(work, parts) if pool is None or len(parts) == 1 else pool.map(work, parts)


def do_parts(work: Callable[[slice], None], d: int, width: int) -> None:
    """Have `work` done on each part of d columns, for what it writes; borders lie between blocks of this width."""
    for _ in each_part(work, d, width):
        pass


def blocks(part: slice, width: int) -> Iterator[slice]:
    """The blocks of a part, each of this width but the last."""
    return (slice(start, min(start + width, part.stop)) for start in range(part.start, part.stop, width))


def width_of(n: int) -> int:
    """How many columns of n rows a block has that is copied."""
    return _WIDE_BLOCK if n <= FEW_ROWS else BLOCK
