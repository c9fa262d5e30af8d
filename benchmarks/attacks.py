"""AGRTailored and Adaptive against rules: seconds a round, and how many times faster than with all distances for every try.

python benchmarks/attacks.py [--quick]
"""

import argparse
from dataclasses import replace
from unittest.mock import patch

import torch

from phalanx.aggregators import MDA, Bulyan, Flame, GeometricMedian, Krum, NearestNeighborMixing, Pipeline, TrimmedMean
from phalanx.attacks.update import Adaptive, AGRTailored
from phalanx.attacks.update.damage import Damage
from phalanx.core.families import Aggregator, UpdateAttack
from phalanx.core.types import AttackView, RoundContext, Updates
from ratios import Row, interleaved, one_core, show

SIZES = ((20, 7_850), (50, 100_000))


def rules(f: int) -> dict[str, Aggregator]:
    """The rules that are attacked, by what the table calls them."""
    return {
        "Krum": Krum(f),
        "NNM + TrimmedMean": Pipeline((NearestNeighborMixing(f), TrimmedMean(f))),
        "GeometricMedian": GeometricMedian(f),
        "Flame": Flame(),
        "MDA": MDA(f),
        "Bulyan": Bulyan(f),
    }


def measure(quick: bool) -> list[Row]:
    """A row for each attack, rule and size; the seconds are part of its name."""
    with one_core():
        return [
            _row(attack, name, rule, n, d)
            for n, d in (SIZES[:1] if quick else SIZES)
            for name, rule in rules((n - 3) // 4).items()
            # Adaptive makes 144 tries where AGRTailored makes 32; where one takes long the latter tells enough.
            for attack in ((AGRTailored(), Adaptive()) if d < 10_000 else (AGRTailored(),))
        ]


def _row(attack: UpdateAttack, name: str, rule: Aggregator, n: int, d: int) -> Row:
    f = (n - 3) // 4
    honest = 0.05 + 0.1 * torch.randn(n - f, d, generator=torch.Generator().manual_seed(0))
    view = AttackView(own=honest[:f], own_clean=lambda: honest[:f], num_updates=n, honest=honest, aggregator=rule)
    context = RoundContext.for_matrix(honest)

    def craft() -> None:
        attack.craft(view, {}, context)

    def craft_anew() -> None:
        with patch.object(Damage, "_sent", _anew):
            craft()

    seconds, anew = interleaved(craft, craft_anew, repeats=1)
    return Row(f"{type(attack).__name__} on {name}, n={n}, d={d:,}: {seconds:.2f} s; times faster", anew / seconds, 1)


def _anew(damage: Damage, line, gamma):  # type: ignore[no-untyped-def]
    damage._updates.matrix[: damage._f] = line.at(gamma)
    return replace(Updates.of(damage._updates.matrix), ids=damage._updates.ids)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
