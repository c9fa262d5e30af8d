"""`PrivacyStatement`: an ε with all that it means, in one line. An ε is printed nowhere without it."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Self

from phalanx.core.privacy import Mechanism, Neighbours, Sampling, Unit
from phalanx.privacy.accountants import AccountantName

SAMPLINGS: dict[Sampling, str] = {"poisson": "Poisson", "fixed_size": "fixed-size", "none": "no"}


@dataclass(frozen=True)
class PrivacyStatement:
    """Who is hidden from whom, how well, and how that was counted.

    >>> print(PrivacyStatement(1.1342, 1e-5, "client", "add/remove", "poisson", "pld", "the server"))
    ε = 1.14 · each client · add/remove · δ = 1e-05 · Poisson sampling · PLD · trusted: the server
    """

    epsilon: float
    delta: float
    unit: Unit
    neighbours: Neighbours
    sampling: Sampling
    accountant: AccountantName
    trusted: str

    @classmethod
    def of(cls, mechanism: Mechanism, epsilon: float, *, delta: float, accountant: AccountantName) -> Self:
        """What this mechanism promises at this price; with noise from the seed, whoever knows the seed has to be trusted."""
        who = [mechanism.trusted, "whoever knows run.seed" if mechanism.is_reproducible else None]
        return cls(
            epsilon=epsilon,
            delta=delta,
            unit=mechanism.unit,
            neighbours=mechanism.neighbours,
            sampling=mechanism.sampling,
            accountant=accountant,
            trusted=", ".join(party for party in who if party) or "nobody",
        )

    def __str__(self) -> str:
        return (
            f"ε = {shown(self.epsilon)} · each {self.unit} · {self.neighbours} · δ = {self.delta:g} · "
            f"{SAMPLINGS[self.sampling]} sampling · {self.accountant.upper()} · trusted: {self.trusted}"
        )


def shown(epsilon: float) -> str:
    """ε with three digits, rounded up: a bound that is printed must hold.

    >>> shown(1.1342), shown(0.01), shown(16.561), shown(344.4), shown(float("inf"))
    ('1.14', '0.01', '16.6', '345', '∞')
    """
    if epsilon == float("inf"):
        return "∞"
    return f"{Context(prec=3, rounding=ROUND_CEILING).create_decimal(Decimal(repr(epsilon))):f}"
