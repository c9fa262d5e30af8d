"""`phalanx show`: a run or a sweep in the terminal, read from its folder alone."""

import json
from pathlib import Path
from shlex import quote

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from phalanx.cli.spark import spark
from phalanx.cli.summarising import SIZES, SPREAD, Document, brief, run_document
from phalanx.cli.terminal import console
from phalanx.config import Experiment
from phalanx.experiments import RunRecord, is_sweep
from phalanx.report.again import from_python
from phalanx.report.numbers import count, percent, seconds

SPARK_WIDTH = 40
STYLES = {"finished": "green", "going on": "cyan", "stopped": "yellow", "not begun": "yellow"}


def show_folder(run: Path, *, as_json: bool) -> None:
    """Show what a folder holds.

    Raises: CheckpointError in one sentence if that is neither a run nor a sweep, or it is damaged.
    """
    if is_sweep(run):
        from phalanx.cli.showing_sweeps import show_sweep

        show_sweep(run, as_json=as_json)
        return
    record = RunRecord.read(run)
    document = run_document(record)
    if as_json:
        print(json.dumps(document, indent=2))  # noqa: T201 - the command's output
        return
    show_run(console(), record.experiment, document)


def show_run(shown: Console, experiment: Experiment, run: Document) -> None:
    """Draw a run's document."""
    done = "" if run["state"] == "finished" else f" after round {run['rounds_done']} of {run['rounds']}"
    heading = Text.assemble((run["folder"], "bold"), "  ", (f"{run['state']}{done}", STYLES[run["state"]]))
    shown.print(heading, soft_wrap=True)
    for block in (_labelled(what_it_was(experiment, run)), _scores(run), _labelled(_facts(run))):
        shown.print()
        shown.print(block)
    shown.print()
    for remark in run["remarks"]:
        shown.print(Text(remark, style="yellow"), soft_wrap=True)
    for line in _next(experiment, run):
        shown.print(Text(line, style="dim"), soft_wrap=True)


def what_it_was(experiment: Experiment, run: Document) -> list[tuple[str, str]]:
    """The experiment in a few lines: the federation, what it trains, the rule, the adversary."""
    clients = count(run["clients"], "client") if run["clients"] else "clients"
    parameters = f" ({count(run['parameters'], 'parameter')})" if run["parameters"] else ""
    partition, adversary = experiment.partition, experiment.adversary
    attacks = [part for part in (adversary.data, adversary.client, adversary.update) if part is not None]
    who = None if adversary.who is None else f"{brief(adversary.who)}, {brief(adversary.when)}: "
    return [
        ("data", f"{brief(experiment.data)}, dealt to {clients} by {brief(partition, always=SPREAD, never=SIZES)}"),
        ("each round", brief(experiment.participation)),
        ("model", f"{brief(experiment.model)}{parameters}, trained by {brief(experiment.training)}"),
        ("rule", brief(experiment.aggregator)),
        ("adversary", f"{who}{' + '.join(map(brief, attacks))}" if who else "nobody"),
        ("length", f"{count(run['rounds'], 'round')}, seed {experiment.run.seed}"),
    ]


def _scores(run: Document) -> RenderableType:
    """Spark lines from 0 to 1, of the loss from 0 to its largest, with the last number."""
    series, final = run["series"], run["final"]
    if not series["round"]:
        return "Nothing has been tested yet."
    table = _grid()
    table.columns[1].no_wrap = True
    table.add_column(justify="right", no_wrap=True)
    for name, title in (("accuracy", "accuracy"), ("attack_success", "attack success")):
        if values := series.get(name):
            table.add_row(title, Text(spark(values, width=SPARK_WIDTH), style="cyan"), percent(final.get(name)))
    if final.get("base_rate") is not None:
        table.add_row("base rate", Text("on the same samples left as they are", style="dim"), percent(final["base_rate"]))
    if losses := [loss for loss in series.get("test_loss", ()) if loss is not None]:
        line = spark(series["test_loss"], width=SPARK_WIDTH, top=max(losses))
        last = series["test_loss"][-1]
        table.add_row("test loss", Text(line, style="cyan"), "not finite" if last is None else f"{last:.4g}")
    return table


def _facts(run: Document) -> list[tuple[str, str]]:
    facts = []
    found = run["detection"]
    if found["tpr"] is not None:
        honest = "" if found["fpr"] is None else f" and {percent(found['fpr'])} of the honest ones"
        facts.append(("rejected", f"by the rule {percent(found['tpr'])} of the attackers' updates{honest}, in attacked rounds"))
    if run["rejected"]:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(run["rejected"].items()))
        facts.append(("screened out", reasons))
    if kept := run["kept_model"]:
        others = len({one["reason"] for one in kept}) - 1
        more = f" (And {count(others, 'other reason')}.)" if others else ""
        facts.append(("kept model", f"in {len(kept)} of {count(run['rounds_done'], 'round')}: {kept[0]['reason']}{more}"))
    if spent := run["privacy"]:
        facts.append(("privacy", spent["statement"]))
    if lived := run["survival"]:
        facts.append(("backdoor", _survival(lived)))
    if run["seconds"]:
        facts.append(("time", _times(run["seconds"])))
    if run["versions"]:
        facts.append(("made with", f"Phalanx {run['version']}, torch {run['versions'].get('torch')}, on {run['device']}"))
    return facts


def _survival(lived: Document) -> str:
    after = f"after the last attack in round {lived['last_attack'] + 1}"
    if not lived["rounds"]:
        return f"gone at the first test {after}"
    if lived["still_alive"]:
        return f"still alive at the last test, {count(lived['rounds'], 'round')} {after}"
    return f"alive for {count(lived['rounds'], 'round')} {after}"


def _times(phases: dict[str, float]) -> str:
    total = sum(phases.values())
    shares = sorted(phases.items(), key=lambda phase: -phase[1])
    named = [f"{name} {percent(value / total)}" for name, value in shares if total and value / total >= 0.01]
    return f"{seconds(total)}: {', '.join(named)}"


def _labelled(rows: list[tuple[str, str]]) -> Table:
    table = _grid()
    for name, fact in rows:
        table.add_row(name, Text(fact))
    return table


def _next(experiment: Experiment, run: Document) -> list[str]:
    folder = quote(run["folder"])
    if given := from_python(experiment):
        return [f"To run it again or go on, {given}", f"As a page: phalanx report {folder}"]
    lines = [f"Run it again: phalanx run {folder}/config.toml --out DIR", f"As a page: phalanx report {folder}"]
    return lines if run["state"] in ("finished", "going on") else [f"Go on: phalanx resume {folder}", *lines]


def _grid() -> Table:
    """Columns side by side without lines."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold", min_width=14)
    table.add_column()
    return table
