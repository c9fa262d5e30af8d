"""RobustLearningRate: coordinates without enough agreement are moved the other way."""

from typing import ClassVar

import torch
from pydantic import PositiveInt

from phalanx.aggregators.mean import shares_of
from phalanx.aggregators.sign_vote import sum_of_signs
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class RobustLearningRate(Aggregator):
    """The mean, with the opposite sign in every coordinate where |Σ sign(x_i)| < `threshold`.

    A backdoor moves coordinates that the honest clients leave alone or move elsewhere: there it is unlearnt. So is what honest
    clients disagree on, which costs accuracy on heterogeneous data; and no size is bounded: put ClipNorm in front. The paper
    takes thresholds from 4 of 10 to n/2. Time O(n d), memory O(d).

    Raises: PreconditionError unless n >= threshold: with fewer rows no coordinate could ever reach it.
    Reference: Ozdayi, Kantarcioglu, Gel, Defending against Backdoors in Federated Learning with Robust Learning Rate, AAAI 2021
    (arXiv 2007.03767), Section 4.
    >>> RobustLearningRate(threshold=3)(torch.tensor([[1., 1.], [1., 1.], [1., -5.]]))
    tensor([1., 1.])
    """

    uses_weights: ClassVar[bool] = True

    threshold: PositiveInt

    def require(self, n: int) -> None:
        if n < self.threshold:
            raise PreconditionError(
                f"RobustLearningRate needs n >= threshold updates; got n={n}, threshold={self.threshold}. Lower the threshold."
            )

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        agreed = sum_of_signs(updates).abs() >= self.threshold
        mean = updates.weighted_sum(shares_of(updates, who="RobustLearningRate"))
        metrics = {"reversed": 1 - float(agreed.double().mean())}
        return Aggregate(torch.where(agreed, mean, -mean), metrics=metrics), state
