"""`phalanx run` and `phalanx resume`: from a file or a folder to a result, shown on the way."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from phalanx.cli.progress import ProgressSink, percent
from phalanx.cli.terminal import console
from phalanx.config import Experiment
from phalanx.core.errors import PrivacyBudgetExhausted
from phalanx.core.toml import parse_setting
from phalanx.experiments import RunResult, experiment_of, run
from phalanx.metrics import EXPLANATION


def run_file(file: Path, settings: list[str], out: Path | None, *, as_json: bool = False) -> None:
    """Run the experiment in a TOML file. Raises: PrivacyBudgetExhausted in the end, if its budget ended it early."""
    experiment = Experiment.load(file, dict(map(parse_setting, settings)))
    _run(experiment, out or Path("runs") / f"{file.stem}-{experiment.digest()}", as_json=as_json)


def resume_folder(folder: Path, *, as_json: bool = False) -> None:
    """Go on with the run in a folder."""
    _run(experiment_of(folder), folder, as_json=as_json)


def _run(experiment: Experiment, folder: Path, *, as_json: bool) -> None:
    shown = console(stderr=as_json)
    finished = (folder / "result.json").exists()
    with ProgressSink(experiment.run.rounds, shown) as progress:
        result = run(experiment, out=folder, sinks=[progress])
    if finished:
        _say(shown, f"This run is finished already; delete {folder} to run it again.")
    if as_json:
        print(json.dumps(document(result), indent=2))  # noqa: T201 - the command's output
    else:
        shown.print(summary(result))
        if spent := result.summary.get("privacy"):
            _say(shown, f"Privacy: {spent['statement']}")
        _say(shown, f"{folder}")
        _say(shown, f"Next: phalanx show {folder} · phalanx report {folder}")
    if stopped := result.summary.get("stopped"):
        raise PrivacyBudgetExhausted(f"{stopped} The last model is in {folder}.")


def document(result: RunResult) -> dict[str, Any]:
    """What `--json` prints of a run: all of result.json, `kind`, `folder`, `state`, `rounds_kept`, the rows of `metrics`."""
    return {
        "kind": "run",
        "folder": None if result.folder is None else str(result.folder),
        "state": "finished",
        **result.summary,
        "rounds_kept": result.rounds_kept,
        "metrics": result.metrics,
    }


def summary(result: RunResult) -> Table:
    """The end of a run as a small table."""
    final, experiment = result.summary["final"], result.experiment
    table = Table(title=f"{experiment.aggregator.kind} after {final['round'] + 1} rounds", show_header=False, min_width=44)
    table.add_row("accuracy", percent(final.get("accuracy")))
    if "attack_success" in final:
        base = percent(final.get("base_rate"))
        table.add_row("attack success", f"{percent(final['attack_success'])} (base rate {base})")
    if "tau" in final:
        gated = f"accuracy {percent(final['gated_accuracy'])}"
        if "gated_attack_success" in final:
            gated += f", attack success {percent(final['gated_attack_success'])}"
        table.add_row(f"refusing below tau = {final['tau']:g}", gated)
    if "success_bound" in final:
        undefended = percent(final["undefended_success"])
        table.add_row("bound on attack success", f"{percent(final['success_bound'])} (undefended {undefended})")
        table.caption = EXPLANATION
    if "inversion_psnr" in final:
        known = f"mean image {final['inversion_baseline']:.1f} dB"
        table.add_row("images found in an update", f"{final['inversion_psnr']:.1f} dB ({known})")
    if final.get("tpr") is not None:
        table.add_row("attackers rejected, last round", percent(final["tpr"]))
        table.add_row("honest rejected, last round", percent(final.get("fpr")))
    if result.rounds_kept:
        table.add_row("rounds that kept the model", str(result.rounds_kept))
    return table


def _say(shown: Console, text: str) -> None:
    """One line that is never wrapped: it may hold a path."""
    shown.print(text, markup=False, highlight=False, soft_wrap=True)
