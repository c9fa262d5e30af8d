"""What Phalanx adds to a round of Flower's server, in reads of the round's matrix; stock FedAvg's aggregation beside it.

    python benchmarks/flower.py [--quick]

The answers are there already, as Flower has unpacked them: checking, decoding, screening and the new model's arrays are timed.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from phalanx.aggregators import Mean
from phalanx.core.types import RoundContext, Updates
from phalanx.flower import InProcessGrid, RobustStrategy
from ratios import Row, interleaved, one_core, show

TENSORS = 20
READS = 3.0


def measure(quick: bool) -> list[Row]:
    """The server's time in one round beyond the rule's, and its memory, beside their bars."""
    n, d = 100, 100_000 if quick else 1_000_000
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with one_core():
        return list(_rows(n, d))


def _rows(n: int, d: int) -> list[Row]:
    generator = np.random.default_rng(0)
    model = {str(i): generator.standard_normal(d // TENSORS, dtype=np.float32) for i in range(TENSORS)}
    arrays = ArrayRecord({name: Array(numbers) for name, numbers in model.items()})
    grid = InProcessGrid([])
    grid.apps = dict.fromkeys(range(1, n + 1))
    strategy = RobustStrategy(aggregator=Mean(), min_nodes=n)
    grid.get_node_ids = lambda: list(grid.apps)
    messages = list(strategy.configure_train(1, arrays, {}, grid))
    replies = [_reply(message, model, generator) for message in messages]

    def ours() -> None:
        strategy.configure_train(1, arrays, {}, grid)
        strategy.aggregate_train(1, replies)

    matrix = torch.from_numpy(np.stack([np.concatenate(list(model.values()))] * n))
    updates, context = Updates.of(matrix), RoundContext.for_matrix(matrix)

    def rule() -> None:
        Mean().aggregate(updates, {}, context)

    def read() -> None:
        torch.linalg.vector_norm(matrix)

    before = _peak(reset=True)
    ours()
    memory = (_peak() - before) / (n * d * 4 / 2**20)
    seconds = interleaved(ours, rule, read, lambda: FedAvg().aggregate_train(1, replies), repeats=5, clock=time.thread_time)
    of_matrix = f"n = {n}, d = {d:,}"
    return [
        Row(f"a round beyond the rule, {of_matrix}", (seconds[0] - seconds[1]) / seconds[2], READS, "reads", False),
        Row(f"FedAvg's aggregation takes, of ours with the mean, {of_matrix}", seconds[3] / seconds[0], None),
        Row(f"memory beyond the answers, {of_matrix}", memory, 1.1, "matrices", False),
    ]


def _reply(message: Message, model: dict[str, np.ndarray], generator: np.random.Generator) -> Message:
    sent = {
        name: Array(numbers + generator.standard_normal(numbers.shape, dtype=np.float32)) for name, numbers in model.items()
    }
    content = {"arrays": ArrayRecord(sent), "metrics": MetricRecord({"num-examples": 10})}
    return Message(RecordDict(content), reply_to=message)


def _peak(*, reset: bool = False) -> float:
    """Megabytes that this process has held at most, since the last reset (Linux; elsewhere 0)."""
    if sys.platform != "linux":
        return 0.0
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
