"""The attackers' move in a round: they see what their attack may know, and replace the rows they send."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from phalanx.attacks import Adversary
from phalanx.core import linalg
from phalanx.core.families import Aggregator
from phalanx.core.types import AttackView, RoundContext, Rows, Samples, State, Status


def attack(
    adversary: Adversary,
    rule: Aggregator,
    rows: Rows,
    ids: Sequence[int],
    places: Sequence[int],
    state: State,
    context: RoundContext,
    train_honestly: Callable[[Sequence[int]], Tensor],
    samples: Callable[[Sequence[int]], Samples],
    *,
    announced: int | None = None,
) -> tuple[Mapping[str, float], State]:
    """Write the malicious rows of the attackers at `places` in place; what the attack reached, and what it remembers.

    `ids` are the sampled clients.
    `train_honestly` gives the rows `[f, d]` that the clients at some places would have sent as honest ones, `samples` what
    samples these clients hold; `announced` is how many updates attackers take a round to have, if not as many as it has.
    """
    sent = rows.status == Status.SENT
    bad = [place for place in places if sent[place]]
    if adversary.update is None or not bad:
        return {}, state
    own = rows.matrix[bad]
    sent[bad] = False

    @cache
    def own_clean() -> Tensor:
        rows = own if adversary.data is None and adversary.client is None else train_honestly(bad)
        some, _ = finite(rows)
        return some if len(some) else rows

    others = sent.nonzero().flatten().tolist()
    honest, honest_ids = None, None
    if adversary.update.is_omniscient:
        honest, keep = finite(take(rows.matrix, others))
        honest_ids = torch.tensor([ids[place] for place in others], dtype=torch.int64)[keep.cpu()]
    view = AttackView(
        own=own,
        own_clean=own_clean,
        num_updates=announced or len(bad) + len(others),
        honest=honest,
        aggregator=rule if adversary.update.knows_aggregator else None,
        previous_update=context.previous_update,
        own_ids=torch.tensor([ids[place] for place in bad]),
        honest_ids=honest_ids,
        own_samples=lambda: samples(bad),
        own_buffers=rows.buffers[bad],
    )
    crafted, memory = adversary.update.craft(view, state, context)
    rows.matrix[bad] = crafted.rows
    if crafted.buffers is not None:
        rows.buffers[bad] = crafted.buffers
    return crafted.metrics, memory


def take(matrix: Tensor, places: Sequence[int]) -> Tensor:
    """Rows of a matrix; a view where they lie together, because a second matrix of a thousand clients is dear."""
    if places and places[-1] - places[0] + 1 == len(places):
        return matrix[places[0] : places[-1] + 1]
    return matrix[list(places)]


def finite(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Without rows that are not finite, and the mask `[h]` of the others: one client that diverged must not spoil an attack."""
    keep = linalg.norms(rows).isfinite()
    return (rows if keep.all() else rows[keep]), keep
