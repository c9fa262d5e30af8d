"""What attacks cost each rule of a sweep: heat maps of accuracy lost and of backdoors' success, and the worst cases."""

from collections.abc import Mapping, Sequence

from phalanx.experiments import Losses, losses
from phalanx.report.group import Subject
from phalanx.report.heat_map import heat_map
from phalanx.report.panel import Grid, Panel, Piece, Plot, left_out
from phalanx.report.style import ATTACK
from phalanx.report.worst_cases import EXPLANATION, by_worst_case, points, table

MOST_MAPS = 16
FULL = 0.6
"""From this share of accuracy lost on, a field has its full colour: what is left is hardly better than guessing."""


class Robustness(Panel):
    """A map of rules and attacks for each point of a sweep's other axes."""

    title = "Robustness"
    explains = "How far each rule falls below the best accuracy that any has when nobody attacks, in points."
    place = 8

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """The worst cases, then the maps; nothing without a sweep over rules, attacks and no attack."""
        maps = () if subject.sweep is None else losses(subject.sweep)
        maps = tuple(found for found in maps if found.worst)
        if subject.sweep is None or not maps:
            return None
        head, rows = table(maps, subject.sweep.sweep.axes[-2].name)
        pieces: list[Piece] = [_worst(maps)] if len(maps) > 1 else []
        pieces.append(Grid(head, rows, EXPLANATION))
        for place, found in enumerate(maps[:MOST_MAPS], 1):
            pieces.append(_lost(found, place, alone=len(maps) == 1))
            if any(column not in found.unattacked for _, column in found.success):
                pieces.append(_success(found, place, alone=len(maps) == 1))
        return [*pieces, *left_out(len(maps) - MOST_MAPS, "more map", "the table has their worst cases")]


def _worst(maps: Sequence[Losses]) -> Plot:
    columns = [found.where for found in maps]
    shares = {(row, found.where): lost for found in maps for row, (lost, _) in found.worst.items()}
    figure = heat_map(by_worst_case(maps), columns, shares, colour=ATTACK, full=FULL)
    told = "Points of accuracy lost to the worst attack, from the most robust rule down."
    return Plot("worst-cases", figure, alt=_told(shares), title="Worst cases", caption=told, wide=len(columns) > 6)


def _lost(found: Losses, place: int, *, alone: bool) -> Plot:
    worst = {(row, "worst"): lost for row, (lost, _) in found.worst.items()}
    columns = ["worst", *found.columns]
    shares = {**worst, **found.lost}
    return Plot(
        "accuracy-lost" if alone else f"accuracy-lost-{place}",
        heat_map(by_worst_case([found]), columns, shares, colour=ATTACK, full=FULL),
        alt=_told(shares),
        title=f"Accuracy lost{f': {found.where}' if found.where else ''}",
        caption=f"Points below {found.reference * 100:.1f} %, the best rule's accuracy when nobody attacks.",
        wide=True,
    )


def _success(found: Losses, place: int, *, alone: bool) -> Plot:
    columns = [column for column in found.columns if any(other == column for _, other in found.success)]
    return Plot(
        "attack-success" if alone else f"attack-success-{place}",
        heat_map(by_worst_case([found]), columns, found.success, colour=ATTACK),
        alt=_told(found.success),
        title=f"Attack success{f': {found.where}' if found.where else ''}",
        caption="Percent of the samples that the attack aims at; where nobody attacks, what the model does by itself.",
        wide=len(columns) > 6,
    )


def _told(shares: Mapping[tuple[str, str], float]) -> str:
    return ", ".join(f"{row} {column} {points(share)}" for (row, column), share in shares.items()) + "."
