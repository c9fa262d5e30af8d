"""A series as one line of block characters."""

from collections.abc import Sequence
from math import isfinite

BLOCKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float | None], *, width: int, top: float = 1.0) -> str:
    """At most `width` characters from 0 to `top`, each the mean of as many values; a gap where no finite one is.

    >>> spark([0.0, 0.5, 1.0], width=10), spark([0.0, 0.0, 1.0, 1.0], width=2), spark([None, 9.0], width=10)
    ('▁▅█', '▁█', ' █')
    """
    size = max(1, -(-len(values) // width))
    bins = [
        [value for value in values[start : start + size] if value is not None and isfinite(value)]
        for start in range(0, len(values), size)
    ]
    return "".join(_block(sum(value / len(found) for value in found), top) if found else " " for found in bins)


def _block(value: float, top: float) -> str:
    share = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]
