"""Groups of numbers on a line: exact k-means by dynamic programming, and how many groups there are by the gap statistic."""

import torch
from torch import Tensor


def within_squares(values: Tensor, most: int) -> Tensor:
    """The least sum of squares around the means of k groups, k = 1..`most`, `[r, most]`; for ascending rows `[r, n]` float64.

    Groups on a line are intervals, so the best k of them end in an interval behind the best k − 1. Time O(r n² most).
    """
    r, n = values.shape
    zero = values.new_zeros(r, 1)
    sums, squares = torch.cat([zero, values.cumsum(1)], 1), torch.cat([zero, values.square().cumsum(1)], 1)
    count = torch.arange(n + 1, device=values.device)
    size = (count[None] - count[:, None]).clamp(min=1)
    sum_of = sums[:, None] - sums[:, :, None]  # of the interval [i, j)
    cost = (squares[:, None] - squares[:, :, None] - sum_of.square() / size).clamp(min=0)
    cost = cost.masked_fill(count[:, None] > count, torch.inf)
    best, found = cost[:, 0], [cost[:, 0, n]]
    for _ in range(1, most):
        best = (best[:, :, None] + cost).amin(dim=1)
        found.append(best[:, n])
    return torch.stack(found, dim=1)


def two_groups(values: Tensor) -> Tensor:
    """The mask `[n]` of the upper of the two groups that k-means makes of numbers `[n]`; equal numbers stay together."""
    ascending = values.sort().values
    n = len(values)
    ends = torch.arange(1, n, device=values.device)
    lower, upper = ascending.cumsum(0)[:-1], ascending.flip(0).cumsum(0).flip(0)[1:]
    between = (lower / ends - upper / (n - ends)).square() * ends * (n - ends)
    return values > ascending[int(between.argmax())]


def number_of_groups(values: Tensor, generator: torch.Generator, *, most: int = 10, references: int = 20) -> int:
    """The smallest k with gap(k) >= gap(k + 1) − s(k + 1), for numbers `[n]` against uniform ones on the same range.

    Reference: Tibshirani, Walther, Hastie, Estimating the Number of Clusters in a Data Set via the Gap Statistic, JRSS B 2001.
    """
    values = values.double().sort().values.cpu()
    width = float(values[-1] - values[0])
    if len(values) < 3 or width <= 1e-9 * float(values.abs().max()):
        return 1
    most = min(most, len(values) - 1)
    uniform = torch.rand(references, len(values), generator=generator, dtype=torch.float64).sort(dim=1).values
    squares = within_squares(torch.cat([((values - values[0]) / width)[None], uniform]), most)
    # Squares that cancel to nothing are rounding: no group is tighter than that.
    logs = squares.clamp(min=1e-12).log()
    gap, spread = logs[1:].mean(0) - logs[0], logs[1:].std(0, correction=0) * (1 + 1 / references) ** 0.5
    stays = gap[:-1] >= gap[1:] - spread[1:]
    return int(stays.int().argmax()) + 1 if stays.any() else most
