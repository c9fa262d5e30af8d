"""Progress of a run: a bar in a terminal, a few plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phalanx.core.events import Event

LINES = 10


def percent(value: object) -> str:
    """A share as a percentage, or a dash.

    >>> percent(0.8765), percent(None)
    ('87.6 %', '–')
    """
    return f"{value:.1%}".replace("%", " %") if isinstance(value, int | float) else "–"


class ProgressSink:
    """Shows round, accuracy, attack success and the time left. A context manager and a sink."""

    def __init__(self, rounds: int, console: Console) -> None:
        self.rounds = rounds
        self.console = console
        self.scores = ""
        self._bar = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[scores]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=rounds, scores="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def emit(self, event: Event) -> None:
        """Take a run's event."""
        if event.kind == "resumed":
            for remark in event.values["remarks"] or ():  # type: ignore[union-attr]
                self.console.print(f"[yellow]{remark}[/]")
            self.console.print(f"Going on after round {event.round} of {self.rounds}.")
            self._bar.update(self._task, completed=event.round)
        if event.kind == "evaluation":
            success = event.values.get("attack_success")
            attack = "" if success is None else f"  attack success {percent(success)}"
            self.scores = f"accuracy {percent(event.values['accuracy'])}{attack}"
        if event.kind == "round":
            if "kept_model" in event.values:
                self.console.print(f"[yellow]Round {event.round}: the model was kept. {event.values['kept_model']}[/]")
            self._bar.update(self._task, completed=event.round + 1, scores=self.scores)
        elif event.kind == "evaluation":
            self._bar.update(self._task, scores=self.scores)
            if not self.console.is_terminal and self._is_worth_a_line(event.round + 1):
                self.console.print(f"round {event.round + 1}/{self.rounds}  {self.scores}", highlight=False)

    def _is_worth_a_line(self, done: int) -> bool:
        return done == self.rounds or done % max(1, self.rounds // LINES) == 0
