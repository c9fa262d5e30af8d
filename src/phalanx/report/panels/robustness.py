"""What attacks cost each rule of a sweep: heat maps of accuracy lost and of backdoors' success, and the worst cases."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from phalanx.experiments import Losses, losses
from phalanx.report.group import Subject
from phalanx.report.panel import Grid, Panel, Piece, Plot, left_out
from phalanx.report.style import ATTACK, INK, MUTED, PAPER, figure_with_axes
from phalanx.report.worst_cases import EXPLANATION, MISSING, by_worst_case, points, table

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
    figure = _draw(by_worst_case(maps), columns, shares, FULL)
    told = "Points of accuracy lost to the worst attack, from the most robust rule down."
    return Plot("worst-cases", figure, alt=_told(shares), title="Worst cases", caption=told, wide=len(columns) > 6)


def _lost(found: Losses, place: int, *, alone: bool) -> Plot:
    worst = {(row, "worst"): lost for row, (lost, _) in found.worst.items()}
    columns = ["worst", *found.columns]
    shares = {**worst, **found.lost}
    return Plot(
        "accuracy-lost" if alone else f"accuracy-lost-{place}",
        _draw(by_worst_case([found]), columns, shares, FULL),
        alt=_told(shares),
        title=f"Accuracy lost{f': {found.where}' if found.where else ''}",
        caption=f"Points below {found.reference * 100:.1f} %, the best rule's accuracy when nobody attacks.",
        wide=True,
    )


def _success(found: Losses, place: int, *, alone: bool) -> Plot:
    columns = [column for column in found.columns if any(other == column for _, other in found.success)]
    return Plot(
        "attack-success" if alone else f"attack-success-{place}",
        _draw(by_worst_case([found]), columns, found.success, 1.0),
        alt=_told(found.success),
        title=f"Attack success{f': {found.where}' if found.where else ''}",
        caption="Percent of the samples that the attack aims at; where nobody attacks, what the model does by itself.",
        wide=len(columns) > 6,
    )


def _told(shares: Mapping[tuple[str, str], float]) -> str:
    return ", ".join(f"{row} {column} {points(share)}" for (row, column), share in shares.items()) + "."


def _draw(rows: Sequence[str], columns: Sequence[str], shares: Mapping[tuple[str, str], float], full: float) -> Figure:
    """Fields whose opacity is the share of `full`, so that a dark page shows them as well; the number in each says the same."""
    widest = max(len(row) for row in rows) * 0.068 + max(4.4, 0.3 * len(columns))
    figure, axes = figure_with_axes(height=1.3 + 0.21 * len(rows), width=min(9.2, max(4.4, widest)))
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            share = shares.get((row, column))
            strength = 0.0 if share is None else 0.96 * min(max(share / full, 0.0), 1.0)
            axes.add_patch(Rectangle((across + 0.02, down + 0.03), 0.96, 0.94, facecolor=ATTACK, alpha=strength, linewidth=0))
            text = MISSING if share is None else f"{share * 100:.0f}".replace("-0", "0")
            colour = MUTED if share is None else PAPER if strength > 0.7 else INK
            axes.text(across + 0.5, down + 0.5, text, ha="center", va="center", color=colour, fontsize=7.5)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_xticks([place + 0.5 for place in range(len(columns))], columns, rotation=45, ha="left", fontsize=8)
    axes.set_yticks([place + 0.5 for place in range(len(rows))], rows, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", pad=1)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure
