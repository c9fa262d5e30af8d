"""Leaderboards: the last scores of every finished cell, as mean and deviation over seeds; the best are marked, ties too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Self

from scipy.special import stdtr

from phalanx.core.errors import ConfigError
from phalanx.experiments.sweep import Cell, Sweep
from phalanx.experiments.sweep_record import SweepRecord

CONFIDENCE = 0.95
METRICS = {"accuracy": True, "attack_success": False}  # and whether more of it is better
Place = tuple[str, str]  # a row and a column


@dataclass(frozen=True)
class Score:
    """One field of a leaderboard: the values by seed, and whether it is the best of its column or not shown to be worse."""

    values: Mapping[int, float]
    is_best: bool

    @property
    def mean(self) -> float:
        """Over the finished seeds."""
        return fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over seeds; None for a single one."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Leaderboard:
    """One metric of a sweep: rows down, columns across. Pairs without a finished run, or without this metric, are missing."""

    metric: str
    higher_is_better: bool
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scores: Mapping[Place, Score]


@dataclass(frozen=True)
class Grid:
    """Where the cells of a sweep stand in a table: repetitions of a cell with other seeds share a place."""

    row_axis: str
    column_axis: str
    places: Mapping[Cell, Place]

    @classmethod
    def of(cls, sweep: Sweep, *, columns: str | None = None) -> Self:
        """`columns` names the axis that goes across; the last one by default. The others, joined, are the rows.

        Raises: ConfigError if there is no such axis.
        """
        names = [axis.name for axis in sweep.axes]
        if columns is not None and columns not in names:
            raise ConfigError(f"The sweep has no axis {columns!r}; it has: {', '.join(names) or 'none'}.")
        across = columns or (names[-1] if len(names) > 1 else "")
        down = [name for name in names if name != across]
        places = {cell: (", ".join(cell.place[name] for name in down), cell.place.get(across, "")) for cell in sweep.cells}
        return cls(", ".join(down), across, places)

    @property
    def rows(self) -> tuple[str, ...]:
        """In the order of the sweep."""
        return tuple(dict.fromkeys(row for row, _ in self.places.values()))

    @property
    def columns(self) -> tuple[str, ...]:
        """In the order of the sweep."""
        return tuple(dict.fromkeys(column for _, column in self.places.values()))


def leaderboards(record: SweepRecord, *, columns: str | None = None) -> tuple[Leaderboard, ...]:
    """Accuracy, and attack success where an adversary has a target; `columns` as in `Grid.of`.

    Raises: ConfigError if there is no such axis.
    """
    grid = Grid.of(record.sweep, columns=columns)
    boards = []
    for metric, higher in METRICS.items():
        values: dict[Place, dict[int, float]] = {}
        for cell, place in grid.places.items():
            run = record.runs.get(cell)
            value = run.final.get(metric) if run is not None and run.is_finished else None
            if value is not None:
                values.setdefault(place, {})[cell.seed] = float(value)
        if values:
            scores = {place: Score(by_seed, place in _best(values, place[1], higher)) for place, by_seed in values.items()}
            shown = tuple(name for name in grid.columns if any(column == name for _, column in values))
            boards.append(Leaderboard(metric, higher, grid.row_axis, grid.column_axis, grid.rows, shown, scores))
    return tuple(boards)


def _best(values: Mapping[Place, Mapping[int, float]], column: str, higher: bool) -> Sequence[Place]:
    """The rows of a column that are best, or not shown to be worse: a one-sided paired t-test over the seeds that both have.

    With a single seed nothing can be told: only equal values are tied with the best.
    """
    sign = 1.0 if higher else -1.0
    rivals = {place: by_seed for place, by_seed in values.items() if place[1] == column}
    top = max(rivals, key=lambda place: sign * fmean(rivals[place].values()))
    return [place for place in rivals if place == top or _is_tied(rivals[place], rivals[top])]


def _is_tied(values: Mapping[int, float], best: Mapping[int, float]) -> bool:
    seeds = sorted(values.keys() & best.keys())
    gaps = [values[seed] - best[seed] for seed in seeds]
    if not any(gaps):
        return bool(gaps)
    if len(gaps) < 2 or stdev(gaps) == 0:
        return False
    t = fmean(gaps) / (stdev(gaps) / len(gaps) ** 0.5)
    return bool(stdtr(len(gaps) - 1, -abs(t)) > 1 - CONFIDENCE)
