"""The attackers' move in a round: they see what their attack may know, and replace the rows they send."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phalanx.core.types import AttackView, Crafted, RoundContext, Rows, State, Status
from phalanx.simulation.state import FederationState

if TYPE_CHECKING:
    from phalanx.simulation.simulation import Simulation


def craft(
    simulation: "Simulation",
    rows: Rows,
    ids: tuple[int, ...],
    attackers: Mapping[int, int],
    state: FederationState,
    context: RoundContext,
) -> tuple[Crafted, State]:
    """Write the malicious rows in place; what the attack reached, and what it remembers."""
    adversary = simulation.experiment.adversary
    sent = rows.status == Status.SENT
    bad = torch.zeros_like(sent)
    bad[list(attackers)] = True
    places = tuple((bad & sent).nonzero().flatten().tolist())
    if adversary.update is None or not places:
        return Crafted(rows.matrix[:0]), state.adversary
    own = rows.matrix[list(places)]

    def own_clean() -> Tensor:
        if adversary.data is None and adversary.client is None:
            return own
        out = simulation.scratch.first(len(places))
        clients = tuple(ids[place] for place in places)
        trainer = simulation.experiment.training
        simulation.train_group(trainer, clients, tuple(range(len(places))), state.clients, context, out)
        return out.matrix

    view = AttackView(
        own=own,
        own_clean=own_clean,
        num_updates=int(sent.sum()),
        honest=rows.matrix[(sent & ~bad).to(own.device)] if adversary.update.is_omniscient else None,
        aggregator=simulation.experiment.aggregator if adversary.update.knows_aggregator else None,
        previous_update=state.previous_update,
    )
    crafted, memory = adversary.update.craft(view, state.adversary, context)
    rows.matrix[list(places)] = crafted.rows
    return crafted, memory
