"""Numbers as a reader wants them, and how runs of a group become one: mean and spread."""

from collections.abc import Sequence
from statistics import fmean, stdev

MISSING = "–"


def percent(value: float | None) -> str:
    """A share as a percentage, or a dash.

    >>> percent(0.8765), percent(None)
    ('87.6\\xa0%', '–')
    """
    return MISSING if value is None else f"{value * 100:.1f}\N{NO-BREAK SPACE}%"


def mean_percent(values: Sequence[float]) -> str:
    """Mean and, for more than one value, the sample standard deviation, in percent.

    >>> mean_percent([0.5]), mean_percent([0.5, 0.6]), mean_percent([])
    ('50.0\\xa0%', '55.0\\xa0±\\xa07.1\\xa0%', '–')
    """
    if len(values) < 2:
        return percent(values[0] if values else None)
    return f"{fmean(values) * 100:.1f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{percent(stdev(values))}"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "round"), count(1200, "client")
    ('1 round', '1,200 clients')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.0001), seconds(0.0123), seconds(4.2), seconds(75), seconds(7500)
    ('< 1 ms', '12 ms', '4.2 s', '1 min 15 s', '2 h 5 min')
    """
    if 0 < value < 0.0005:
        return "< 1 ms"
    if value < 0.995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
