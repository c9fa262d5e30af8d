"""What goes on beside the searches of a trigger inversion: what a pixel costs, and who has ended."""

import torch
from torch import Tensor

_FIRST_COST, _DEARER, _CHEAPER = 1e-3, 1.5, 1.5**1.5
_SHRUNK = 0.99
"""Times the mask that counted as progress last: less is progress again."""


class CostSchedule:
    """What a pixel costs in each of T searches: dearer after `patience` successes in a row, cheaper after as many failures."""

    def __init__(self, start: float, patience: int, count: int, device: torch.device | None = None) -> None:
        self.values = torch.full((count,), start, device=device)
        self._patience, self._streak = patience, torch.zeros(count, dtype=torch.int64, device=device)

    def update(self, is_success: Tensor) -> None:
        """After a step, with who succeeded `[T]`."""
        self._streak = torch.where(is_success, self._streak.clamp(min=0) + 1, self._streak.clamp(max=0) - 1)
        raised = torch.where(self.values == 0, _FIRST_COST, self.values * _DEARER)
        up, down = self._streak >= self._patience, self._streak <= -self._patience
        self.values = torch.where(up, raised, torch.where(down, self.values / _CHEAPER, self.values))
        self._streak.masked_fill_(up | down, 0)


class Progress:
    """Which of T searches have ended: those that found something, and made no progress for `stall` steps (None: never)."""

    def __init__(self, stall: int | None, count: int, device: torch.device | None = None) -> None:
        self.ended, self.has_news = torch.zeros(count, dtype=torch.bool, device=device), False
        self._stall, self._idle = stall, torch.zeros(count, dtype=torch.int64, device=device)
        self._last = torch.full((count,), torch.inf, device=device)

    def update(self, best_sizes: Tensor) -> None:
        """After a step, with the smallest masks so far `[T]`, infinite where there is none."""
        if self._stall is None:
            return
        is_progress = best_sizes < _SHRUNK * self._last
        self._last = torch.where(is_progress, best_sizes, self._last)
        self._idle = torch.where(is_progress | best_sizes.isinf(), 0, self._idle + 1)
        ended = self.ended | (self._idle >= self._stall)
        self.has_news, self.ended = bool((ended != self.ended).any()), ended
