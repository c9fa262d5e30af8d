"""What attacks cost in a sweep: accuracy lost, and backdoors' success, for every rule (row) and attack (column)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from phalanx.experiments.sweep import Cell
from phalanx.experiments.sweep_record import SweepRecord

Place = tuple[str, str]  # a row and a column


@dataclass(frozen=True)
class Losses:
    """A map over a sweep's last two axes, at one point of the others (`where`; empty if there are none).

    `reference`: the best accuracy that a rule has here when nobody attacks. `lost[row, column]`: how far below it the accuracy
    is; in the columns where nobody attacks, that is the price of the rule itself. `success[row, column]`: the attack's success,
    or how often an unattacked model does by itself what the attacker wants. Means over seeds of finished cells; what is missing
    has no entry.
    """

    where: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    unattacked: frozenset[str]
    reference: float
    lost: Mapping[Place, float]
    success: Mapping[Place, float]

    @cached_property
    def worst(self) -> Mapping[str, tuple[float, str]]:
        """For each row with a finished attack the most that any of them costs, and the attack's name."""
        found = {row: [(self.lost[row, name], name) for name in self.attacks if (row, name) in self.lost] for row in self.rows}
        return {row: max(costs, key=lambda cost: cost[0]) for row, costs in found.items() if costs}

    @property
    def attacks(self) -> tuple[str, ...]:
        """The columns in which somebody attacks."""
        return tuple(column for column in self.columns if column not in self.unattacked)

    def has_all(self, row: str) -> bool:
        """Whether every attack on this row is finished: else its worst case may be worse than `worst` says."""
        return all((row, column) in self.lost for column in self.attacks)


def losses(record: SweepRecord) -> tuple[Losses, ...]:
    """A map for every point of the axes before the last two; none where nothing says what accuracy is without an attack."""
    axes = [axis.name for axis in record.sweep.axes]
    if len(axes) < 2:
        return ()
    *others, down, across = axes
    points: dict[str, dict[Place, list[Cell]]] = {}
    for cell in record.sweep.cells:
        where = ", ".join(cell.place[name] for name in others)
        points.setdefault(where, {}).setdefault((cell.place[down], cell.place[across]), []).append(cell)
    maps = (_map(record, where, cells) for where, cells in points.items())
    return tuple(found for found in maps if found is not None)


def _map(record: SweepRecord, where: str, cells: Mapping[Place, list[Cell]]) -> Losses | None:
    accuracy, success = (_means(record, cells, metric) for metric in ("accuracy", "attack_success"))
    rows, columns = (tuple(dict.fromkeys(place[axis] for place in cells)) for axis in (0, 1))
    attacked = {place[1] for place in cells if any(map(_is_attacked, cells[place]))}
    unattacked = frozenset(columns) - attacked
    clean = [value for (_, column), value in accuracy.items() if column in unattacked]
    if not clean or len(unattacked) == len(columns):
        return None
    reference = max(clean)
    lost = {place: reference - value for place, value in accuracy.items()}
    return Losses(where, rows, columns, unattacked, reference, lost, success)


def _means(record: SweepRecord, cells: Mapping[Place, list[Cell]], metric: str) -> dict[Place, float]:
    """Over the seeds, where all of them are finished."""
    found = {}
    for place, seeds in cells.items():
        runs = [record.runs.get(cell) for cell in seeds]
        values = [run.final.get(metric) for run in runs if run is not None and run.is_finished]
        if len(values) == len(seeds) and None not in values:
            found[place] = fmean(float(value) for value in values if value is not None)
    return found


def _is_attacked(cell: Cell) -> bool:
    return cell.experiment.adversary.attacks_within(cell.experiment.run.rounds)
