"""Choosing rows by a score, so that neither their order nor rounding decides between equals."""

from torch import Tensor

from phalanx.core.types import Updates

TIE = 1e-6
"""Scores this close (relative) are equal: float32 distances are not exact beyond it."""


def smallest(scores: Tensor, count: int, updates: Updates) -> Tensor:
    """The mask `[..., n]` of the `count` rows with the smallest scores `[..., n]`; among equal scores the smaller content.

    Content is lexicographic order: the choice does not depend on who stands where.
    """
    limit = scores.kthvalue(count, dim=-1, keepdim=True).values
    chosen = scores < limit * (1 - TIE)
    tied = (scores <= limit * (1 + TIE)) & ~chosen
    if ((chosen | tied).sum(dim=-1) == count).all():
        return chosen | tied
    order = updates.content_rank.argsort()
    room = count - chosen.sum(dim=-1, keepdim=True)
    in_order = tied[..., order]
    chosen[..., order] |= in_order & (in_order.cumsum(dim=-1) <= room)
    return chosen
