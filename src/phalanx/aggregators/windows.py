"""The mean of the values of a column that lie nearest to a centre: what MeaMed, Phocas and Bulyan end in."""

import torch
from torch import Tensor

from phalanx.aggregators.selection import TIE


def nearest_mean(ascending: Tensor, centre: Tensor, count: int) -> Tensor:
    """Mean of the `count` values nearest to `centre` `[w]`, for each ascending row of `[w, n]`; of two as near, the smaller.

    They stand side by side. The window may begin one place further right as long as its first value is farther from the centre
    than the one right behind its end, which is true for the first places only: their number is where it begins.
    """
    n = ascending.shape[1]
    dropped = n - count
    if dropped == 0:
        return ascending.mean(dim=1)
    first, behind = ascending[:, :dropped], ascending[:, count:]
    # Halved: the difference of two finite values may not be finite.
    further_left = (centre * 0.5)[:, None] - first * 0.5
    further_right = behind * 0.5 - (centre * 0.5)[:, None]
    start = (further_left > further_right + TIE * (behind * 0.5 - first * 0.5)).sum(dim=1, keepdim=True)
    place = torch.arange(n, device=ascending.device)
    inside = (place >= start) & (place < start + count)
    return torch.where(inside, ascending, 0).sum(dim=1) / count
