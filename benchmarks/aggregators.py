"""The rules against ByzFL, against one read of the matrix and against the matrix product alone; errors and memory beside bars.

    python benchmarks/aggregators.py [--quick]

One thread on one core, all ways in one run, taken in turns, minimum of the repeats (what takes seconds is called once), in the
thread's own time, so that other processes disturb little; two workers and memory-mapped rows are timed by the clock. Rules are
timed as a federation calls them, on rows that screening has found finite, but without the norms that it passes on. ByzFL checks
nothing; where it changes its input (ARC, clipping) it gets a fresh copy, which is not timed. Its MDA and SMEA (all subsets) and
CAF (which never ends beside some rows) are compared at n = 10 only, its NNM up to 1.5 GB, which is said.

ByzFL comes with `pip install --no-deps byzfl`: its package imports torchvision, whose CPU wheel clashes with torch's, but its
aggregators do not need it. So `import_byzfl` puts an empty package in place of `byzfl/__init__.py` and imports the aggregators
alone. Without ByzFL the rest is measured and that is said.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
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
    rows += _two_workers(100_000 if quick else 1_000_000)
    return rows + list(_memory(100, 100_000 if quick else 1_000_000)) + ([] if quick else list(_out_of_core(1000, 1_000_000)))


def _size(byzfl: ModuleType | None, n: int, d: int, *, repeats: int) -> Iterator[Row]:
    matrix, f = torch.randn(n, d, generator=torch.Generator().manual_seed(n)), n // 5
    rules = _rules(n, f)
    theirs = {} if byzfl is None else _byzfl_ways(byzfl, matrix, f, repeats)
    product = matrix.new_empty(n, n)

    def in_blocks() -> None:
        for start in range(0, d, 8192):
            torch.mm(matrix[:, start : start + 8192], matrix[:, start : start + 8192].T, out=product)

    ways: list[Way] = [matrix.sum, lambda: torch.mm(matrix, matrix.T, out=product), in_blocks]
    ways += [_round(rule, matrix) for rule, _ in rules.values()] + list(theirs.values())
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


def _round(rule: Aggregator, matrix: Tensor) -> Way:
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
        alone = _round(rule, matrix)

        def together(alone: Way = alone) -> object:
            with workers(2):
                return alone()

        one, two = interleaved(alone, together, repeats=5)
        name = type(rule).__name__
        assert torch.equal(alone()[0].update, together()[0].update), f"{name}: two workers give other bytes"  # type: ignore[index]
        yield Row(f"{name}: two workers over one, the same bytes, n = 100, d = {d:,}", one / two, 1.5)
    torch.set_num_threads(threads)


def _memory(n: int, d: int) -> Iterator[Row]:
    """Memory beyond the rows, each rule in a fresh process (Linux only: elsewhere the peak can't be set back)."""
    mixing, f = f"NearestNeighborMixing(num_byzantine={n // 5})", n // 5
    bars = {
        "Median()": 32.0,
        f"TrimmedMean(num_byzantine={f})": 32.0,
        f"MeaMed(num_byzantine={f})": 32.0,
        f"Krum(num_byzantine={f})": 32.0,
        f"Pipeline((ARC(num_byzantine={f}), Mean()))": 32.0,
        f"Pipeline(({mixing}, Median()))": n * d * 4 / 2**20 + 32,
    }
    for rule, bar in bars.items() if sys.platform == "linux" else ():
        megabytes, _ = _in_fresh_process(rule, n, d)
        yield Row(f"{rule}, n = {n}, d = {d:,}: memory beyond the rows", megabytes, bar, unit="MB", higher_is_better=False)


def _out_of_core(n: int, d: int) -> Iterator[Row]:
    """Anonymous memory (so without the file's pages) where the rows are a file that is mapped into memory."""
    need, free = n * d * 4, shutil.disk_usage(tempfile.gettempdir()).free
    if sys.platform != "linux" or free < 1.5 * need:
        print(f"Rows in a file need Linux and {1.5 * need / 1e9:.0f} GB of disk ({free / 1e9:.0f} are free): left out.")
        return
    bars = {"Mean()": 32.0, "TrimmedMean(num_byzantine=200)": 32.0, "Krum(num_byzantine=200)": 500.0}
    bars |= {"GeometricMedian()": 500.0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        with path.open("wb") as file:
            for seed in range(n // 10):
                ten = torch.randn(10, d, generator=torch.Generator().manual_seed(seed))
                ten.numpy().tofile(file)
        for rule, bar in bars.items():
            megabytes, seconds = _in_fresh_process(rule, n, d, "--file", str(path))
            what = f"{rule}, rows in a file, n = {n}, d = {d:,} ({seconds:.0f} s): anonymous memory beyond"
            yield Row(what, megabytes, bar, unit="MB", higher_is_better=False)


def _in_fresh_process(rule: str, n: int, d: int, *more: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--memory-of", rule, "--rows", str(n), "--columns", str(d), *more]
    megabytes, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(megabytes), float(seconds)


def _extra_memory(rule: str, n: int, d: int, file: str | None) -> tuple[float, float]:
    """Megabytes at the peak beyond those before, and seconds."""
    torch.set_num_threads(1)
    aggregator = eval(rule, vars(ours))
    _round(aggregator, torch.randn(n, 100))()  # loads what is loaded on first use
    if file is None:
        matrix = torch.randn(n, d)
        call = _round(aggregator, matrix)
        Path("/proc/self/clear_refs").write_text("5")
        before, start = _status("VmHWM"), time.perf_counter()
        call()
        return _status("VmHWM") - before, time.perf_counter() - start
    call = _round(aggregator, torch.from_file(file, shared=True, size=n * d).view(n, d))
    before, peak, done = _status("RssAnon"), 0.0, threading.Event()

    def watch() -> None:  # there is no peak of anonymous memory to be read
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, _status("RssAnon"))

    watcher, start = threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    call()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return peak - before, seconds


def _status(name: str) -> float:
    """A line of the process's memory status, in MB: VmHWM is the largest resident memory since it was set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _byzfl() -> ModuleType | None:
    try:
        return import_byzfl()
    except ConfigError as error:
        print(f"{error}: no comparison with it.")
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small sizes, fewer repeats")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=100, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, default=1_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(*_extra_memory(options.memory_of, options.rows, options.columns, options.file))
    else:
        show(measure(options.quick))
