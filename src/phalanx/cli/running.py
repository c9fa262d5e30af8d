"""`phalanx run` and `phalanx resume`: from a file or a folder to a result, shown on the way."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from phalanx.cli.progress import ProgressSink, percent
from phalanx.config import Experiment
from phalanx.core.toml import parse_setting
from phalanx.experiments import RunResult, experiment_of, run


def run_file(file: Path, settings: list[str], out: Path | None) -> None:
    """Run the experiment in a TOML file."""
    experiment = Experiment.load(file, dict(map(parse_setting, settings)))
    _run(experiment, out or Path("runs") / f"{file.stem}-{experiment.digest()}")


def resume_folder(folder: Path) -> None:
    """Go on with the run in a folder."""
    _run(experiment_of(folder), folder)


def _run(experiment: Experiment, folder: Path) -> None:
    console = Console()
    finished = (folder / "result.json").exists()
    with ProgressSink(experiment.run.rounds, console) as progress:
        result = run(experiment, out=folder, sinks=[progress])
    if finished:
        console.print(f"This run is finished already; delete {folder} to run it again.", markup=False)
    console.print(summary(result))


def summary(result: RunResult) -> Table:
    """The end of a run as a small table."""
    final, experiment = result.summary["final"], result.experiment
    table = Table(title=f"{experiment.aggregator.kind} after {experiment.run.rounds} rounds", show_header=False, min_width=44)
    table.add_row("accuracy", percent(final["accuracy"]))
    if "attack_success" in final:
        base = percent(final["base_rate"])
        table.add_row("attack success", f"{percent(final['attack_success'])} (without the trigger {base})")
    if final.get("tpr") is not None:
        table.add_row("attackers rejected, last round", percent(final["tpr"]))
        table.add_row("honest rejected, last round", percent(final.get("fpr")))
    if result.rounds_kept:
        table.add_row("rounds that kept the model", str(result.rounds_kept))
    table.add_row("folder", escape(str(result.folder)))
    return table
