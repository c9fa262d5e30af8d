"""Progress of a sweep: its table, filling up, in a terminal; a line for every finished cell elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from phalanx.cli.progress import percent
from phalanx.core.events import Event
from phalanx.experiments import Cell, Grid, Sweep
from phalanx.experiments.leaderboard import METRICS

WAITING, RUNNING, FAILED = "·", "▸", "×"
LEGEND = f"accuracy / attack success in percent, mean over seeds   {RUNNING} running   {WAITING} waiting   {FAILED} failed"
OVER = ("finished", "found", "failed")
Final = Mapping[str, Any]


@dataclass
class _State:
    """How far a cell is, and what it came to."""

    kind: str = "waiting"
    round: int = 0
    scores: str = ""
    final: Final = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)


class SweepProgress:
    """Shows every cell's state. A context manager and a listener of `run_sweep`.

    The table is drawn from the sweep's own loop: a thread that draws would not survive the fork of a sweep's processes.
    """

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self.grid, self.console = Grid.of(sweep), console
        self.states = {cell: _State() for cell in sweep.cells}
        self._began, self._drawn, self._rounds = time.monotonic(), 0.0, 0
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def emit(self, cell: Cell, event: Event) -> None:
        """Take an event of a cell."""
        state = self.states[cell]
        match event.kind:
            case "started":
                self._say_what_is_found()
                self.states[cell] = _State("running")
            case "resumed":
                state.round = event.round
            case "round" | "evaluation":
                self._rounds += event.round + 1 - state.round
                state.round = event.round + 1
                if event.kind == "evaluation":
                    state.scores = _scores(event.values)
            case "stopped":
                state.kind = "waiting"
            case "found" | "finished":
                self._rounds += event.round - state.round if event.kind == "finished" else 0
                state.kind, state.round = event.kind, event.round
                state.final, state.scores = event.values, _scores(event.values)
            case "failed":
                state.kind, state.scores = "failed", str(event.values["reason"])
        if event.kind in ("finished", "failed") and not self.console.is_terminal:
            self._line(cell)

    def tick(self) -> None:
        """Draw the table anew, ten times a second at most."""
        if self.console.is_terminal and time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            self._live.update(self.view(), refresh=True)

    def view(self) -> Group:
        """The table, if the screen has room for it, and below it the running cells and what is left."""
        running = [cell for cell, state in self.states.items() if state.kind == "running"]
        has_room = len(self.grid.rows) + len(running) + 7 <= self.console.height
        parts: list[RenderableType] = [self._table(), Text(LEGEND, style="dim")] if has_room else []
        return Group(*parts, self._bars(running), Text(self._footer()))

    def _table(self) -> Table:
        table = Table()
        table.add_column(Text(self.grid.row_axis), no_wrap=True)
        fields: dict[tuple[str, str], list[_State]] = {}
        for cell, place in self.grid.places.items():
            fields.setdefault(place, []).append(self.states[cell])
        for column in self.grid.columns:
            table.add_column(Text(column), justify="right")
        for row in self.grid.rows:
            table.add_row(Text(row), *(_field(fields.get((row, column), [])) for column in self.grid.columns))
        return table

    def _bars(self, running: list[Cell]) -> Table:
        bars = Table.grid(padding=(0, 2))
        for cell in running:
            state, rounds = self.states[cell], cell.experiment.run.rounds
            bar = ProgressBar(total=rounds, completed=state.round, width=24)
            elapsed = _clock(time.monotonic() - state.began)
            bars.add_row(Text(cell.name), bar, f"round {state.round}/{rounds}", state.scores, elapsed)
        return bars

    def _footer(self) -> str:
        kinds = [state.kind for state in self.states.values()]
        elapsed = time.monotonic() - self._began
        left = sum(cell.experiment.run.rounds - state.round for cell, state in self.states.items() if state.kind not in OVER)
        failed = f", {kinds.count('failed')} failed" if "failed" in kinds else ""
        guess = f"   {_clock(elapsed / self._rounds * left)} left" if self._rounds and left else ""
        done = kinds.count("finished") + kinds.count("found")
        return f"{done} of {len(kinds)} cells finished{failed}   {_clock(elapsed)}{guess}"

    def _say_what_is_found(self) -> None:
        kinds = [state.kind for state in self.states.values()]
        if "found" in kinds and not {"running", "finished", "failed"} & set(kinds):
            self._say(f"{kinds.count('found')} of {len(kinds)} cells are finished already.")

    def _line(self, cell: Cell) -> None:
        state, over = self.states[cell], sum(state.kind in OVER for state in self.states.values())
        what = f"failed: {state.scores}" if state.kind == "failed" else state.scores
        text = f"[{over}/{len(self.states)}] {cell.name}  {what}  {_clock(time.monotonic() - state.began)}"
        self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _scores(values: Final) -> str:
    success = values.get("attack_success")
    attack = "" if success is None else f"  attack success {percent(success)}"
    return f"accuracy {percent(values.get('accuracy'))}{attack}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _field(states: list[_State]) -> Text:
    """One place of the table: the mean of what has finished, then a mark for each repetition that has not.

    >>> _field([_State("finished", 9, final={"accuracy": 0.5}), _State("running"), _State()]).plain
    '50.0 ▸·'
    >>> _field([_State("running", 7)]).plain
    'round 7'
    """
    if len(states) == 1 and states[0].kind == "running":
        return Text(f"round {states[0].round}", style="cyan")
    finals = [state.final for state in states if state.final]
    shown = Text(" / ".join(_mean(finals, metric) for metric in METRICS if any(metric in final for final in finals)))
    marks = {"running": (RUNNING, "cyan"), "failed": (FAILED, "red"), "waiting": (WAITING, "dim")}
    left = [marks[state.kind] for state in states if state.kind in marks]
    if finals and left:
        shown.append(" ")
    for mark, style in left:
        shown.append(mark, style=style)
    return shown


def _mean(finals: list[Final], metric: str) -> str:
    values = [final[metric] for final in finals if final.get(metric) is not None]
    return f"{fmean(values) * 100:.1f}" if values else "–"
