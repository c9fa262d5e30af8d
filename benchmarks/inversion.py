"""Gradient inversion: restarts in one batch against one at a time, and how long the small CNN keeps its secret.

    python benchmarks/inversion.py [--quick]

One thread on one core, both ways in one run, in the thread's own time. Models that are large for themselves gain little from a
batch: they stay in the table, without a bar. The truths are smooth random images: the attack knows nothing of data sets.
"""

import argparse
import time
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from phalanx.core.families import Architecture
from phalanx.inversion import DLG, IDLG, InvertingGradients, leak_of
from phalanx.inversion.matching import GradientMatching
from phalanx.metrics import psnr
from phalanx.models import CNN, ConvNet8, ResNet20, SigmoidCNN
from ratios import Row, interleaved, one_core, show


def measure(quick: bool) -> list[Row]:
    """What a batch of restarts gains, and PSNR and time of one image of 28 x 28."""
    restarts = 16 if quick else 64
    with one_core():
        rows = [gain(SigmoidCNN(), (1, 28, 28), restarts, 3.0), gain(CNN(), (1, 28, 28), restarts, None)]
        if not quick:
            rows += [gain(ResNet20(), (3, 32, 32), 8, None), gain(ConvNet8(), (3, 32, 32), 4, None)]
        for attack in (DLG(steps=300, restarts=8), IDLG(steps=300, restarts=8), InvertingGradients(1e-3, steps=1000)):
            rows += recovered(attack)
    return rows


def gain(architecture: Architecture, shape: tuple[int, int, int], restarts: int, bar: float | None) -> Row:
    """How many times as fast so many restarts are together."""
    model = architecture.build(shape, 10, torch.Generator().manual_seed(0)).eval()
    leak = leak_of(model, smooth(shape), torch.tensor([3]))
    together = InvertingGradients(steps=2, restarts=restarts, together=restarts)

    def run(attack: GradientMatching) -> object:
        return attack.reconstruct(leak, model, torch.Generator().manual_seed(1))

    alone = replace(together, together=1)
    slow, fast = interleaved(lambda: run(alone), lambda: run(together), repeats=3, patience=10, clock=time.thread_time)
    return Row(f"{architecture.kind}: {restarts} restarts together, against one at a time", slow / fast, bar)


def recovered(attack: GradientMatching) -> list[Row]:
    """One image behind the small CNN, its label unknown."""
    model: nn.Module = SigmoidCNN().build((1, 28, 28), 10, torch.Generator().manual_seed(0))
    truth = smooth((1, 28, 28))
    leak = replace(leak_of(model, truth, torch.tensor([3])), labels=None)
    start = time.thread_time()
    found = attack.reconstruct(leak, model, torch.Generator().manual_seed(1))
    seconds, name = time.thread_time() - start, f"sigmoid_cnn, 28 x 28, {attack.kind}, {attack.steps} steps x {attack.restarts}"
    return [
        Row(f"{name}: PSNR", float(psnr(found.images, truth)), 20.0, "dB"),
        Row(f"{name}: time", seconds, 60.0, "s", higher_is_better=False),
    ]


def smooth(shape: tuple[int, int, int]) -> Tensor:
    """One image whose neighbouring pixels are alike."""
    small = torch.rand(1, shape[0], 7, 7, generator=torch.Generator().manual_seed(2))
    return interpolate(small, size=shape[1:], mode="bilinear")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
