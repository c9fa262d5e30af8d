"""What every plot looks like: sizes, lines and colours, in one place.

Plots are drawn in the colours of a light page. On the page each colour becomes a CSS variable of the same name, so that
the dark page has its own. Images (heat maps) cannot be recoloured: their colours are transparent, and take on the page's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import use
from numpy.typing import NDArray

INK, MUTED, GRID, PAPER = "#1f2328", "#656d76", "#e3e6ea", "#fffffe"
HONEST, ATTACK = "#1a6bb5", "#c4480d"
# Distinct for the colour-blind as well; a line's dashes and its label tell it apart without colour.
LINES = (HONEST, ATTACK, "#0b7d5f", "#9a3f8a", "#836400", "#11809e", "#57606b", "#4543b0")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.4)), (0, (1.4, 1.2)), (0, (6, 1.4, 1.4, 1.4)))
TOKENS = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    **{colour: f"line{place}" for place, colour in enumerate(LINES)},
}
# In images: between the light and the dark page's colours, seen on both.
HONEST_RGB, ATTACK_RGB, NEUTRAL_RGB = (38, 122, 204), (222, 88, 24), (128, 136, 146)
WIDTH, HEIGHT = 4.4, 2.9  # inches: 1:1 on a phone that is 360 px wide, where 9 pt are legible
MOST_LINES = len(LINES)

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a variant called `$5 to $9` is no formula
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "svg.image_inline": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Inside, figures are made in Phalanx's style, whatever the user's own matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        use(_RC)
        yield


def figure_with_axes(*, height: float = HEIGHT, width: float = WIDTH) -> tuple[Figure, Axes]:
    """An empty figure in Phalanx's style, sizes in inches. It belongs to no window and no global state."""
    with style():
        figure = Figure(figsize=(width, height))
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="x")
        axes.margins(x=0.02)
    return figure, axes


def settle(figure: Figure) -> None:
    """Lay the figure out once and for all: each further layout would move its parts by a last bit, and change its bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def shade(rgb: tuple[int, int, int], strength: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Pixels `[..., 4]` of one colour whose opacity is `strength` in [0, 1]: from the page's own colour to the full one.

    Its lightness changes evenly, on a light page downwards and on a dark one upwards.
    """
    pixels = np.empty((*strength.shape, 4), dtype=np.uint8)
    pixels[..., :3] = rgb
    pixels[..., 3] = np.rint(np.clip(strength, 0, 1) * 255)
    return pixels
