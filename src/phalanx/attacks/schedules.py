"""When attackers attack. Outside of their schedule they train and send like everyone else. Rounds count from 0."""

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from phalanx.core.errors import ConfigError
from phalanx.core.families import Schedule

_Rounds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]


class Always(Schedule):
    """Every round."""

    def is_active(self, round: int, attacker: int) -> bool:
        """True."""
        return True


class Never(Schedule):
    """No round: the attackers exist, are counted, and stay honest. The control of an experiment."""

    def is_active(self, round: int, attacker: int) -> bool:
        """False."""
        return False


class Rounds(Schedule):
    """The listed rounds, all attackers at once.

    >>> [Rounds((0, 4)).is_active(round, attacker=0) for round in (0, 1, 4)]
    [True, False, True]
    """

    rounds: _Rounds

    def is_active(self, round: int, attacker: int) -> bool:
        """Whether the round is listed."""
        return round in self.rounds


class FromTo(Schedule):
    """Every round from `first` to `last`, both included: FLIP's continuous attack.

    >>> [FromTo(first=2, last=3).is_active(round, attacker=0) for round in (1, 2, 3, 4)]
    [False, True, True, False]
    """

    _: KW_ONLY
    first: NonNegativeInt = 0
    last: NonNegativeInt | None = None
    """None: until the run ends."""

    def __post_init__(self) -> None:
        if self.last is not None and self.last < self.first:
            raise ConfigError(f"FromTo needs first <= last; got first={self.first}, last={self.last}. Swap them.")

    def is_active(self, round: int, attacker: int) -> bool:
        """Whether the round lies between the two."""
        return self.first <= round and (self.last is None or round <= self.last)


class EveryRounds(Schedule):
    """Every k-th round, beginning with `first`.

    >>> [EveryRounds(3, first=1).is_active(round, attacker=0) for round in (0, 1, 2, 3, 4)]
    [False, True, False, False, True]
    """

    k: PositiveInt
    _: KW_ONLY
    first: NonNegativeInt = 0

    def is_active(self, round: int, attacker: int) -> bool:
        """Whether the round is `first` or a multiple of k after it."""
        return round >= self.first and (round - self.first) % self.k == 0


class Staggered(Schedule):
    """Attacker number j attacks once, in `rounds[j]`: FLIP's single-shot attack. Attackers beyond the list never attack.

    >>> [Staggered((12, 14)).is_active(14, attacker) for attacker in (0, 1, 2)]
    [False, True, False]
    """

    rounds: _Rounds

    def is_active(self, round: int, attacker: int) -> bool:
        """Whether this is the attacker's round."""
        return attacker < len(self.rounds) and self.rounds[attacker] == round

    def begins_before(self, round: int) -> bool:
        """Whether one of the rounds is before this one, if there are as many attackers."""
        return min(self.rounds) < round
