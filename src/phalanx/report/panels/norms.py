"""How long the attackers' updates are beside the honest ones."""

from collections.abc import Sequence

from phalanx.report.group import Subject
from phalanx.report.lines import lines
from phalanx.report.panel import Panel, Piece, Plot, left_out
from phalanx.report.series import last_values, over_rounds
from phalanx.report.style import ATTACK, HONEST

MOST_PICTURES = 4


class Norms(Panel):
    """Median norms per round, for each experiment with attackers."""

    title = "Norms"
    explains = (
        "The median Euclidean norm of the updates that reached the rule: attackers that hide in it are as long as the others."
    )
    place = 55

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A plot an experiment, on a logarithmic scale; for more than a few a sentence."""
        attacked = [group for group in subject.groups if over_rounds(group, "malicious_norm") is not None]
        if len(attacked) > MOST_PICTURES:
            return left_out(len(attacked), "plot")
        found = []
        for place, group in enumerate(attacked):
            series = {"attackers": over_rounds(group, "malicious_norm"), "honest": over_rounds(group, "honest_norm")}
            bands = {name: band for name, band in series.items() if band is not None and min(band.low) > 0}
            if not bands:
                continue
            colours = [ATTACK if name == "attackers" else HONEST for name in bands]
            name = "norms" if len(attacked) == 1 else f"norms-{place + 1}"
            figure = lines(bands, share=False, log=True, colours=colours, ylabel="median norm")
            ends = last_values(bands, "{:.3g}".format)
            found.append(Plot(name, figure, alt=f"Median norms over rounds. {ends}", title=group.label))
        return found or None
