"""How far f rows can move a rule, found by searching: a lower bound on its κ, and a test of what a paper proves."""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Updates
from phalanx.testing.scenes import context_for

UNBOUNDED = 1e4
"""Where a search stops: no bound of a rule that has one is near it."""
_STARTS = 5
"""The search climbs from this many of the best rows that were drawn."""
_ZERO = 1e-12


@dataclass(frozen=True)
class Worst:
    """The largest κ that was found, and the rows `[n, d]` float64 that ask for it."""

    kappa: float
    rows: Tensor


def worst_kappa(rule: Aggregator, n: int, f: int, *, evaluations: int = 3000, seed: int = 0) -> Worst:
    """Search for the n rows that (f, κ)-robustness would need the largest κ for. The true κ is no smaller than what is found.

    A third of the calls goes to rows drawn from a small lattice, in 1 to 3 dimensions, where ties and clusters are common; the
    rest climbs from the best of them by random changes. Ends at 10⁴: the rule has no bound. For rules that move with their rows
    under translation and scale; of others it says little. The number of subsets, C(n, f), should be small.

    Raises: PreconditionError if f is not below n / 2, fewer than 3 evaluations are asked for, or the rule needs more rows.
    Reference: Allouah et al., Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity, AISTATS 2023
    (arXiv 2302.01772), Definition 2.
    >>> from phalanx.aggregators import Mean, Median
    >>> worst_kappa(Mean(), 5, 1).kappa >= 1e4, worst_kappa(Median(1), 5, 1).kappa < 4 * (1 + 1 / 3) ** 2
    (True, True)
    """
    if not 0 <= f < n / 2 or evaluations < 3:
        raise PreconditionError(f"worst_kappa needs 0 <= f < n / 2 and evaluations >= 3; got n={n}, f={f}, {evaluations=}.")
    generator = torch.Generator().manual_seed(seed)
    drawn = [_draw(n, f, generator) for _ in range(evaluations // 3)]
    found = sorted((Worst(kappa_on(rule, rows, f), rows) for rows in drawn), key=lambda one: -one.kappa)[:_STARTS]
    climbed = [_climb(rule, f, start, 2 * evaluations // 3 // _STARTS, generator) for start in found]
    return max(climbed, key=lambda one: one.kappa)


def kappa_on(rule: Aggregator, rows: Tensor, f: int) -> float:
    """The largest |A(x) − mean(S)|² / mean over S of |x_i − mean(S)|², over all S of n − f of the rows `[n, d]`.

    Infinite where S is one point and the result another.
    """
    n = len(rows)
    context = context_for(rule, rows)
    update = rule.aggregate(Updates.of(rows), rule.init(context.layout), context)[0].update
    result = torch.zeros_like(rows[0]) if update is None else update
    member = torch.tensor([[i not in left_out for i in range(n)] for left_out in combinations(range(n), f)]).to(rows)
    seen = rows - result  # so that the mean of S is the gap
    gap = (member @ seen / (n - f)).square().sum(dim=1)
    second_moment = member @ seen.square().sum(dim=1) / (n - f)
    spread = second_moment - gap
    is_point = spread <= _ZERO * second_moment
    is_hit = gap <= _ZERO * rows.square().sum(dim=1).max()
    ratio = torch.where(is_point, torch.where(is_hit, 0.0, torch.inf), gap / spread)
    return float(ratio.max())


def _draw(n: int, f: int, generator: torch.Generator) -> Tensor:
    """Rows of whole numbers, few or many of them; in half of the cases f are far away, each at a distance of its own."""
    d, levels = (int(torch.randint(1, most + 1, (), generator=generator)) for most in (3, 6))
    rows = torch.randint(-levels, levels + 1, (n, d), generator=generator).double()
    if torch.rand((), generator=generator) < 0.5:
        rows[:f] *= 10.0 ** torch.randint(0, 5, (f, 1), generator=generator)
    return rows


def _climb(rule: Aggregator, f: int, start: Worst, steps: int, generator: torch.Generator) -> Worst:
    best = start
    for _ in range(steps):
        if best.kappa >= UNBOUNDED:
            break
        rows = _changed(best.rows, generator)
        kappa = kappa_on(rule, rows, f)
        if kappa >= best.kappa:
            best = Worst(kappa, rows)
    return best


def _changed(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Some rows moved by a step of any size, or one put where another is, or moved away from it or towards it."""
    n, rows = len(rows), rows.clone()
    one, other, kind = torch.randint(n, (3,), generator=generator).tolist()
    if kind % 3 == 0:
        rows[one] = rows[other] + (rows[one] - rows[other]) * torch.randn((), generator=generator) * 2
        return rows
    size = 10.0 ** (-4 * torch.rand((), generator=generator)) * rows.std()
    moved = torch.rand(n, 1, generator=generator) < (1 / n if kind % 3 == 1 else 0.5)
    return rows + moved * size * torch.randn(rows.shape, dtype=rows.dtype, generator=generator)
