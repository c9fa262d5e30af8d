"""`phalanx demo`: a small federation of handwritten digits, attacked in three ways and defended by four rules, in one table."""

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from phalanx.aggregators import Flame, Krum, Mean, TrimmedMean
from phalanx.attacks import (
    Adversary,
    ALittleIsEnough,
    Backdoor,
    FirstClients,
    MinMax,
    ModelReplacement,
    Never,
    Patch,
)
from phalanx.cli.progress import percent
from phalanx.config import EvaluationSettings, Experiment, RunSettings
from phalanx.core.events import Event
from phalanx.core.families import Aggregator
from phalanx.data import Digits, Dirichlet
from phalanx.experiments import RunResult, run
from phalanx.models import MLP
from phalanx.report.harm import LOST_ACCURACY, WORKING_ATTACK
from phalanx.training import SGD

CLIENTS, ATTACKERS, ROUNDS = 30, 6, 120
BACKDOOR = Backdoor(trigger=Patch(2), target=0, share=0.5)
SIX = FirstClients(count=ATTACKERS)
ADVERSARIES = {
    "no attack": Adversary(who=SIX, when=Never(), data=BACKDOOR),
    "backdoor": Adversary(who=SIX, data=BACKDOOR, update=ModelReplacement()),
    "ALIE": Adversary(who=SIX, update=ALittleIsEnough(z=1.5)),
    "Min-Max": Adversary(who=SIX, update=MinMax()),
}
RULES: tuple[Aggregator, ...] = (Mean(), Krum(ATTACKERS), TrimmedMean(ATTACKERS), Flame())


def experiments() -> Iterator[tuple[Aggregator, str, Experiment]]:
    """Every rule against every adversary."""
    base = Experiment(
        run=RunSettings(rounds=ROUNDS, seed=1),
        data=Digits(),
        partition=Dirichlet(num_clients=CLIENTS, alpha=0.2),
        model=MLP(hidden=(64,)),
        training=SGD(lr=0.3, steps=1, batch_size=8),
        evaluation=EvaluationSettings(every=0),
    )
    for rule in RULES:
        for name, adversary in ADVERSARIES.items():
            yield rule, name, replace(base, aggregator=rule, adversary=adversary)


class _Ticker:
    """Advances the bar by a round."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar

    def emit(self, event: Event) -> None:
        if event.kind == "round":
            self.bar.advance(self.bar.task_ids[0])


def demonstrate() -> None:
    """Run the demo and print its table."""
    console = Console()
    console.print(
        f"{CLIENTS} clients share scikit-learn's handwritten digits unevenly; {ATTACKERS} of them are malicious. "
        f"Each cell is a federation of its own: {ROUNDS} rounds of training from the same start."
    )
    total = len(RULES) * len(ADVERSARIES) * ROUNDS
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        TimeRemainingColumn(),
    )
    results: dict[tuple[str, str], RunResult] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        for rule, name, experiment in experiments():
            bar.update(task, description=f"{rule.kind} · {name}")
            results[rule.kind, name] = run(experiment, sinks=[_Ticker(bar)])
    console.print(table(results))
    console.print(
        "Accuracy on the test set / how often a stamped image is taken for a 0 (under 'no attack': by a clean model). "
        "The backdoor's updates are scaled; ALIE is A Little Is Enough. "
        f"× marks harm: {LOST_ACCURACY:.0%} of accuracy lost, or a backdoor that works.\n"
        "Next: phalanx list · make first-look"
    )


def table(results: dict[tuple[str, str], RunResult]) -> Table:
    """Rules down, adversaries across."""
    shown = Table(title="What each rule makes of each attack")
    shown.add_column("rule")
    for name in ADVERSARIES:
        shown.add_column(name, justify="right")
    for rule in RULES:
        clean = results[rule.kind, "no attack"].summary["final"]["accuracy"]
        shown.add_row(rule.kind, *(cell(results[rule.kind, name], clean) for name in ADVERSARIES))
    return shown


def cell(result: RunResult, clean: float) -> str:
    """Accuracy and, where there is a target, attack success; marked where the attack did harm."""
    final = result.summary["final"]
    accuracy, success = final["accuracy"], final.get("attack_success")
    text = percent(accuracy) if success is None else f"{percent(accuracy)} / {percent(success)}"
    harmed = accuracy < clean - LOST_ACCURACY or (success or 0) > WORKING_ATTACK
    return f"[red]{text} ×[/]" if harmed else f"{text}  "
