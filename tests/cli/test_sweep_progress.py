import io

from rich.console import Console

from phalanx.cli.sweep_progress import SweepProgress
from phalanx.experiments import Sweep


def test_names_in_square_brackets_are_names_and_no_markup():
    axes = {"[rule]": {"mean": {}, "median": {"aggregator.kind": "median"}}, "lr": {"[red]": {"training.lr": 0.5}}}
    console = Console(width=200, height=50, no_color=True, record=True, file=io.StringIO())
    console.print(SweepProgress(Sweep.from_tables({}, axes), console).view())
    lines = console.export_text()
    assert "[rule]" in lines
    assert "[red]" in lines
