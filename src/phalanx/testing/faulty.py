"""Rows that no honest client sends: what servers have been seen to fall over.

Each fault makes one row from the honest ones; the same faults try the rules, the screening and whole runs. For client apps of a
Flower federation `phalanx.flower.faulty` has theirs.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice

import torch
from torch import Tensor

Fault = Callable[[Tensor, torch.Generator], Tensor]
"""From honest rows `[h, d]`, one faulty row `[d]` of their dtype and device."""


def _filled(value: float) -> Fault:
    return lambda honest, generator: torch.full_like(honest[0], value)


def _one_entry(value: float) -> Fault:
    def spoil(honest: Tensor, generator: torch.Generator) -> Tensor:
        row = honest[_draw(len(honest), generator)].clone()
        row[_draw(len(row), generator)] = value
        return row

    return spoil


def _scaled(factor: float) -> Fault:
    return lambda honest, generator: honest[_draw(len(honest), generator)] * factor


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


FAULTS: Mapping[str, Fault] = {
    "all NaN": _filled(math.nan),
    "one NaN": _one_entry(math.nan),
    "all +Inf": _filled(math.inf),
    "all -Inf": _filled(-math.inf),
    "one +Inf": _one_entry(math.inf),
    "one -Inf": _one_entry(-math.inf),
    "all 1e38": _filled(1e38),
    "all -1e38": _filled(-1e38),
    "one 1e38": _one_entry(1e38),
    "the largest float32": _filled(torch.finfo(torch.float32).max),
    "subnormal": _filled(1e-42),
    "norm x 1e12": _scaled(1e12),
    "norm x -1e7": _scaled(-1e7),
}
"""Every fault by name."""


def faulty_rows(honest: Tensor, *, count: int, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """`count` faulty rows with the names of their faults, each fault in turn, for honest rows `[h, d]`."""
    return ((name, fault(honest, generator)) for name, fault in islice(cycle(FAULTS.items()), count))
