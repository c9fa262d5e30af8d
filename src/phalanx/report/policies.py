"""The scatter plot of a search for policies: what each hides against what it costs."""

from matplotlib.figure import Figure

from phalanx.experiments.policy_search import Found, ScoredPolicy
from phalanx.report.panel import Plot
from phalanx.report.style import ATTACK, HONEST, INK, MUTED, figure_with_axes

NAMED = 5
_ROOM = 3.0


def policies_plot(found: Found) -> Plot:
    """A point a policy: the kept ones in colour, the best few of them with their names. Very low S_acc stand at the edge."""
    kept = found.kept
    told = f"the lowest S_pri has {kept[0].name}, {kept[0].privacy:.4f}" if kept else "none is kept"
    scored = f"S_pri over S_acc of {len(found.scored)} policies, of which {len(kept)} are kept"
    return Plot("policies", _draw(found, kept), alt=f"{scored}; {told}. None: {found.none.privacy:.4f}.")


def _draw(found: Found, kept: tuple[ScoredPolicy, ...]) -> Figure:
    figure, axes = figure_with_axes(height=3.6, width=6.2)
    edge = _ROOM * found.threshold
    for some, colour, label in (
        (tuple(one for one in found.scored if one.accuracy < found.threshold), MUTED, "S_acc too low"),
        (kept, HONEST, "kept"),
        ((found.none,), ATTACK, "no transformation"),
    ):
        places = [max(one.accuracy, edge) for one in some]
        marker = "D" if colour == ATTACK else "o"
        axes.scatter(places, [one.privacy for one in some], s=14, color=colour, marker=marker, label=label, linewidths=0)
    axes.axvline(found.threshold, color=MUTED, linewidth=0.8)
    for one in kept[:NAMED]:
        axes.annotate(one.name, (one.accuracy, one.privacy), xytext=(4, -3), textcoords="offset points", color=INK, fontsize=8)
    axes.set_xlabel("S_acc: higher costs less accuracy")
    axes.set_ylabel("S_pri: lower is more private")
    axes.legend(loc="best")
    return figure
