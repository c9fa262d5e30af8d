"""Everything that a report writes: the page, and its plots as files for a paper."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from phalanx.core.errors import CheckpointError
from phalanx.core.files import write_atomically
from phalanx.report.panel import Plot
from phalanx.report.style import PAPER, style

FORMATS = ("png", "svg", "pdf")
DPI = 300
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def write_page(path: Path, page: str) -> None:
    """Write the page, or leave the one that was there. Raises: CheckpointError if that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode(errors="backslashreplace"))  # a folder's name need not be text
    except OSError as error:
        raise CheckpointError(f"The page {path} cannot be written: {error.strerror}. Choose another with --out.") from None
    except CheckpointError as error:
        raise CheckpointError(f"The page {error} Choose another with --out.") from None


def write_plots(folder: Path, plots: Sequence[Plot]) -> list[Path]:
    """Write every plot as PNG, SVG and PDF: letters as outlines in SVG, embedded fonts in PDF, on white.

    Raises: CheckpointError if that is not possible.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"The plots cannot be written to {folder}: {error.strerror}. Choose another folder.") from None
    for plot in plots:
        for form in FORMATS:
            path = folder / f"{plot.name}.{form}"
            write_figure(path, plot.figure, dpi=DPI)
            written.append(path)
    return written


def write_figure(path: Path, figure: Figure, *, dpi: int) -> None:
    """Write a figure in the form that the name ends with, or leave the file that was there.

    Raises: CheckpointError if that is not possible.
    """
    form, drawn = path.suffix.removeprefix(".").lower(), io.BytesIO()
    with style(), rc_context({"svg.fonttype": "path", "svg.hashsalt": path.stem}):
        figure.savefig(drawn, format=form, dpi=dpi, facecolor=PAPER, metadata=_METADATA[form])
    write_atomically(path, drawn.getvalue())
