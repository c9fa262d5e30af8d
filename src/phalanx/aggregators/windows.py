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
    half = (centre * 0.5)[:, None]
    left, minus_right = torch.sub(half, first, alpha=0.5), torch.sub(half, behind, alpha=0.5)
    moves_on = left.add_(minus_right, alpha=1 + 2 * TIE) > 0
    # Wherever it begins, it holds one value of each place modulo `count`: that of its beginning or the one behind the end.
    window = rest = ascending[:, :count]
    for start in range(0, dropped, count):
        turn = slice(start, min(start + count, dropped))
        width = turn.stop - start
        window, rest = torch.where(moves_on[:, turn], behind[:, turn], window[:, :width]), window[:, width:]
    return (window.sum(dim=1) + rest.sum(dim=1)) / count
