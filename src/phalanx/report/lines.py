"""A plot with a line per group, each with its band over seeds and its name beside it."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from phalanx.report.series import Band
from phalanx.report.style import DASHES, HEIGHT, LINES, figure_with_axes

LONGEST_BESIDE = 17  # characters; longer names go into a legend above


def lines(
    bands: Mapping[str, Band], *, share: bool = True, log: bool = False, colours: Sequence[str] = LINES, ylabel: str = ""
) -> Figure:
    """A figure of the bands by name, at most as many as there are colours. `share`: values are in [0, 1], shown in percent."""
    has_legend = max(map(len, bands)) > LONGEST_BESIDE
    figure, axes = figure_with_axes(height=HEIGHT + (0.17 * len(bands) if has_legend else 0))
    for place, (name, band) in enumerate(bands.items()):
        colour, dashes = colours[place], DASHES[_dashes(colours[place])]
        marker = "o" if len(band.rounds) == 1 else None
        axes.plot(band.rounds, band.mean, color=colour, linestyle=dashes, marker=marker, label=name)
        if list(band.low) != list(band.high):
            axes.fill_between(band.rounds, band.low, band.high, color=colour, alpha=0.16, linewidth=0)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    if share:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.set_xlabel("round")
    axes.set_ylabel(ylabel)
    if has_legend:
        figure.legend(loc="outside upper left", ncols=1, handlelength=2.6)
    else:
        name_lines(axes, {name: band.mean[-1] for name, band in bands.items()}, colours)
    return figure


def colours_of(names: Sequence[str], everyone: Sequence[str]) -> list[str]:
    """The same colour for the same name in every plot of a section, as long as there are enough for everyone.

    >>> colours_of(["b"], ["a", "b"]) == [LINES[1]]
    True
    """
    known = everyone if len(everyone) <= len(LINES) else names
    return [LINES[list(known).index(name)] for name in names]


def _dashes(colour: str) -> int:
    return LINES.index(colour) % len(DASHES) if colour in LINES else 0


def name_lines(axes: Axes, ends: Mapping[str, float], colours: Sequence[str] = LINES) -> None:
    """Write every line's name right of its end, moved apart where they would overlap. Call it when the y-limits stand."""
    axes.set_ylim(axes.get_ylim())
    to_axes = axes.transScale + axes.transLimits
    heights = {name: float(to_axes.transform((1.0, value))[1]) for name, value in ends.items()}
    placed = spread(list(heights.values()), gap=0.082, top=0.99)
    for place, (name, height) in enumerate(zip(heights, placed)):
        axes.annotate(
            name,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=colours[place],
            fontsize=8.5,
        )


def spread(heights: Sequence[float], *, gap: float, top: float) -> list[float]:
    """The heights, moved up or down until they are at least `gap` apart and at most at `top`, in the same order.

    >>> [round(height, 2) for height in spread([0.5, 0.52, 0.1], gap=0.1, top=1.0)]
    [0.46, 0.56, 0.1]
    """
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    placed = [heights[place] for place in order]
    for _ in range(100):
        for lower in range(len(placed) - 1):
            overlap = gap - (placed[lower + 1] - placed[lower])
            if overlap > 1e-9:
                placed[lower] -= overlap / 2
                placed[lower + 1] += overlap / 2
        if placed and placed[-1] > top:
            placed[-1] = top
    result = [0.0] * len(heights)
    for height, place in zip(placed, order):
        result[place] = height
    return result
