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
FEWEST_SEEDS = 3
METRICS = {"accuracy": True, "attack_success": False}  # and whether more of it is better
Place = tuple[str, str]  # a row and a column


@dataclass(frozen=True)
class Score:
    """One field of a leaderboard: the values by seed, and where it stands in its column.

    `is_best`: it has the best mean. `is_tied`: it has not, but is not shown to be worse. `is_complete`: it has a value for all
    seeds that other rows of the column have; others stand outside of the competition.
    """

    values: Mapping[int, float]
    is_best: bool = False
    is_tied: bool = False
    is_complete: bool = True

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
            scores = {place: score for name in grid.columns for place, score in _judged(values, name, higher).items()}
            shown = tuple(name for name in grid.columns if any(column == name for _, column in values))
            boards.append(Leaderboard(metric, higher, grid.row_axis, grid.column_axis, grid.rows, shown, scores))
    return tuple(boards)


def _judged(values: Mapping[Place, Mapping[int, float]], column: str, higher: bool) -> dict[Place, Score]:
    """The scores of one column. Only rows with all its seeds compete: means over different seeds are no comparison."""
    rivals = {place: by_seed for place, by_seed in values.items() if place[1] == column}
    seeds = {seed for by_seed in rivals.values() for seed in by_seed}
    complete = {place: by_seed for place, by_seed in rivals.items() if by_seed.keys() == seeds}
    sign = 1.0 if higher else -1.0
    top = max(complete.values(), key=lambda by_seed: sign * fmean(by_seed.values()), default={})

    def judge(place: Place, by_seed: Mapping[int, float]) -> Score:
        if place not in complete:
            return Score(by_seed, is_complete=False)
        is_best = fmean(by_seed.values()) == fmean(top.values())
        return Score(by_seed, is_best, not is_best and _is_tied([sign * (top[seed] - by_seed[seed]) for seed in sorted(seeds)]))

    return {place: judge(place, by_seed) for place, by_seed in rivals.items()}


def _is_tied(gaps: Sequence[float]) -> bool:
    """Whether a one-sided paired t-test leaves open that a row is as good as the best, which leads by `gaps`, one a seed.

    Fewer than three seeds tell nothing, so nothing is called a tie.
    """
    if len(gaps) < FEWEST_SEEDS or stdev(gaps) == 0:
        return False
    t = fmean(gaps) / (stdev(gaps) / len(gaps) ** 0.5)
    return bool(stdtr(len(gaps) - 1, -t) > 1 - CONFIDENCE)
