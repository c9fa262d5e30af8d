"""Attackers and honest clients that the rule gave no weight, over rounds."""

from collections.abc import Sequence

from phalanx.report.group import Subject
from phalanx.report.lines import colours_of, lines
from phalanx.report.panel import Panel, Piece, Plot, Text, left_out
from phalanx.report.series import Band, over_rounds
from phalanx.report.style import ATTACK, HONEST, MOST_LINES

RATES = {"tpr": "attackers", "fpr": "honest clients"}


class Detection(Panel):
    """The true and the false positive rate."""

    title = "Detection"
    explains = (
        "Which share of the attackers' updates the rule gave no weight (the more the better; the true positive rate), "
        "and which share of the honest ones (the fewer the better; the false positive rate)."
    )
    place = 40

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """Both rates in one plot for one experiment, a plot each for several, a sentence for too many."""
        detecting = [group for group in subject.groups if over_rounds(group, "tpr") is not None]
        groups, everyone = detecting[:MOST_LINES], [group.label for group in subject.groups]
        if not groups:
            return None
        if len(detecting) > 2 * MOST_LINES:
            return left_out(len(detecting), "experiment")
        if len(groups) == 1:
            bands = {name: band for rate, name in RATES.items() if (band := over_rounds(groups[0], rate)) is not None}
            colours = [ATTACK if name == "attackers" else HONEST for name in bands]
            return [_plot("detection", bands, colours, "Without weight")]
        found: list[Piece] = []
        for rate, name in RATES.items():
            bands = {group.label: band for group in groups if (band := over_rounds(group, rate)) is not None}
            if bands:
                colours = colours_of(list(bands), everyone)
                found.append(_plot(f"detection-{rate}", bands, colours, f"{name.capitalize()} without weight"))
        silent = [group.label for group in subject.groups if group not in detecting]
        unsaid = (
            [Text(f"Without attackers, or by a rule that does not say whom it counted: {', '.join(silent)}.")] if silent else []
        )
        return [*found, *left_out(len(detecting) - len(groups), "more experiment"), *unsaid]


def _plot(name: str, bands: dict[str, Band], colours: Sequence[str], title: str) -> Plot:
    means = ", ".join(f"{label} {sum(band.mean) / len(band.mean) * 100:.1f} %" for label, band in bands.items())
    return Plot(name, lines(bands, colours=colours), alt=f"{title} over rounds. On average: {means}.", title=title)
