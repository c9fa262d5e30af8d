"""Everything that a report writes: the page, and its plots as files for a paper."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context

from phalanx.core.errors import CheckpointError
from phalanx.report.panel import Plot
from phalanx.report.style import PAPER, style

FORMATS = ("png", "svg", "pdf")
DPI = 300
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def write_page(path: Path, page: str) -> None:
    """Write the page. Raises: CheckpointError if that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"The page {path} cannot be written: {error.strerror}. Choose another with --out.") from None


def write_plots(folder: Path, plots: Sequence[Plot]) -> list[Path]:
    """Write every plot as PNG, SVG and PDF: letters as outlines in SVG, embedded fonts in PDF, on white.

    Raises: CheckpointError if that is not possible.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for plot in plots:
            for form in FORMATS:
                path = folder / f"{plot.name}.{form}"
                with style(), rc_context({"svg.fonttype": "path", "svg.hashsalt": plot.name}):
                    plot.figure.savefig(path, dpi=DPI, facecolor=PAPER, metadata=_METADATA[form])
                written.append(path)
    except OSError as error:
        raise CheckpointError(f"The plots cannot be written to {folder}: {error.strerror}. Choose another folder.") from None
    return written
