"""A table of shares as fields of colour: one look for leaderboards and for robustness."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from phalanx.report.numbers import MISSING
from phalanx.report.style import INK, MUTED, PAPER, WIDTH, figure_with_axes

WIDE = 8
"""With more columns than these, a map takes the page's whole width and its columns' names are slanted."""


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Mapping[tuple[str, str], float],
    *,
    colour: str,
    full: float = 1.0,
) -> Figure:
    """Fields whose opacity is the share of `full`, so that a dark page shows them as well; each holds its number, in percent.

    `shares`: by (row, column); what is missing is a dash.
    """
    dense = len(rows) > WIDE or len(columns) > WIDE
    width = max(len(row) for row in rows) * 0.068 + max(WIDTH, 0.3 * len(columns)) if dense else WIDTH
    height = 1.3 + 0.21 * len(rows) if dense else 0.9 + 0.34 * len(rows)
    figure, axes = figure_with_axes(height=height, width=min(9.2, width))
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            share = shares.get((row, column))
            strength = 0.0 if share is None else 0.96 * min(max(share / full, 0.0), 1.0)
            axes.add_patch(Rectangle((across + 0.02, down + 0.03), 0.96, 0.94, facecolor=colour, alpha=strength, linewidth=0))
            text = MISSING if share is None else f"{share * 100:.0f}".replace("-0", "0")
            shade = MUTED if share is None else PAPER if strength > 0.7 else INK
            axes.text(across + 0.5, down + 0.5, text, ha="center", va="center", color=shade, fontsize=7.5 if dense else 9)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    x, y = ([place + 0.5 for place in range(len(names))] for names in (columns, rows))
    if dense:
        axes.set_xticks(x, columns, rotation=45, ha="left", fontsize=8)
        axes.tick_params(axis="x", pad=1)
    else:
        axes.set_xticks(x, [_wrapped(name) for name in columns])
    axes.set_yticks(y, rows, fontsize=8 if dense else 8.5)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _wrapped(name: str) -> str:
    return name.replace("_", "\n").replace(" ", "\n") if len(name) > 7 else name
