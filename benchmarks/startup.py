"""How long a user waits before anything happens: whole processes, the best of several.

python benchmarks/startup.py [--quick]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ratios import Row, show

PHALANX = Path(sys.executable).with_name("phalanx")


def seconds(*arguments: str, repeats: int) -> float:
    """The best wall time of `phalanx` with these arguments."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([PHALANX, *arguments], capture_output=True, check=False)
        times.append(time.perf_counter() - started)
    return min(times)


def measure(quick: bool) -> list[Row]:
    """Every command of the start-up list beside its bar."""
    repeats = 3 if quick else 7
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as broken, tempfile.NamedTemporaryFile("w", suffix=".toml") as wrong:
        broken.write("[run\n")
        broken.flush()
        wrong.write("[aggregator]\nkind = 'krumm'\n")
        wrong.flush()
        commands = {
            ("--help",): 0.5,
            ("--version",): 0.5,
            ("run", broken.name): 0.5,
            ("list",): 2.5,
            ("run", wrong.name): 2.5,
        }
        labels = ("--help", "--version", "run, broken TOML", "list", "run, wrong name")
        return [
            Row(f"phalanx {label}", seconds(*command, repeats=repeats), bar, higher_is_better=False, unit="s")
            for label, (command, bar) in zip(labels, commands.items())
        ]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
