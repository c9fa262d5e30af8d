"""`phalanx privacy search-policies`: random transformation policies, scored, ranked and drawn."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from phalanx.cli.progress import ProgressSink
from phalanx.cli.terminal import console
from phalanx.config import Experiment
from phalanx.core.toml import parse_setting
from phalanx.data import TRANSFORMATIONS
from phalanx.experiments.policy_search import Found, ScoredPolicy, search_policies
from phalanx.report.files import write_plots
from phalanx.report.policies import policies_plot

WARNING = (
    "S_pri promises nothing: two replications found no correlation with what an attack recovers. Measure a policy before you "
    "use it, with [evaluation.inversion] and an attacker who knows it."
)


def search_file(
    file: Path,
    settings: list[str],
    out: Path | None,
    *,
    policies: int,
    images: int,
    threshold: float,
    top: int,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Search on the experiment in a TOML file; what is found is printed, and drawn into the folder."""
    experiment = Experiment.load(file, dict(map(parse_setting, settings)))
    folder, shown = out or Path("runs") / f"{file.stem}-policies", console(stderr=as_json)
    bar = Progress(
        TextColumn("policies"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=shown,
        auto_refresh=False,  # a thread that draws would not survive the fork of the search's processes
        disable=not shown.is_terminal,
    )
    task = bar.add_task("", total=policies + 1)

    def told(scored: int) -> None:
        bar.start()
        bar.update(task, completed=scored, refresh=True)

    try:
        found = search_policies(
            experiment,
            out=folder,
            policies=policies,
            images=images,
            threshold=threshold,
            jobs=jobs,
            sinks=[ProgressSink(experiment.run.rounds, shown)],
            told=told,
        )
    finally:
        bar.stop()
    plots = write_plots(folder, [policies_plot(found)])
    if as_json:
        print(json.dumps(document(found, folder, top), indent=2))  # noqa: T201 - the command's output
        return
    shown.print(_table(found, top))
    for sentence in (_use(found, top), WARNING, f"{folder}: policies.jsonl, {', '.join(path.name for path in plots)}"):
        shown.print(Text(sentence), soft_wrap=True)


def document(found: Found, folder: Path, top: int) -> dict[str, Any]:
    """What `--json` prints: kind ("policies"), folder, the scores of no policy, how many were scored and kept, the best."""
    return {
        "kind": "policies",
        "folder": str(folder),
        "threshold": found.threshold,
        "none": asdict(found.none),
        "num_scored": len(found.scored),
        "num_kept": len(found.kept),
        "best": [asdict(one) for one in found.kept[:top]],
    }


def _table(found: Found, top: int) -> Table:
    title = f"{len(found.kept):,} of {len(found.scored):,} kept: S_acc >= {found.threshold:.1f}"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("policy")
    table.add_column("transformations")
    table.add_column("S_pri", justify="right")
    table.add_column("S_acc", justify="right")
    for one in (found.none, *found.kept[:top]):
        table.add_row(one.name, spoken(one), f"{one.privacy:.4f}", f"{one.accuracy:.1f}")
    return table


def spoken(scored: ScoredPolicy) -> str:
    """What a policy does.

    >>> spoken(ScoredPolicy(1, (3, 0, 7), 0.5, -70.0))
    'translate_x 9, invert, translate_y 2'
    """
    found = (TRANSFORMATIONS[index] for index in scored.policy)
    return ", ".join(f"{one.operation} {one.level}" if one.level else one.operation for one in found)


def _use(found: Found, top: int) -> str:
    if not found.kept:
        return "No policy is kept. Lower --threshold, or score more."
    best = ", ".join(str(list(one.policy)) for one in found.kept[: min(top, 2)])
    return f'Use the best two as a hybrid: training.augment = [{{ kind = "ats", policies = [{best}] }}]'
