"""How far f of n rows can move each rule: the largest κ of (f, κ)-robustness that a search finds, beside what is proved.

python benchmarks/kappa.py [--evaluations 1500]
"""

import argparse
from collections.abc import Iterator

import torch

from phalanx.aggregators import (
    ARC,
    CAF,
    MDA,
    SMEA,
    Bulyan,
    DnC,
    GeometricMedian,
    IterativeBulyan,
    IterativeMultiKrum,
    Krum,
    MeaMed,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    Phocas,
    Pipeline,
    TrimmedMean,
)
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.testing import AGGREGATORS
from phalanx.testing.kappa import UNBOUNDED, worst_kappa

SIZES = ((5, 1), (7, 1), (7, 2), (9, 2), (11, 2))
RULES = (
    *(TrimmedMean, Median, GeometricMedian, Krum, MultiKrum, Phocas, MeaMed, Bulyan),
    *(MDA, SMEA, CAF, DnC, IterativeMultiKrum, IterativeBulyan),
)
BEHIND_MIXING = (TrimmedMean, Median, GeometricMedian, Krum, CAF)
BOUNDS = {example.rule.kind: example.kappa for example in AGGREGATORS if example.kappa}


def rules(f: int) -> Iterator[tuple[str, Aggregator]]:
    """The rules that move with their rows, by what the table calls them, and one with a clipping stage."""
    yield from ((kind.__name__, kind(num_byzantine=f)) for kind in RULES)
    for kind in BEHIND_MIXING:
        yield f"NNM + {kind.__name__}", Pipeline((NearestNeighborMixing(f), kind(num_byzantine=f)))
    yield "ARC + TrimmedMean", Pipeline((ARC(f), TrimmedMean(f)))


def cell(rule: Aggregator, n: int, f: int, evaluations: int) -> str:
    """What is found and, in brackets, what is proved."""
    try:
        rule.require(n)
    except PreconditionError:
        return "–"
    found = worst_kappa(rule, n, f, evaluations=evaluations).kappa
    bound = BOUNDS.get(rule.kind)
    return ("∞" if found >= UNBOUNDED else f"{found:.3g}") + (f" ({bound(n, f):.3g})" if bound else "")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--evaluations", type=int, default=1500)
    evaluations = arguments.parse_args().evaluations
    torch.set_num_threads(1)
    print("| rule | " + " | ".join(f"n={n}, f={f}" for n, f in SIZES) + " |\n|---" + "|---:" * len(SIZES) + "|")
    for name, _ in rules(1):
        cells = (cell(dict(rules(f))[name], n, f, evaluations) for n, f in SIZES)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print("| *no rule can do with less than* | " + " | ".join(f"{f / (n - 2 * f):.3g}" for n, f in SIZES) + " |")
