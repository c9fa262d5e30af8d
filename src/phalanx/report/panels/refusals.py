"""What refusing uncertain answers buys: accuracy and attack success over the threshold."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from phalanx.metrics import EXPLANATION
from phalanx.report.group import Group, Subject
from phalanx.report.lines import name_lines
from phalanx.report.numbers import mean_percent
from phalanx.report.panel import Grid, Panel, Piece, Plot, Text, left_out
from phalanx.report.style import ATTACK, HONEST, MUTED, figure_with_axes

MOST_PICTURES = 6
COLUMNS = {
    "accuracy": "accuracy",
    "attack success": "attack_success",
    "accuracy at tau": "gated_accuracy",
    "attack success at tau": "gated_attack_success",
    "undefended at tau": "undefended_success",
    "bound at tau": "success_bound",
}


class Refusals(Panel):
    """The last test of experiments with `[evaluation] tau` or `undefended`: at 0, at tau, and a curve of the first seed."""

    title = "Refused answers"
    explains = "An answer whose softmax is below tau is refused: it is neither correct nor a success of the attack."
    place = 25

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A table, and a plot an experiment."""
        groups = [group for group in subject.groups if group.finals("tau") or group.finals("success_bound")]
        if not groups:
            return None
        bounded = [Text(EXPLANATION)] if any(group.finals("success_bound") for group in groups) else []
        plots = [plot for place, group in enumerate(groups, 1) if (plot := _plot(group, place)) is not None]
        return [_table(groups), *bounded, *plots[:MOST_PICTURES], *left_out(len(plots) - MOST_PICTURES, "more plot")]


def _table(groups: Sequence[Group]) -> Grid:
    kept = {title: name for title, name in COLUMNS.items() if any(group.finals(name) for group in groups)}
    rows = [[group.label, _tau(group), *(mean_percent(group.finals(name)) for name in kept.values())] for group in groups]
    return Grid(["experiment", "tau", *kept], rows)


def _tau(group: Group) -> str:
    return f"{(group.finals('tau') or [0.0])[0]:g}"


def _plot(group: Group, place: int) -> Plot | None:
    tested = [event["over_tau"] for event in group.runs[0].evaluations if "over_tau" in event]
    if not tested:
        return None
    tau = group.finals("tau")
    ends = ", ".join(f"{name} {told}" for name, told in zip(("accuracy", "attack success"), _at_zero(tested[-1])))
    return Plot(
        f"refusals-{place}",
        _draw(tested[-1], tau[0] if tau else 0.0),
        alt=f"Accuracy and attack success over the threshold tau. At 0: {ends}.",
        title=group.label,
        caption="The thin line is the threshold that was chosen.",
    )


def _at_zero(curve: Mapping[str, Any]) -> list[str]:
    return [f"{curve[name][0] * 100:.1f} %" for name in ("accuracy", "attack_success") if name in curve]


def _draw(curve: Mapping[str, Any], tau: float) -> Figure:
    figure, axes = figure_with_axes()
    colours = {"accuracy": HONEST, "attack_success": ATTACK}
    shown = {name: colour for name, colour in colours.items() if name in curve}
    for name, colour in shown.items():
        axes.plot(curve["tau"], curve[name], color=colour)
    axes.axvline(tau, color=MUTED, linewidth=0.8)
    axes.set(ylim=(-0.02, 1.02), xlabel="tau")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    name_lines(axes, {name.replace("_", " "): curve[name][-1] for name in shown}, list(shown.values()))
    return figure
