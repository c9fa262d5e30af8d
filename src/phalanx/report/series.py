"""What happened over rounds, as few numbers as an eye can tell apart: means over bins of rounds, bands over seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from phalanx.report.group import Group

MOST_POINTS = 200
EventDict = Mapping[str, Any]


@dataclass(frozen=True)
class Band:
    """One line: `rounds`, counted from 1, and over the runs the mean, the lowest and the highest value."""

    rounds: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def evaluations(group: Group, metric: str) -> Band | None:
    """A metric of the evaluations, at rounds that every run of the group has reached, thinned; None if there are none."""
    return _band([_values(run.evaluations, metric) for run in group.runs], binned=False)


def over_rounds(group: Group, metric: str) -> Band | None:
    """A number of the round events: means over bins of rounds where there are more than MOST_POINTS of them."""
    return _band([_values(run.rounds, metric) for run in group.runs], binned=True)


def last_values(bands: Mapping[str, Band], written: Callable[[float], str]) -> str:
    """Where each line ends, in words. Not all may end in the same round: a line goes as far as the slowest seed has come.

    >>> last_values({"a": Band([1, 3], [0, 5], [], []), "b": Band([1], [2], [], [])}, str)
    'At round 3: a 5. At round 1: b 2.'
    """
    ends: dict[float, list[str]] = {}
    for name, band in bands.items():
        ends.setdefault(band.rounds[-1], []).append(f"{name} {written(band.mean[-1])}")
    return " ".join(f"At round {round:.0f}: {', '.join(told)}." for round, told in ends.items())


def bin_size(rounds: int, most: int = MOST_POINTS) -> int:
    """How many rounds one point stands for.

    >>> bin_size(200), bin_size(201), bin_size(1000)
    (1, 2, 5)
    """
    return max(1, -(-rounds // most))


def thinned(count: int, most: int = MOST_POINTS) -> list[int]:
    """Evenly spaced places among `count`, the first and the last among them.

    >>> thinned(7, 4), thinned(3, 4)
    ([0, 2, 4, 6], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _values(events: Sequence[EventDict], metric: str) -> dict[int, float]:
    found = ((event["round"] + 1, event.get(metric)) for event in events)
    return {round: float(value) for round, value in found if value is not None}


def _band(runs: Sequence[Mapping[int, float]], *, binned: bool) -> Band | None:
    shared = sorted(set(runs[0]).intersection(*runs[1:]))
    if not shared:
        return None
    size = bin_size(len(shared)) if binned else 1
    bins = [shared[place : place + size] for place in range(0, len(shared), size)]
    bins = [bins[place] for place in thinned(len(bins))]
    points = [[fmean(run[round] for round in rounds) for run in runs] for rounds in bins]
    return Band(
        [fmean(rounds) for rounds in bins],
        [fmean(point) for point in points],
        [min(point) for point in points],
        [max(point) for point in points],
    )
