"""The rules against ByzFL, at 100 and at 10 rows of a million coordinates: ratios, errors and memory beside their bars.

    python benchmarks/aggregators.py [--quick]

One thread, both sides in one run, taken in turns, minimum of the repeats. ByzFL comes with `pip install --no-deps byzfl`: its
package imports torchvision, whose CPU wheel clashes with torch's, but its aggregators do not need it. So `_byzfl` puts an empty
package in place of `byzfl/__init__.py` and imports the aggregators alone. Without ByzFL the rest is measured and that is said.
"""

import argparse
import importlib
import importlib.util
import resource
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from phalanx.aggregators import (
    ClipNorm,
    Flame,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    Pipeline,
    TrimmedMean,
)
from phalanx.core import linalg
from phalanx.core.types import RoundContext, Updates
from ratios import Row, interleaved, one_core, show

_D = 1_000_000


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` takes a tenth of the coordinates and fewer repeats."""
    d, repeats = (_D // 10, 2) if quick else (_D, 3)
    with one_core():
        rows = list(_honest_pair_errors(d))
        for n in (100, 10):
            matrix = torch.randn(n, d, generator=torch.Generator().manual_seed(n))
            rows += _against_byzfl(matrix, repeats)
            rows += _against_one_read(matrix, repeats)
        rows += _mixing(d, repeats)
    return rows + list(_memory(d))


def _against_byzfl(matrix: Tensor, repeats: int) -> Iterator[Row]:
    byzfl = _byzfl()
    if byzfl is None:
        return
    n, f = len(matrix), len(matrix) // 5
    many = n == 100
    pairs: list[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], float]] = [
        (Mean(), byzfl.Average(), 1),
        (Median(), byzfl.Median(), 10 if many else 2),
        (TrimmedMean(num_byzantine=f), byzfl.TrMean(f), 10 if many else 2),
        (Krum(num_byzantine=f), byzfl.Krum(f), 2),
        (MultiKrum(num_byzantine=f), byzfl.MultiKrum(f), 2),
    ]
    for ours, theirs, bar in pairs:
        fast, slow = interleaved(lambda: ours(matrix), lambda: theirs(matrix), repeats=repeats)
        yield Row(f"{type(ours).__name__} over ByzFL, n = {n}, d = {matrix.shape[1]:,} ({fast:.3f} s)", slow / fast, bar)


def _against_one_read(matrix: Tensor, repeats: int) -> Iterator[Row]:
    """How often each rule could have read the matrix; the bar is what performance.md measured, with room for a busy machine."""
    n, f = len(matrix), len(matrix) // 5
    mixing = NearestNeighborMixing(num_byzantine=f)
    bars = {
        Mean(): 4,
        Median(): 30,
        TrimmedMean(num_byzantine=f): 30,
        NormClipping(quantile=0.5): 20,
        Krum(num_byzantine=f): 60,
        MultiKrum(num_byzantine=f): 60,
        Pipeline((ClipNorm(max_norm=1.0), Mean())): 40,
        Pipeline((mixing, Krum(num_byzantine=f))): 60,
        Flame(): 150,
    }
    for rule, bar in bars.items():
        updates, context = matrix, RoundContext.for_matrix(matrix)
        seconds, read = interleaved(lambda: rule(updates, context=context), matrix.sum, repeats=repeats)
        name = " + ".join(type(stage).__name__ for stage in getattr(rule, "stages", (rule,)))
        yield Row(f"{name}, n = {n}: reads of the matrix ({seconds:.3f} s)", seconds / read, bar, higher_is_better=False)


def _mixing(d: int, repeats: int) -> Iterator[Row]:
    matrix = torch.randn(100, d, generator=torch.Generator().manual_seed(0))
    rule, context = NearestNeighborMixing(num_byzantine=20), RoundContext.for_matrix(matrix)
    (seconds,) = interleaved(lambda: rule.transform(Updates.of(matrix), context)[0].matrix, repeats=repeats)
    yield Row(f"NearestNeighborMixing alone, rows made, n = 100, d = {d:,}", seconds, 2, unit="s", higher_is_better=False)


def _honest_pair_errors(d: int) -> Iterator[Row]:
    """The largest relative error of an honest pair's squared distance beside attackers that are 1e6 times as long."""
    honest, f = 30, 5
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1, d, generator=generator) + 1e-3 * torch.randn(honest + f, d, generator=generator)
    matrix[honest:] *= 1e6
    got = linalg.squared_distances(matrix)
    exact = torch.stack([(matrix[:honest].double() - row.double()).square().sum(dim=1) for row in matrix[:honest]])
    error = ((got[:honest, :honest] - exact).abs() / exact.masked_fill(exact == 0, 1)).max().item()
    yield Row("error of honest pairs' distance, attackers × 1e6", error, 1e-5, unit="", higher_is_better=False)


def _memory(d: int) -> Iterator[Row]:
    """Memory beyond the rows, each rule in a fresh process: the growth of the peak while the rule runs for the second time."""
    matrix = 100 * d * 4 / 2**20
    bars = {
        "Median()": 32.0,
        "TrimmedMean(num_byzantine=20)": 32.0,
        "Mean()": 32.0,
        "Krum(num_byzantine=20)": 64.0,
        "Flame()": 64.0,
        "Pipeline((NearestNeighborMixing(num_byzantine=20), Krum(num_byzantine=20)))": 64.0,
        "Pipeline((NearestNeighborMixing(num_byzantine=20), Median()))": matrix + 64.0,
    }
    for rule, bar in bars.items():
        command = [sys.executable, __file__, "--memory-of", rule, "--columns", str(d)]
        megabytes = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        yield Row(f"{rule}: memory beyond the rows", megabytes, bar, unit="MB", higher_is_better=False)


def _extra_memory(rule: str, d: int) -> float:
    from phalanx import aggregators

    torch.set_num_threads(1)
    combine = eval(rule, vars(aggregators))
    combine(torch.randn(100, 1_000))  # loads what is loaded on first use
    matrix = torch.randn(100, d)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    combine(matrix)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _byzfl() -> ModuleType | None:
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        if found is None or found.origin is None:
            print("ByzFL is not installed (pip install --no-deps byzfl): no comparison with it.")
            return None
        package = types.ModuleType("byzfl")
        package.__path__ = [str(Path(found.origin).parent)]
        sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the coordinates, fewer repeats")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, default=_D, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(_extra_memory(options.memory_of, options.columns))
    else:
        show(measure(options.quick))
