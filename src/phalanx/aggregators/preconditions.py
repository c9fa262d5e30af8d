"""How many updates rules need, in the words that their errors share."""

from phalanx.core.errors import PreconditionError

REMEDY = "Lower num_byzantine or sample more clients."


def require_majority(who: str, n: int, f: int) -> None:
    """Raise PreconditionError unless n > 2f."""
    if n <= 2 * f:
        raise PreconditionError(f"{who} needs n > 2f updates; got n={n}, f={f}. {REMEDY}")


def require_krum(who: str, n: int, f: int) -> None:
    """Raise PreconditionError unless n >= 2f + 3."""
    if n < 2 * f + 3:
        raise PreconditionError(f"{who} needs n >= 2f + 3 updates; got n={n}, f={f}. {REMEDY}")
