"""Mimic: attackers who are all one honest client, and so make the others look like a minority."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.deviations import unit
from phalanx.core import linalg
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
    """Rounds of attack in which the direction is learnt."""
    client: NonNegativeInt | None = None
    """Whom to copy whenever it takes part, by id; None: whoever lies farthest along the direction."""

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One honest row for all attackers."""
        rows = view.reference()
        mean, direction = rows.mean(0), state.get("direction")
        steps = int(state.get("steps", torch.tensor(0)))
        if direction is None:
            direction = unit(rows[int(linalg.norms(rows, centre=mean).argmax())] - mean)
        along = _along(rows, mean, direction)
        if steps < self.learning_rounds and along.any():
            shares = along / along.abs().max()
            direction = unit(shares @ rows - shares.sum() * mean)
            along = _along(rows, mean, direction)
        row: Tensor = rows[self._victim(view, along)].clone()
        memory = {"direction": direction, "steps": torch.tensor(steps + 1)}
        return Crafted(row.expand(view.num_byzantine, -1)), memory

    def _victim(self, view: AttackView, along: Tensor) -> int:
        """The row to copy: the named client's, if it is there to be seen."""
        if self.client is not None and view.honest_ids is not None:
            places = (view.honest_ids == self.client).nonzero().flatten()
            if len(places):
                return int(places[0])
        return int(along.argmax())


def _along(rows: Tensor, mean: Tensor, direction: Tensor) -> Tensor:
    """How far each row lies from the mean along the direction, `[h]`."""
    along: Tensor = rows @ direction - mean @ direction
    return along
