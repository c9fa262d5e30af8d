"""A measured ratio beside what it is asked to be, and how two ways are timed fairly in one run."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of a benchmark: what was measured, what came out, and the bar that it is held against (None: others are)."""

    what: str
    value: float
    bar: float | None
    unit: str = "×"
    higher_is_better: bool = True

    @property
    def is_reached(self) -> bool:
        return self.bar is None or (self.value >= self.bar if self.higher_is_better else self.value <= self.bar)


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table; a missed bar stays in it and says so."""
    table = Table("what", "measured", "bar", "")
    for row in rows:
        bar = "" if row.bar is None else f"{'≥' if row.higher_is_better else '≤'} {row.bar:.4g}"
        reached = "" if row.bar is None else "reached" if row.is_reached else "*missed*"
        table.add_row(row.what, f"{row.value:.3g} {row.unit}", bar, reached)
    Console(width=140).print(table)


def interleaved(
    *ways: Callable[[], object],
    repeats: int,
    patience: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of each way: the minimum of `repeats`, taken in turns so that a busy machine disturbs all alike.

    What took longer than `patience` seconds the first time, which warms up, is not called again. `time.thread_time` as `clock`
    leaves out what other processes take of the core: for ways that work in this thread alone.
    """
    warming = [_seconds(way, clock) for way in ways]
    seconds = [first if first > patience else float("inf") for first in warming]
    for _ in range(repeats):
        for number, way in enumerate(ways):
            if warming[number] <= patience:
                seconds[number] = min(seconds[number], _seconds(way, clock))
    return seconds


def _seconds(way: Callable[[], object], clock: Callable[[], float]) -> float:
    gc.collect()
    start = clock()
    way()
    return clock() - start


@contextmanager
def one_core() -> Iterator[None]:
    """One thread on one core, where the system lets us; afterwards as before."""
    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    torch.set_num_threads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)
