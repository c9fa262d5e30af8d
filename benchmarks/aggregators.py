"""The rules against ByzFL, against one read of the matrix and against the matrix product alone; errors beside bars.

    python benchmarks/aggregators.py [--quick]

One thread on one core, all ways in one run, taken in turns, minimum of the repeats (what takes seconds is called once), in the
thread's own time, so that other processes disturb little; two workers are timed by the clock. Rules are
timed as a federation calls them, on rows that screening has found finite, but without the norms that it passes on. ByzFL checks
nothing; where it changes its input (ARC, clipping) it gets a fresh copy, which is not timed. Its MDA and SMEA (all subsets) and
CAF (which never ends beside some rows) are compared at n = 10 only, its NNM up to 1.5 GB, which is said.

ByzFL comes with `pip install --no-deps byzfl`: its package imports torchvision, whose CPU wheel clashes with torch's, but its
aggregators do not need it. So `import_byzfl` puts an empty package in place of `byzfl/__init__.py` and imports the aggregators
alone. Without ByzFL the rest is measured and that is said.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import torch
from torch import Tensor

from phalanx import aggregators as ours
from phalanx.core import linalg
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator
from phalanx.core.types import RoundContext, Updates
from phalanx.core.workers import workers
from phalanx.testing.conformance.libraries import import_byzfl
from ratios import Row, interleaved, one_core, show

_READS_OF_COORDINATE_RULES = 12.0
_PATIENCE = 2.0

Way = Callable[[], object]


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` takes the small sizes and fewer repeats."""
    sizes = [(10, 100_000), (50, 100_000), (100, 100_000)]
    sizes += [] if quick else [(10, 1_000_000), (50, 1_000_000), (100, 1_000_000), (1000, 100_000)]
    byzfl, rows = _byzfl(), list[Row]()
    with one_core():
        rows.append(_honest_pair_error(100_000 if quick else 1_000_000))
        for n, d in sizes:
            rows += _size(byzfl, n, d, repeats=3 if quick or n * d > 10**7 else 5)
        rows += [] if quick else [_mixing(1_000_000)]
    return rows + list(_two_workers(100_000 if quick else 1_000_000))


def _size(byzfl: ModuleType | None, n: int, d: int, *, repeats: int) -> Iterator[Row]:
    matrix, f = torch.randn(n, d, generator=torch.Generator().manual_seed(n)), n // 5
    rules = _rules(n, f)
    theirs = {} if byzfl is None else _byzfl_ways(byzfl, matrix, f, repeats)
    product = matrix.new_empty(n, n)

    def in_blocks() -> None:
        for start in range(0, d, 8192):
            torch.mm(matrix[:, start : start + 8192], matrix[:, start : start + 8192].T, out=product)

    ways: list[Way] = [matrix.sum, lambda: torch.mm(matrix, matrix.T, out=product), in_blocks]
    ways += [one_round(rule, matrix) for rule, _ in rules.values()] + list(theirs.values())
    seconds = interleaved(*ways, repeats=repeats, patience=_PATIENCE, clock=time.thread_time)
    read, gemm = seconds[0], min(seconds[1:3])
    of_ours = dict(zip(rules, seconds[3:], strict=False))
    of_theirs = dict(zip(theirs, seconds[3 + len(rules) :], strict=True))
    size = f"n = {n}, d = {d:,}"
    for name, slow in of_theirs.items():
        yield Row(f"{name} over ByzFL, {size} ({of_ours[name]:.4f} s)", slow / of_ours[name], _bar(name, n, d))
    reads = {"coordinate": _READS_OF_COORDINATE_RULES, "gram": 1.4 * gemm / read + 2}
    yield Row(f"float32 X Xᵀ alone over one read ({read:.4f} s), {size}", gemm / read, None)
    for name, (_, kind) in rules.items():
        bar = reads.get(kind) or float(kind)
        yield Row(f"{name} over one read, {size}", of_ours[name] / read, bar, higher_is_better=False)


def _rules(n: int, f: int) -> dict[str, tuple[Aggregator, str]]:
    """Every rule that scales to n, and what its time is held against: `coordinate`, `gram`, or reads of performance.md."""
    mixing = ours.NearestNeighborMixing(f)
    rules: dict[str, tuple[Aggregator, str]] = {
        "Mean": (ours.Mean(), "coordinate"),
        "Median": (ours.Median(), "coordinate"),
        "TrimmedMean": (ours.TrimmedMean(f), "coordinate"),
        "MeaMed": (ours.MeaMed(f), "coordinate"),
        "Phocas": (ours.Phocas(f), "coordinate"),
        "SignVote": (ours.SignVote(step=0.1), "coordinate"),
        "RobustLearningRate": (ours.RobustLearningRate(threshold=f + 1), "coordinate"),
        "NormClipping": (ours.NormClipping(quantile=0.5), "coordinate"),
        "ClipNorm + Mean": (ours.Pipeline((ours.ClipNorm(1.0), ours.Mean())), "coordinate"),
        "ARC + Mean": (ours.Pipeline((ours.ARC(f), ours.Mean())), "coordinate"),
        "Bucketing + Median": (ours.Pipeline((ours.Bucketing(2), ours.Median())), "coordinate"),
        "MoNNA": (ours.MoNNA(f, trusted_client=0), "coordinate"),
        "DnC": (ours.DnC(f), "coordinate"),
        "Krum": (ours.Krum(f), "gram"),
        "MultiKrum": (ours.MultiKrum(f), "gram"),
        "GeometricMedian": (ours.GeometricMedian(), "gram"),
        "CenteredClipping, 5 steps": (ours.CenteredClipping(max_norm=1.0, num_iterations=5), "gram"),
        "NearestNeighborMixing + Krum": (ours.Pipeline((mixing, ours.Krum(f))), "gram"),
        "ARC + Krum": (ours.Pipeline((ours.ARC(f), ours.Krum(f))), "gram"),
    }
    if n <= 100:
        rules |= {
            "CAF": (ours.CAF(f), "gram"),
            "Flame": (ours.Flame(), "125"),
            "FoolsGold": (ours.FoolsGold(), "48"),
            "Bulyan": (ours.Bulyan((n - 3) // 4), "78"),
        }
    if n == 10:
        rules |= {"MDA": (ours.MDA(f), "gram"), "SMEA": (ours.SMEA(f), "gram")}
    return rules


def _byzfl_ways(byzfl: ModuleType, matrix: Tensor, f: int, repeats: int) -> dict[str, Way]:
    """What ByzFL has, under the names of our rules."""
    n, d = matrix.shape
    pre = sys.modules["byzfl.aggregators.preaggregators"]
    average = byzfl.Average()

    def on(rule: Callable[[Tensor], object]) -> Way:
        return lambda: rule(matrix)

    def on_copies(change: Callable[[Tensor], Tensor]) -> Way:
        copies = [matrix.clone() for _ in range(repeats + 1)]
        return lambda: average(change(copies.pop()))

    ways: dict[str, Way] = {
        "Mean": on(average),
        "Median": on(byzfl.Median()),
        "TrimmedMean": on(byzfl.TrMean(f)),
        "MeaMed": on(byzfl.Meamed(f)),
        "MoNNA": on(byzfl.MoNNA(f)),
        "Krum": on(byzfl.Krum(f)),
        "MultiKrum": on(byzfl.MultiKrum(f)),
        "GeometricMedian": on(byzfl.GeometricMedian(T=8)),
        "CenteredClipping, 5 steps": on(byzfl.CenteredClipping(L=5, tau=1.0)),
        "Bucketing + Median": on(lambda rows: byzfl.Median()(pre.Bucketing(2)(rows))),
        "ClipNorm + Mean": on_copies(pre.Clipping(1.0)),
        "ARC + Mean": on_copies(pre.ARC(f)),
    }
    if n == 10:
        ways |= {"CAF": on(byzfl.CAF(f)), "MDA": on(byzfl.MDA(f)), "SMEA": on(byzfl.SMEA(f))}
    if n * (n - f) * d * 4 <= 1.5e9:
        ways["NearestNeighborMixing + Krum"] = on(lambda rows: byzfl.Krum(f)(pre.NNM(f)(rows)))
    else:
        print(f"ByzFL's NNM would need {n * (n - f) * d * 4 / 1e9:.0f} GB at n = {n}, d = {d:,}: left out.")
    return ways


def _bar(name: str, n: int, d: int) -> float:
    """× ByzFL: the table of performance.md where it has the size; nowhere slower."""
    table = {
        (100, "Mean"): 1.7,
        (100, "Krum"): 2.5,
        (100, "MultiKrum"): 2.0,
        (100, "GeometricMedian"): 8.0,
        (100, "CenteredClipping, 5 steps"): 8.0,
    }
    for rule in ("Median", "TrimmedMean"):
        table |= {(10, rule): 3.0, (50, rule): 17.0, (100, rule): 26.0}
    return table.get((n, name), 1.0) if d == 1_000_000 else 1.0


def one_round(rule: Aggregator, matrix: Tensor) -> Way:
    """A call of the rule as a federation makes it."""
    context = RoundContext.for_matrix(matrix)
    return lambda: rule.aggregate(Updates.of(matrix), {}, context)


def _mixing(d: int) -> Row:
    matrix = torch.randn(100, d, generator=torch.Generator().manual_seed(0))
    rule, context = ours.NearestNeighborMixing(num_byzantine=20), RoundContext.for_matrix(matrix)
    (seconds,) = interleaved(lambda: rule.transform(Updates.of(matrix), context)[0].matrix, repeats=3)
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


def _two_workers(d: int) -> Iterator[Row]:
    """How much faster two threads on column blocks are than one; bytes are compared, too."""
    threads, matrix = torch.get_num_threads(), torch.randn(100, d, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(1)
    for rule in (ours.TrimmedMean(20), ours.Krum(20), ours.Flame()):
        alone = one_round(rule, matrix)

        def together(alone: Way = alone) -> object:
            with workers(2):
                return alone()

        one, two = interleaved(alone, together, repeats=5)
        name = type(rule).__name__
        assert torch.equal(alone()[0].update, together()[0].update), f"{name}: two workers give other bytes"  # type: ignore[index]
        yield Row(f"{name}: two workers over one, the same bytes, n = 100, d = {d:,}", one / two, 1.5)
    torch.set_num_threads(threads)


def _byzfl() -> ModuleType | None:
    try:
        return import_byzfl()
    except ConfigError as error:
        print(f"{error}: no comparison with it.")
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small sizes, fewer repeats")
    show(measure(parser.parse_args().quick))
