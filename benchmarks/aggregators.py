"""The rules against ByzFL, at 100 and at 10 rows of a million coordinates: ratios, errors and memory beside their bars.

    python benchmarks/aggregators.py [--quick]

One thread, both sides in one run, taken in turns, minimum of the repeats. Rules are timed as a federation calls them, on rows
that screening has found finite; a direct call checks that itself and reads the matrix twice more. ByzFL checks nothing.

ByzFL comes with `pip install --no-deps byzfl`: its package imports torchvision, whose CPU wheel clashes with torch's, but its
aggregators do not need it. So `import_byzfl` puts an empty package in place of `byzfl/__init__.py` and imports the aggregators
alone. Without ByzFL the rest is measured and that is said.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from phalanx import aggregators
from phalanx.aggregators import (
    Flame,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    Pipeline,
    TrimmedMean,
)
from phalanx.core import linalg
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator
from phalanx.core.types import RoundContext, Updates
from phalanx.testing.conformance.libraries import import_byzfl
from ratios import Row, interleaved, one_core, show

_D = 1_000_000


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` takes a tenth of the coordinates and fewer repeats."""
    d, repeats = (_D // 10, 2) if quick else (_D, 5)
    with one_core():
        rows = [_honest_pair_error(d)]
        for n in (100, 10):
            matrix = torch.randn(n, d, generator=torch.Generator().manual_seed(n))
            rows += _against_byzfl(matrix, repeats)
            rows += _against_one_read(matrix, repeats) if n == 100 else []
        rows.append(_mixing(d, repeats))
    return rows + list(_memory(100, d)) + ([] if quick else list(_memory(1000, d)))


def _against_byzfl(matrix: Tensor, repeats: int) -> Iterator[Row]:
    byzfl = _byzfl()
    if byzfl is None:
        return
    n, f = len(matrix), len(matrix) // 5
    many = n == 100
    pairs: list[tuple[Aggregator, Callable[[Tensor], Tensor], float]] = [
        (Mean(), byzfl.Average(), 1),
        (Median(), byzfl.Median(), 10 if many else 2),
        (TrimmedMean(num_byzantine=f), byzfl.TrMean(f), 10 if many else 2),
        (Krum(num_byzantine=f), byzfl.Krum(f), 2),
        (MultiKrum(num_byzantine=f), byzfl.MultiKrum(f), 2),
    ]
    for ours, theirs, bar in pairs:
        fast, slow = interleaved(partial(_round, ours, matrix), partial(theirs, matrix), repeats=repeats)
        yield Row(f"{_name(ours)} over ByzFL, n = {n}, d = {matrix.shape[1]:,} ({fast:.3f} s)", slow / fast, bar)


def _against_one_read(matrix: Tensor, repeats: int) -> Iterator[Row]:
    """Each rule's time in reads of the matrix; the bar is what a prototype took (performance.md), the floor is 1."""
    f = len(matrix) // 5
    prototype = {
        Mean(): 1.4,
        Median(): 13.5,
        TrimmedMean(num_byzantine=f): 13.5,
        Krum(num_byzantine=f): 45,
        Pipeline((NearestNeighborMixing(num_byzantine=f), Krum(num_byzantine=f))): 49,
        Flame(): 125,
    }
    for rule, bar in prototype.items():
        seconds, read = interleaved(partial(_round, rule, matrix), matrix.sum, repeats=repeats)
        yield Row(f"{_name(rule)} over one read, n = 100 ({seconds:.3f} s)", seconds / read, bar, higher_is_better=False)


def _round(rule: Aggregator, matrix: Tensor) -> None:
    rule.aggregate(Updates.of(matrix), {}, RoundContext.for_matrix(matrix))


def _name(rule: Aggregator) -> str:
    return " + ".join(type(stage).__name__ for stage in getattr(rule, "stages", (rule,)))


def _mixing(d: int, repeats: int) -> Row:
    matrix = torch.randn(100, d, generator=torch.Generator().manual_seed(0))
    rule, context = NearestNeighborMixing(num_byzantine=20), RoundContext.for_matrix(matrix)
    (seconds,) = interleaved(lambda: rule.transform(Updates.of(matrix), context)[0].matrix, repeats=repeats)
    return Row(f"NearestNeighborMixing alone, rows made, n = 100, d = {d:,}", seconds, 2, unit="s", higher_is_better=False)


def _honest_pair_error(d: int) -> Row:
    """The largest relative error of an honest pair's squared distance beside attackers that are 1e6 times as long."""
    honest, f = 30, 5
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1, d, generator=generator) + 1e-3 * torch.randn(honest + f, d, generator=generator)
    matrix[honest:] *= 1e6
    got = linalg.geometry(matrix).distances
    exact = torch.stack([(matrix[:honest].double() - row.double()).square().sum(dim=1) for row in matrix[:honest]])
    error = ((got[:honest, :honest] - exact).abs() / exact.masked_fill(exact == 0, 1)).max().item()
    return Row("error of honest pairs' distance, attackers × 1e6", error, 1e-5, unit="", higher_is_better=False)


def _memory(n: int, d: int) -> Iterator[Row]:
    """Memory beyond the rows, each rule in a fresh process (Linux only: elsewhere the peak can't be set back)."""
    one_matrix = n * d * 4 / 2**20
    krum, mixing = "Krum(num_byzantine=20)", "NearestNeighborMixing(num_byzantine=20)"
    bars = {"Mean()": 150.0, krum: 500.0, "TrimmedMean(num_byzantine=20)": 500.0}
    if n == 100:
        bars = {"Median()": 32.0, "TrimmedMean(num_byzantine=20)": 32.0, f"Pipeline(({mixing}, Median()))": one_matrix + 32}
    for rule, bar in bars.items() if sys.platform == "linux" else ():
        command = [sys.executable, __file__, "--memory-of", rule, "--rows", str(n), "--columns", str(d)]
        megabytes = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        what = f"{rule}, n = {n}, d = {d:,}: memory beyond the rows"
        yield Row(what, megabytes, bar, unit="MB", higher_is_better=False)


def _extra_memory(rule: str, n: int, d: int) -> float:
    torch.set_num_threads(1)
    aggregator = eval(rule, vars(aggregators))
    _round(aggregator, torch.randn(n, 100))  # loads what is loaded on first use
    matrix = torch.randn(n, d)
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    _round(aggregator, matrix)
    return _peak() - before


def _peak() -> float:
    """The largest resident memory since it was set back, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _byzfl() -> ModuleType | None:
    try:
        return import_byzfl()
    except ConfigError as error:
        print(f"{error}: no comparison with it.")
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the coordinates, fewer repeats")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=100, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, default=_D, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(_extra_memory(options.memory_of, options.rows, options.columns))
    else:
        show(measure(options.quick))
