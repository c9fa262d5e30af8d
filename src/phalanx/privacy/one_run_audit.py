"""`OneRunAudit`: a lower bound on ε from one run into which canaries were put by fair coins.

Nothing here knows the mechanism. Whoever ran it says how each canary scored, and which were in.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from phalanx.core.errors import ConfigError

SHARES = (0.2, 0.5, 1.0)
"""How many of the canaries are guessed. How sure the best guesses are is not known beforehand, so each share gets its part of
the permitted error: with in and out 1 standard deviation apart the first is best, with 3 the second, with more the third."""
_LARGEST = 64.0


@dataclass(frozen=True)
class OneRunAudit:
    """`correct` of `guesses` were right, so ε is at least `lower_bound` at this confidence, if δ is as claimed.

    `auc`: how often a canary that was in scores higher than one that was not; 0.5 is chance. `most`: what the bound had been
    with all guesses right, so a larger ε cannot be seen.

    Reference: Steinke, Nasr and Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023 (arXiv 2305.08846),
    Theorem 5.2 and its algorithm in appendix D. Differs from the paper: three numbers of guesses are tried and share the error.

    >>> scores = torch.arange(1000.0)
    >>> round(OneRunAudit.of(scores, scores >= 500, delta=0.0).lower_bound, 2)
    5.16
    """

    canaries: int
    guesses: int
    correct: int
    delta: float
    confidence: float
    lower_bound: float
    most: float
    auc: float

    @classmethod
    def of(cls, scores: Tensor, is_in: Tensor, *, delta: float, confidence: float = 0.99) -> Self:
        """Guess that the highest of `scores` `[m]` are in and the lowest are not, and count; `is_in` `[m]` says who was.

        Raises: ConfigError for fewer than 2 canaries, or scores that are NaN.
        """
        m, unknown = len(scores), int(scores.isnan().sum())
        if m < 2 or unknown:
            raise ConfigError(f"An audit needs two canaries at least, and a score of each; got {m}, {unknown} of them NaN.")
        is_right = is_in[scores.argsort(stable=True)]
        each = 1 - (1 - confidence) / len(SHARES)
        tried = list[tuple[float, int, int]]()
        for k in (max(1, int(share * m / 2)) for share in SHARES):
            correct = int((~is_right[:k]).sum()) + int(is_right[-k:].sum())
            tried.append((epsilon_lower_bound(m, 2 * k, correct, delta=delta, confidence=each), 2 * k, correct))
        bound, guesses, correct = max(tried)
        most = max(epsilon_lower_bound(m, n, n, delta=delta, confidence=each) for _, n, _ in tried)
        return cls(m, guesses, correct, delta, confidence, bound, most, auc(scores, is_in))


def epsilon_lower_bound(canaries: int, guesses: int, correct: int, *, delta: float, confidence: float = 0.99) -> float:
    """The largest ε that so many `correct` of the `guesses` contradict at this confidence, 0 if none.

    >>> round(epsilon_lower_bound(1000, 1000, 1000, delta=0.0), 2)
    5.38
    """
    low, high = 0.0, _LARGEST
    if p_value(canaries, guesses, correct, low, delta) >= 1 - confidence:
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        is_contradicted = p_value(canaries, guesses, correct, middle, delta) < 1 - confidence
        low, high = (middle, high) if is_contradicted else (low, middle)
    return low


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """How likely so many `correct` guesses, or more, are at most, if the mechanism is (ε, δ)-private.

    ```
    P[W >= v] + 2 m δ max_i P[v - i <= W < v] / i        W ~ Binomial(r, 1 / (1 + e^-ε)), i = 1 … v
    ```
    The second term is what δ may add: the chance that some canaries are given away, turned into right guesses. O(r).
    """
    right = torch.arange(guesses + 1, dtype=torch.float64)
    wrong = guesses - right
    log_choose = math.lgamma(guesses + 1) - torch.lgamma(right + 1) - torch.lgamma(wrong + 1)
    # log(1 + e^x) by hand: 1 - 1 / (1 + e^-ε) has no digits left at ε = 40.
    chances = (log_choose - right * math.log1p(math.exp(-epsilon)) - wrong * (epsilon + math.log1p(math.exp(-epsilon)))).exp()
    beyond = float(chances[correct:].sum())
    just_below = chances[:correct].flip(0).cumsum(0) / torch.arange(1, correct + 1)
    return min(1.0, beyond + 2 * canaries * delta * float(just_below.max() if correct else 0.0))


def auc(scores: Tensor, is_member: Tensor) -> float:
    """The chance that a member `[n]` scores higher than one that is not, a tie counting half; 0.5 if one kind is missing.

    >>> auc(torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([False, True, False, True]))
    0.875
    """
    members, others = scores[is_member], scores[~is_member].sort().values
    if not len(members) or not len(others):
        return 0.5
    below, up_to = (torch.searchsorted(others, members, right=right) for right in (False, True))
    return float((below + up_to).double().mean()) / (2 * len(others))
