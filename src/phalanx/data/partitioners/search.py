"""Dealing again until every client has enough: the step that all random partitioners share, with an end to it."""

from collections.abc import Callable

from torch import Tensor

from phalanx.core.errors import DataError

_TRIES = 100
_MOST_CLIENTS = 1_000_000


def search(deal: Callable[[], list[Tensor]], *, min_samples: int, who: str, remedy: str) -> list[Tensor]:
    """The first of at most 100 deals in which every client has at least `min_samples` samples.

    Raises: DataError naming the best deal and the remedy.
    """
    best = 0
    for _ in range(_TRIES):
        parts = deal()
        smallest = min(map(len, parts))
        if smallest >= min_samples:
            return parts
        best = max(best, smallest)
    raise DataError(
        f"{who} found no deal in {_TRIES} tries with at least {min_samples} samples a client; "
        f"the best had {best} for the smallest. {remedy}"
    )


def enough(count: int, num_clients: int, min_samples: int, who: str) -> None:
    """Refuse what no deal can give: `count` samples for `num_clients` clients with `min_samples` each.

    Raises: DataError if the samples are too few, or the clients more than anyone can hold.
    """
    if not count:
        raise DataError(f"{who} has no samples to deal: the root set took all of them. Lower root.size.")
    if num_clients > _MOST_CLIENTS:
        raise DataError(f"{who} deals to at most {_MOST_CLIENTS:,} clients; got {num_clients:,}. Lower num_clients.")
    if count < num_clients * min_samples:
        raise DataError(
            f"{who} needs at least {num_clients} x {min_samples} samples; got {count}. Lower num_clients or min_samples."
        )
