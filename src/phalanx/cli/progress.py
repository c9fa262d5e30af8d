"""Progress of a run: a bar in a terminal, a few plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phalanx.core.events import Event
from phalanx.report import numbers

LINES = 10
NO_ROOM = "The attack has no room: with so few attackers it sends what the honest would. Set adversary.update.z or knowledge."


def percent(value: object) -> str:
    """A share as a percentage, or a dash; with a plain space, which a search in a log finds.

    >>> percent(0.8765), percent(None)
    ('87.6 %', '–')
    """
    return numbers.percent(value if isinstance(value, int | float) else None).replace("\N{NO-BREAK SPACE}", " ")


class ProgressSink:
    """Shows round, accuracy, attack success, how far a search is and the time left. A context manager and a sink."""

    def __init__(self, rounds: int, console: Console) -> None:
        self.rounds = rounds
        self.console = console
        self.scores = ""
        self._spent, self._limit = "", None  # type: str, float | None
        self._said: set[str] = set()
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
        match event.kind:
            case "resumed":
                self._resumed(event)
            case "privacy":
                self._privacy(event)
            case "round":
                self._round(event)
            case "inversion":
                self._inversion(event)
            case "evaluation":
                self._evaluation(event)

    def searched(self, made: int, most: int, lowest: float) -> None:
        """Show how far an inversion attack is."""
        self._bar.update(self._task, scores=f"{self.scores}  inversion: step {made:,} of {most:,}")

    def _resumed(self, event: Event) -> None:
        for remark in event.values["remarks"]:  # type: ignore[union-attr]
            self._say(str(remark))
        self._say(f"Going on after round {event.round} of {self.rounds}.")
        self._bar.update(self._task, completed=event.round)

    def _privacy(self, event: Event) -> None:
        self._say(f"Privacy in the end, at most: {event.values['statement']}")
        budget = event.values.get("max_epsilon")
        if budget is not None:
            self._say("The run ends before a round that would pass privacy.max_epsilon.")
        limits = [limit for limit in (event.values["at_end"], budget) if isinstance(limit, float)]
        self._limit = min(limits, default=None)

    def _round(self, event: Event) -> None:
        if reason := event.values.get("kept_model"):
            self._say_once("kept", f"Round {event.round + 1} kept the model: {reason}")
        if event.values["attack"].get("room") == 0:  # type: ignore[union-attr]
            self._say_once("room", NO_ROOM)
        if self._limit and isinstance(spent := event.values.get("epsilon"), float):
            self._spent = f"  privacy spent {percent(spent / self._limit)}"  # an ε would need its whole statement
        self._bar.update(self._task, completed=event.round + 1, scores=self.scores)

    def _inversion(self, event: Event) -> None:
        self._bar.update(self._task, scores=self.scores)
        values, whose = event.values, f"Round {event.round + 1}, client {event.values['client']}:"
        if (why := values.get("missing")) is not None:
            self._say(f"{whose} no inversion. {why}")
        else:
            found, known = values["mean_psnr"], values["mean_baseline"]
            self._say(f"{whose} the attack finds its images at {found:.1f} dB (the mean image has {known:.1f} dB).")

    def _evaluation(self, event: Event) -> None:
        success = event.values.get("attack_success")
        attack = "" if success is None else f"  attack success {percent(success)}"
        self.scores = f"accuracy {percent(event.values['accuracy'])}{attack}{self._spent}"
        self._bar.update(self._task, scores=self.scores)
        done = event.round + 1
        if not self.console.is_terminal and (done == self.rounds or done % max(1, self.rounds // LINES) == 0):
            self._say(f"round {done}/{self.rounds}  {self.scores}")

    def _say_once(self, topic: str, text: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)
