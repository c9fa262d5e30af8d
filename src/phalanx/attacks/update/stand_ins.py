"""Rows that attackers make up for the honest ones they cannot see."""

import torch
from torch import Tensor

from phalanx.attacks.update.moments import moments
from phalanx.core.types import AttackView, RoundContext


def crowd(view: AttackView, context: RoundContext) -> Tensor:
    """The rows `[n − f, d]` that the attackers take the honest ones to be.

    Those themselves, if the attack sees them. Else their own clean rows, and as many made-up ones as are missing, normal with
    the own rows' mean and deviation per coordinate: a rule has to be tried with the number of rows that it will get.
    """
    rows = view.reference()
    missing = view.num_updates - view.num_byzantine - len(rows)
    if missing <= 0:
        return rows
    mean, std = moments(rows)
    noise = torch.randn(missing, rows.shape[1], generator=context.generator("attackers' stand-ins"), dtype=rows.dtype)
    return torch.cat([rows, noise.to(rows.device).mul_(std).add_(mean)])
