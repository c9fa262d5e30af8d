"""What private runs have spent, and what that means."""

from collections.abc import Sequence
from math import inf

from phalanx.experiments.privacy import stated
from phalanx.report.group import Group, Subject
from phalanx.report.lines import colours_of, lines
from phalanx.report.panel import Grid, Panel, Piece, Plot
from phalanx.report.series import over_rounds
from phalanx.report.style import MOST_LINES


class Privacy(Panel):
    """ε over rounds, a line per private experiment, and the whole statement of each."""

    title = "Privacy"
    explains = "How much a model tells at most of one of those whom it hides. An ε means nothing without what stands beside it."
    place = 25

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A plot of the first few, and a table of all; runs that hide nobody are in neither."""
        statements = [(group, said) for group in subject.groups if (said := _statement(group)) is not None]
        if not statements:
            return None
        bands = {group.label: band for group, _ in statements if (band := over_rounds(group, "epsilon")) is not None}
        shown = dict(list(bands.items())[:MOST_LINES])
        table = Grid(["experiment", "what it has spent"], [[group.label, said] for group, said in statements])
        if not shown:
            return [table]
        figure = lines(
            shown, share=False, colours=colours_of(list(shown), [group.label for group in subject.groups]), ylabel="ε"
        )
        alt = "ε over rounds, which ends at what the table below says of each experiment."
        return [Plot("privacy", figure, alt=alt, title="ε spent"), table]


def _statement(group: Group) -> str | None:
    """That of the seed that has spent most; their rounds differ where one is not finished."""
    found = [said for run in group.runs if (said := stated(run)) is not None]
    if not found:
        return None
    most = max(found, key=lambda said: inf if said["epsilon"] is None else said["epsilon"])
    return str(most["statement"])
