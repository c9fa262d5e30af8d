"""Mimic: attackers who are all one honest client, and so make the others look like a minority."""

from dataclasses import KW_ONLY

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class Mimic(Colluding):
    """All attackers send a copy of one honest row: the one farthest along the direction in which honest rows vary most.

    The direction is learnt by power steps over the first `learning_rounds` rounds, then kept. Nothing that they send is
    unusual, so no rule can reject it; heterogeneous data makes it harmful, because rules that keep a majority then lose whole
    clients. Harmless on IID data. Mixing or bucketing mends it. O(h d) time, O(d) state.

    Reference: Karimireddy, He, Jaggi, Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing, ICLR 2022
    (arXiv 2006.09365), Section 4. Differs from the paper: whom they copy is chosen in every round, for clients come and go.

    >>> Mimic()(torch.tensor([[0.0], [1.0], [9.0]]), num_byzantine=2)
    tensor([[9.],
            [9.]])
    """

    _: KW_ONLY
    learning_rounds: PositiveInt = 20

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One honest row for all attackers."""
        rows = view.reference()
        mean, direction = rows.mean(0), state.get("direction")
        if direction is None:
            direction = rows[int(torch.linalg.vector_norm(rows - mean, dim=1).argmax())] - mean
        along = _along(rows, mean, direction)
        if context.round < self.learning_rounds and along.any():
            direction = torch.nn.functional.normalize(along @ rows - along.sum() * mean, dim=0)
            along = _along(rows, mean, direction)
        row: Tensor = rows[int(along.argmax())].clone()
        return Crafted(row.expand(view.num_byzantine, -1)), {"direction": direction}


def _along(rows: Tensor, mean: Tensor, direction: Tensor) -> Tensor:
    """How far each row lies from the mean along the direction, `[h]`."""
    along: Tensor = rows @ direction - mean @ direction
    return along
