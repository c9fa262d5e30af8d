"""`PrivacyPlan`: any three of ε, δ, z and T give the fourth."""

from dataclasses import dataclass
from typing import Self, TypedDict, Unpack

from phalanx.core.errors import ConfigError
from phalanx.core.privacy import Neighbours, Sampling
from phalanx.privacy import accounting
from phalanx.privacy.accountants import AccountantName
from phalanx.privacy.accounting import Counting


class Known(TypedDict, total=False):
    """What is known of a plan: the sample rate, and three of the others."""

    sample_rate: float
    epsilon: float | None
    delta: float | None
    noise_multiplier: float | None
    steps: int | None


@dataclass(frozen=True)
class PrivacyPlan:
    """`steps` noised sums (T) with noise z at sampling rate q, and the (ε, δ) that they cost as one accountant counts it."""

    epsilon: float
    delta: float
    noise_multiplier: float
    steps: int
    sample_rate: float
    sampling: Sampling
    accountant: AccountantName
    neighbours: Neighbours

    @classmethod
    def solve(
        cls,
        *,
        sample_rate: float,
        epsilon: float | None = None,
        delta: float | None = None,
        noise_multiplier: float | None = None,
        steps: int | None = None,
        **counting: Unpack[Counting],
    ) -> Self:
        """The plan of which exactly three of `epsilon`, `delta`, `noise_multiplier` and `steps` are given.

        What is found costs at most what was asked for: z is rounded up, T down. ε and δ are those of the whole plan.

        Raises: ConfigError if not three are given, a value is out of range, or no value of the fourth does it.
        """
        sampling, accountant, neighbours = accounting.settled(**counting)
        if (epsilon, delta, noise_multiplier, steps).count(None) != 1:
            raise ConfigError("A privacy plan needs exactly three of epsilon, delta, noise multiplier and steps.")
        e, d, z, t = epsilon or 0.0, delta or 0.0, noise_multiplier or 0.0, steps or 0
        if epsilon is None:
            e = accounting.epsilon(z, sample_rate, t, d, **counting)
        elif delta is None:
            d = accounting.delta(e, z, sample_rate, t, **counting)
        elif noise_multiplier is None:
            z = accounting.noise_multiplier(e, sample_rate, t, d, **counting)
        else:
            t = accounting.steps(e, z, sample_rate, d, **counting)
        return cls(e, d, z, t, sample_rate, sampling, accountant, neighbours)

    def curve(self, points: int = 40) -> list[tuple[int, float]]:
        """ε after so many steps, at most `points` of them, evenly spaced; the last is the plan's end."""
        every = -(-self.steps // points) if self.steps else 1
        after = [*range(every, self.steps, every), self.steps]
        return [(count, self._epsilon(count)) for count in after]

    def _epsilon(self, steps: int) -> float:
        return accounting.epsilon(
            self.noise_multiplier,
            self.sample_rate,
            steps,
            self.delta,
            sampling=self.sampling,
            accountant=self.accountant,
            neighbours=self.neighbours,
        )
