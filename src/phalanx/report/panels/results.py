"""What every experiment ended in, as a table."""

from collections.abc import Sequence

from phalanx.report.group import Group, Subject
from phalanx.report.harm import clean_groups, is_harmed
from phalanx.report.numbers import MISSING, mean_percent
from phalanx.report.outcome import state
from phalanx.report.panel import Grid, Panel, Piece

HARM = {True: "yes", False: "no", None: "not measured"}


class Results(Panel):
    """A row per experiment. A sweep has its leaderboards instead."""

    title = "Results"
    explains = "The last test of each experiment's model."
    place = 10

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """One table; columns without any value are left out."""
        if subject.sweep is not None:
            return None
        clean = clean_groups(subject)
        rows = [_row(group, clean.get(place)) for place, group in enumerate(subject.groups)]
        kept = [name for name in rows[0] if name == "experiment" or any(row[name] not in (MISSING, "") for row in rows)]
        repeated = any(len(group.runs) > 1 for group in subject.groups)
        caption = "Mean ± sample standard deviation over seeds." if repeated else ""
        head = ["seed" if name == "seeds" and not repeated else name for name in kept]
        return [Grid(head, [[row[name] for name in kept] for row in rows], caption)]


def _row(group: Group, clean: Group | None) -> dict[str, str]:
    return {
        "experiment": group.label,
        "accuracy": mean_percent(group.finals("accuracy")),
        "attack success": mean_percent(group.finals("attack_success")),
        "base rate": mean_percent(group.finals("base_rate")),
        "harm": HARM[is_harmed(group, clean)] if group.is_attacked else "",
        "seeds": ", ".join(map(str, group.seeds)),
        "state": state(group),
    }
