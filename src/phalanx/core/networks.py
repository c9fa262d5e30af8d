"""Sorting networks: the columns of a few rows sorted by minima and maxima of whole rows, without transposing anything."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

_FROM_ROWS = -1


@dataclass(frozen=True)
class Network:
    """Comparators (i, j, low, high): the smaller of wires i and j goes to slot `low`, the larger to `high` (−1: to nowhere).

    In the end slot r of `num_slots` holds the r-th smallest of each column, for the places that were asked for.
    """

    comparators: tuple[tuple[int, int, int, int], ...]
    num_slots: int

    def sort(self, rows: npt.NDArray[Any], buffer: npt.NDArray[Any]) -> None:
        """Sort the columns of `rows` `[n, w]` into `buffer` `[num_slots, >= w]`; `rows` are only read."""
        slots = list(buffer[:, : rows.shape[1]])
        wires = list(rows)
        for i, j, low, high in self.comparators:
            one, other = wires[i], wires[j]
            # `low` is never the slot of an input that the maximum still needs.
            if low >= 0:
                wires[i] = np.minimum(one, other, out=slots[low])
            if high >= 0:
                wires[j] = np.maximum(one, other, out=slots[high])
        if len(rows) == 1:
            slots[0][:] = rows[0]


@cache
def sorting(n: int, start: int, stop: int) -> Network:
    """A network for n rows whose result is needed from place `start` up to, not including, `stop`."""
    if n == 1:
        return Network((), 1)
    slot, free = [_FROM_ROWS] * n, list(range(n + 1))
    comparators = []
    for i, j, low_needed, high_needed in _needed(n, start, stop):
        inputs = [slot[wire] for wire in (j, i) if slot[wire] != _FROM_ROWS]
        low = high = -1
        if low_needed and high_needed:
            low = free.pop()
        # An input's own slot may be overwritten by the last that reads it.
        last = inputs.pop(0) if inputs else free.pop()
        if high_needed:
            high = last
        else:
            low = last
        free += inputs
        slot[i], slot[j] = low, high
        comparators.append((i, j, low, high))
    # Slots are named by what lies in them in the end; a wire that nobody needs has none.
    name = {slot[place]: place for place in range(start, stop)}
    spare = iter(sorted(set(range(n + 1)).difference(name.values())))
    name |= {number: next(spare) for number in range(n + 1) if number not in name}
    return Network(tuple((i, j, name.get(low, -1), name.get(high, -1)) for i, j, low, high in comparators), n + 1)


def _needed(n: int, start: int, stop: int) -> list[tuple[int, int, bool, bool]]:
    """The comparators that have a say in the places asked for, and which of their two results are needed."""
    needed, kept = [start <= place < stop for place in range(n)], []
    for i, j in reversed(_merge_exchange(n)):
        if needed[i] or needed[j]:
            kept.append((i, j, needed[i], needed[j]))
            needed[i] = needed[j] = True
    return kept[::-1]


def _merge_exchange(n: int) -> list[tuple[int, int]]:
    """Batcher's network for any n (Knuth, The Art of Computer Programming 3, 5.2.2, Algorithm M)."""
    comparators, top = [], 1 << max(0, (n - 1).bit_length() - 1)
    p = top
    while p:
        q, r, distance = top, 0, p
        while True:
            comparators += [(i, i + distance) for i in range(n - distance) if i & p == r]
            if q == p:
                break
            distance, q, r = q - p, q >> 1, p
        p >>= 1
    return comparators
