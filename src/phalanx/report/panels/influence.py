"""Whose updates made the model: influence per client and round, the attackers apart from the honest."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from phalanx.report.group import Group, Subject
from phalanx.report.panel import Panel, Piece, Plot, Text
from phalanx.report.series import bin_size
from phalanx.report.style import ATTACK, ATTACK_RGB, GRID, HONEST, HONEST_RGB, INK, MUTED, figure_with_axes, shade

MOST_ROWS, MOST_COLUMNS, MOST_PICTURES = 150, 200, 6
FULL = 2.0  # times an equal share: the strongest colour
FAINTEST = 0.18
DASH = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
CHECKERED = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool)
MEANING = (
    "The stronger the colour, the more of the round's update came from this client; full at twice an equal share. A thin dash: "
    "its update arrived, and the rule gave it no weight. Checkered: screening dropped it before the rule. Empty: not sampled. "
    "Attackers, above the line, are all who attacked in any round."
)
NO_INFLUENCE = (
    "A rule without shades mixes values of many clients and attributes no influence: there, colour only says that an update "
    "arrived. Checkered: screening dropped it before the rule. Empty: not sampled."
)


@dataclass(frozen=True)
class Influences:
    """Bins of clients by bins of rounds `[rows, columns]`: what arrived, and what became of it.

    `share`: mean influence of the updates that arrived, times their number in the round: 1 is an equal share; NaN where the
    rule does not attribute or nothing arrived. `arrived`, `screened`, `malicious`: numbers of updates.
    `num_attackers`, `num_clients`: clients are in the order attackers, honest; the first `attacker_rows` rows are attackers'.
    """

    share: NDArray[np.float64]
    arrived: NDArray[np.float64]
    screened: NDArray[np.float64]
    malicious: NDArray[np.float64]
    attacker_rows: int
    num_attackers: int
    num_clients: int
    clients_per_row: int
    rounds_per_column: int
    others: str = "honest"
    """What those are who are not known as attackers: of real nodes nobody knows it."""


class Influence(Panel):
    """A heat map per experiment, of its first seed."""

    title = "Influence"
    explains = "Whose updates made the model, round by round. Who is an attacker is known to this page, never to the rule."
    place = 30

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """One picture an experiment, if there are not too many."""
        groups = [group for group in subject.groups if group.runs[0].rounds]
        if not groups:
            return None
        if len(groups) > MOST_PICTURES:
            where = "RUN" if subject.sweep is None else f"{quote(subject.sweep.folder.name)}/cells/RUN"
            some = f"For up to {MOST_PICTURES}: phalanx report {where} …"
            return [Text(f"{len(groups)} experiments are too many for a picture each. {some}")]
        drawn = [(influences(group), group) for group in groups]
        silent = [bool(np.isnan(found.share).all()) for found, _ in drawn]
        return [
            *(_plot(place, group, found, alone=len(groups) == 1) for place, (found, group) in enumerate(drawn)),
            *([] if all(silent) else [Text(MEANING)]),
            *([Text(NO_INFLUENCE)] if any(silent) else []),
        ]


def influences(group: Group) -> Influences:
    """The first run's influences, binned so that a picture shows them all."""
    run = group.runs[0]
    attackers = sorted(group.attackers)
    seen = [client for event in run.rounds for client in (*event["clients"], *event.get("malicious", ()), *_screened(event))]
    num_clients = max(len(run.manifest.get("client_samples", ())), max(seen, default=0) + 1)
    per_row = bin_size(num_clients, MOST_ROWS)
    per_column = bin_size(len(run.rounds), MOST_COLUMNS)
    attacker_rows = -(-len(attackers) // per_row)
    is_attacker = np.zeros(num_clients, dtype=bool)
    is_attacker[attackers] = True
    row = np.empty(num_clients, dtype=int)
    row[is_attacker] = np.arange(len(attackers)) // per_row
    row[~is_attacker] = attacker_rows + np.arange(num_clients - len(attackers)) // per_row
    shape = (int(row.max()) + 1, -(-len(run.rounds) // per_column))
    total, arrived, screened, malicious = (np.zeros(shape) for _ in range(4))
    attributes = any("influence" in event for event in run.rounds)  # a round without kept the model: nobody had any
    for place, event in enumerate(run.rounds):
        column, clients = place // per_column, row[np.array(event["clients"], dtype=int)]
        np.add.at(arrived[:, column], clients, 1)
        np.add.at(screened[:, column], row[np.array(_screened(event), dtype=int)], 1)
        np.add.at(malicious[:, column], row[np.array(event.get("malicious", ()), dtype=int)], 1)
        if "influence" in event:
            np.add.at(total[:, column], clients, np.array(event["influence"]) * len(clients))
    others = "honest" if group.knows_attackers else "clients"
    with np.errstate(invalid="ignore"):
        share = total / arrived if attributes else np.full(shape, np.nan)
    return Influences(
        share, arrived, screened, malicious, attacker_rows, len(attackers), num_clients, per_row, per_column, others
    )


def pixels(found: Influences) -> NDArray[np.uint8]:
    """The picture `[3·rows, 3·columns, 4]`: full cells for influence, a dash for none, checkered for screened out."""
    weight = np.where(np.isnan(found.share), 1.0, np.minimum(found.share / FULL, 1))
    has_weight = (found.arrived > 0) & (weight > 0)
    strength = np.where(has_weight, FAINTEST + (1 - FAINTEST) * weight, 0)
    block = np.kron(strength, np.ones((3, 3)))
    unweighted = (found.arrived > 0) & ~has_weight
    dropped = (found.arrived == 0) & (found.screened > 0)
    block += np.kron(unweighted, DASH) * 0.55 + np.kron(dropped, CHECKERED) * 0.9
    bad = np.kron(found.malicious * 2 > found.arrived + found.screened, np.ones((3, 3))).astype(bool)
    return np.where(bad[..., None], shade(ATTACK_RGB, block), shade(HONEST_RGB, block))


def _screened(event: dict[str, object]) -> list[int]:
    return [client for clients in event["rejected"].values() for client in clients]  # type: ignore[attr-defined]


def _plot(place: int, group: Group, found: Influences, *, alone: bool) -> Plot:
    bins = [
        *([f"A row is {found.clients_per_row} clients"] if found.clients_per_row > 1 else []),
        *([f"a column is {found.rounds_per_column} rounds"] if found.rounds_per_column > 1 else []),
    ]
    binned = f"{' and '.join(bins).capitalize()}: shown is their mean." if bins else ""
    return Plot(
        "influence" if alone else f"influence-{place + 1}",
        _draw(found, len(group.runs[0].rounds), wide=alone),
        alt=_described(group, found),
        title=f"{group.label}{f', seed {group.seeds[0]}' if len(group.seeds) > 1 else ''}",
        caption=binned,
        wide=alone,
    )


def _described(group: Group, found: Influences) -> str:
    if np.isnan(found.share).all():
        return f"Which of {found.num_clients} clients took part in which round; the rule attributes no influence."
    lost = total = 0
    for event in group.runs[0].rounds:
        malicious = set(event.get("malicious", ()))
        mine = [share for client, share in zip(event["clients"], event.get("influence", ())) if client in malicious]
        lost, total = lost + sum(share == 0 for share in mine), total + len(mine)
    attacked = f" The rule gave no weight to {lost:,} of the attackers' {total:,} updates." if total else ""
    attackers = f"{found.num_attackers} of them attackers" if group.knows_attackers else "of whom nobody knows who attacks"
    return f"Influence of {found.num_clients} clients, {attackers}, in each round.{attacked}"


def _draw(found: Influences, rounds: int, *, wide: bool) -> Figure:
    rows = found.share.shape[0]
    figure, axes = figure_with_axes(height=min(5.2, max(2.5, 1.5 + rows * 0.034)), width=9.2 if wide else 4.4)
    axes.imshow(pixels(found), extent=(0.5, rounds + 0.5, rows, 0), aspect="auto", interpolation="none", origin="upper")
    axes.grid(visible=False)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color(GRID)
    bands = [(0, found.attacker_rows, found.num_attackers, "attacker"), (found.attacker_rows, rows, None, found.others)]
    ticks = [((low + high) / 2, _band_name(found, number, noun)) for low, high, number, noun in bands if high > low]
    axes.set_yticks([middle for middle, _ in ticks], [name for _, name in ticks], rotation=90, va="center")
    if 0 < found.attacker_rows < rows:
        axes.axhline(found.attacker_rows, color=INK, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(8 if wide else 6, integer=True, min_n_ticks=1))
    axes.set_xlabel("round")
    figure.legend(handles=_legend(found), loc="outside lower left", ncols=4, handlelength=1.2, columnspacing=1.2)
    return figure


def _band_name(found: Influences, number: int | None, noun: str) -> str:
    if number is None:
        return f"{found.num_clients - found.num_attackers:,} {noun}"
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _legend(found: Influences) -> list[Patch | Line2D]:
    marks = {"marker": "_", "markersize": 8, "markeredgewidth": 1.6}, {"marker": "x", "markersize": 5}
    no_weight, dropped = (Line2D([], [], linestyle="none", color=MUTED, **mark) for mark in marks)  # type: ignore[arg-type]
    no_weight.set_label("no weight")
    dropped.set_label("screened out")
    return [
        *([Patch(color=ATTACK, label="attacker", alpha=0.8)] if found.num_attackers else []),
        Patch(color=HONEST, label=found.others, alpha=0.8),
        *([] if np.isnan(found.share).all() else [no_weight]),
        *([dropped] if found.screened.any() else []),
    ]
