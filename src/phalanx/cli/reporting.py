"""`phalanx report`: read everything, then write one page and, where asked for, its plots."""

from pathlib import Path

import typer

from phalanx.report.files import write_page, write_plots
from phalanx.report.group import read
from phalanx.report.page import page, plots, sections


def report_runs(runs: list[Path], out: Path, plots_folder: Path | None) -> None:
    """Write the page about these folders to `out`, and its plots into a folder. Nothing is written unless all can be read."""
    subject = read(runs)
    found = sections(subject)
    write_page(out, page(subject, found))
    for section in found:
        if section.failure is not None:
            typer.echo(f"{section.panel.title}: {section.failure}", err=True)
    written = [] if plots_folder is None else write_plots(plots_folder, plots(found))
    typer.echo(f"Wrote {out} ({out.stat().st_size / 1000:.0f} kB)" + (f" and {len(written)} plots." if written else "."))
