"""What the rules need beyond their rows, in memory and out of core, beside bars.

    python benchmarks/aggregators_memory.py [--quick]

Each rule runs in a fresh process with one thread. Linux only: elsewhere the peak can't be set back.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from aggregators import one_round
from phalanx import aggregators as ours
from ratios import Row, show


def measure(quick: bool) -> list[Row]:
    """All rows; `quick` takes the small size and leaves out the rows in a file."""
    rows = list(_memory(100, 100_000 if quick else 1_000_000))
    return rows if quick else rows + list(_out_of_core(1000, 1_000_000))


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
    one_round(aggregator, torch.randn(n, 100))()  # loads what is loaded on first use
    if file is None:
        matrix = torch.randn(n, d)
        call = one_round(aggregator, matrix)
        Path("/proc/self/clear_refs").write_text("5")
        before, start = _status("VmHWM"), time.perf_counter()
        call()
        return _status("VmHWM") - before, time.perf_counter() - start
    call = one_round(aggregator, torch.from_file(file, shared=True, size=n * d).view(n, d))
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small size")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=100, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, default=1_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(*_extra_memory(options.memory_of, options.rows, options.columns, options.file))
    else:
        show(measure(options.quick))
