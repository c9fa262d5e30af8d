"""`PrivacyStatement`: an ε with all that it means, in one line. An ε is printed nowhere without it."""

import math
from dataclasses import dataclass, fields
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

    def facts(self) -> dict[str, str | float]:
        """What ε means, by name; `PrivacyStatement(epsilon, **facts)` is the statement again."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "epsilon"}

    def __str__(self) -> str:
        return (
            f"ε = {shown(self.epsilon)} · each {self.unit} · {self.neighbours} · δ = {float(_up(self.delta, 6)):g} · "
            f"{SAMPLINGS[self.sampling]} sampling · {self.accountant.upper()} · trusted: {self.trusted}"
        )


def shown(epsilon: float) -> str:
    """ε with three digits, rounded up.

    >>> shown(1.1342), shown(0.01), shown(16.561), shown(344.4), shown(float("inf"))
    ('1.14', '0.01', '16.6', '345', '∞')
    """
    return "∞" if epsilon == math.inf else f"{_up(epsilon, 3):f}"


def rounded_up(value: float, digits: int = 6) -> float | None:
    """A bound, or the noise that it needs, with so many digits: what is printed must hold. None is an infinite one's JSON.

    >>> rounded_up(5.988919, 5), rounded_up(1e-05), rounded_up(0.1 + 0.2)
    (5.989, 1e-05, 0.300001)
    """
    return None if math.isinf(value) else float(_up(value, digits))


def _up(value: float, digits: int) -> Decimal:
    return Context(prec=digits, rounding=ROUND_CEILING).create_decimal(Decimal(repr(float(value))))
