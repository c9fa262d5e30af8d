"""The law of rules with a proved bound: (f, κ)-robustness, tried with simple attacks. `worst_kappa` searches for worse ones."""

from typing import cast

import torch
from torch import Tensor

from phalanx.core.families import Aggregator
from phalanx.testing.comparing import TOLERANCE, call


def kappa_bound(rule: Aggregator, matrix: Tensor, kappa: float) -> None:
    """(f, κ)-robustness: |A(x) − mean(S)|² <= κ · mean over S of |x_i − mean(S)|², for S all rows but f, whatever those are.

    The f rows are replaced by copies of an honest one, by shifts of the mean, and by anything finite up to 1e30.

    Reference: Allouah et al., Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity, AISTATS 2023
    (arXiv 2302.01772), Definition 2.
    """
    f = cast(int, getattr(rule, "num_byzantine", 0))
    honest = matrix[f:].double()
    centre = honest.mean(dim=0)
    spread = (honest - centre).square().sum(dim=1).mean()
    deviation = honest.std(dim=0, correction=0)
    attacks = [matrix[f], *(centre + z * deviation for z in (-3.0, -1.0, 0.5, 1.5, 10.0))]
    attacks += [sign * size * torch.ones_like(centre) for size in (1e3, 1e12, 1e30) for sign in (1, -1)]
    for attack in attacks:
        rows = matrix.clone()
        rows[:f] = attack.to(matrix)
        distance = (call(rule, rows).double() - centre).square().sum()
        slack = (TOLERANCE * honest.abs().max()) ** 2 * matrix.shape[1]
        assert distance <= kappa * spread + slack, (
            f"f = {f} rows of {attack.tolist()} move the result {distance:.4g} (squared) from the honest mean; "
            f"κ = {kappa:.4g} allows {kappa * spread:.4g}"
        )
