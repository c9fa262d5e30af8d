"""`check_aggregator`: all laws on anyone's rule, in one line of the author's test."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.testing.kappa_bound import kappa_bound
from phalanx.testing.laws import LAWS, Law

_MOST_ROWS = 1000


def check_aggregator(
    rule: Aggregator,
    *,
    exempt: Mapping[str, str] | None = None,
    kappa: Callable[[int, int], float] | None = None,
) -> None:
    """Run every law on the rule; `exempt` names those it does not promise, each with the reason why.

    `kappa(n, f)` is the (f, κ)-robustness bound, where one is known. An exemption from a law that holds on every case is an
    error too, so that the list of exemptions stays true.

    Raises: AssertionError with the law, the rule, the rows and what was seen; ValueError for the name of a law that does not
    exist.
    >>> from phalanx.aggregators import Krum
    >>> check_aggregator(Krum(num_byzantine=1), exempt={"mean_without_byzantine": "it picks one row"})
    """
    exempt = exempt or {}
    if unknown := exempt.keys() - LAWS.keys():
        raise ValueError(f"There is no law {', '.join(sorted(unknown))}. The laws are: {', '.join(LAWS)}.")
    cases = dict(_cases(_enough(rule)))
    for name, law in LAWS.items():
        broken = next(_violations(name, law, rule, cases), None)
        if name not in exempt and broken is not None:
            raise broken
        if name in exempt and broken is None:
            raise AssertionError(f"{rule} is exempt from the law {name!r} ({exempt[name]}), yet obeys it: drop the exemption.")
    if kappa is not None:
        f = getattr(rule, "num_byzantine", 0)
        bounded = {case: rows for case, rows in cases.items() if len(rows) > 2 * f}
        for violation in _violations("kappa_bound", lambda r, x: kappa_bound(r, x, kappa(len(x), f)), rule, bounded):
            raise violation


def _violations(name: str, law: Law, rule: Aggregator, cases: Mapping[str, Tensor]) -> Iterator[AssertionError]:
    for case, rows in cases.items():
        try:
            law(rule, rows)
        except AssertionError as error:
            yield AssertionError(f"{rule} breaks the law {name!r} on {case} rows {rows.tolist()}: {error}")


def _enough(rule: Aggregator) -> int:
    """The smallest number of rows that the rule takes."""
    for n in range(1, _MOST_ROWS):
        try:
            rule.require(n)
        except PreconditionError:
            continue
        return n
    raise AssertionError(f"{rule} takes no number of rows below {_MOST_ROWS}.")


def _cases(fewest: int) -> Iterator[tuple[str, Tensor]]:
    """Rows by what is special about them, from the fewest that the rule takes to a few more; some with an even n."""
    generator = torch.Generator().manual_seed(0)

    def normal(n: int, d: int) -> Tensor:
        return torch.randn(n, d, generator=generator)

    yield "the fewest", normal(fewest, 5)
    yield "random", normal(fewest + 5, 7)
    yield "one-dimensional", normal(fewest + 4, 1)
    yield "tied", normal(fewest + 6, 3).round()
    yield "duplicated", normal(fewest + 3, 4).repeat(2, 1)
    yield "equidistant", torch.eye(fewest + 3)
    yield "nearly equal", normal(1, 6) + 1e-3 * normal(fewest + 4, 6)
    yield "differently long", normal(fewest + 5, 6) * torch.logspace(-2, 2, fewest + 5)[:, None]
    lengths = torch.logspace(0, 3, fewest + 5)
    yield "constant in a column", torch.stack([torch.ones_like(lengths), lengths], dim=1)
    yield "in two camps", normal(fewest + 6, 4) + 4 * (torch.arange(fewest + 6) % 2)[:, None]
