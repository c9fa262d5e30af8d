"""Fang's attack on the trimmed mean and the median: every coordinate just outside the honest ones, on the wrong side."""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.moments import moments
from phalanx.core.numbers import LARGEST_FLOAT32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class FangTrim(Colluding):
    """Per coordinate, uniform values beyond the honest extreme that the mean moves away from.

    Where the honest mean is positive: between min / b and min if min > 0, else between b · min and min; where it is negative
    the mirror image at the max. With `knowledge = "own"` there are no extremes to see: between μ − 4σ and μ − 3σ of the
    attackers' own rows, or the mirror image. Made against the trimmed mean and the median; rules on whole rows see it.
    Untargeted. O(n d).

    Reference: Fang, Cao, Jia, Gong, Local Model Poisoning Attacks to Byzantine-Robust Federated Learning, USENIX Security 2020
    (arXiv 1911.11815), Section 4.3.

    >>> FangTrim(b=1.0)(torch.tensor([[1.0, -1.0], [3.0, -4.0]]), num_byzantine=1)
    tensor([[ 1., -1.]])
    """

    _: KW_ONLY
    b: Annotated[float, Field(ge=1, le=LARGEST_FLOAT32)] = 2.0

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """Rows drawn for each attacker on its own; metric `room`, 0 for one who sees only his own row and sends it."""
        nearer, farther = self._edges(view.reference())
        generator = context.generator("fang trim")
        share = torch.rand(view.num_byzantine, len(nearer), generator=generator, dtype=nearer.dtype).to(nearer.device)
        room = self.is_omniscient or not nearer.equal(farther)
        return Crafted(nearer + share * (farther - nearer), {"room": float(room)}), state

    def _edges(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where the malicious values may begin and end, `[d]` each."""
        if not self.is_omniscient:
            mean, std = moments(rows)
            side = torch.where(mean > 0, -std, std)
            return mean + 3 * side, mean + 4 * side
        mean, low, high = rows.mean(0), rows.amin(0), rows.amax(0)
        below = torch.where(low > 0, low / self.b, low * self.b)
        above = torch.where(high > 0, high * self.b, high / self.b)
        return torch.where(mean > 0, low, high), torch.where(mean > 0, below, above)
