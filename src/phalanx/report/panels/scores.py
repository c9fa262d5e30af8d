"""A sweep's leaderboards: tables with the best marked, and the same as heat maps."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from phalanx.experiments import Leaderboard, leaderboards
from phalanx.report.group import Subject
from phalanx.report.marks import NAMES, footnote, is_best, is_tied, name_of, title
from phalanx.report.numbers import mean_percent
from phalanx.report.panel import Grid, Panel, Piece, Plot, left_out
from phalanx.report.style import ATTACK, HONEST, INK, MUTED, PAPER, figure_with_axes

MOST_FIELDS = 200


class Scores(Panel):
    """Accuracy and attack success of every finished cell."""

    title = "Leaderboards"
    explains = "The last test of each cell's model; only finished cells count."
    place = 10

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A picture and a table per metric."""
        boards = leaderboards(subject.sweep) if subject.sweep is not None else ()
        drawn = [_plot(board) for board in boards if 1 < len(board.rows) * len(board.columns) <= MOST_FIELDS]
        large = sum(len(board.rows) * len(board.columns) > MOST_FIELDS for board in boards)
        said = left_out(large, "heat map", f"more than {MOST_FIELDS} fields; the table has all of their numbers")
        return [*drawn, *said, *(_grid(board) for board in boards)] or None


def _grid(board: Leaderboard) -> Grid:
    head = [board.row_axis or "sweep", *(name or NAMES[board.metric] for name in board.columns)]
    rows = [[row or "all", *(_text(board, row, column) for column in board.columns)] for row in board.rows]
    scores = {
        (down, across): board.scores.get((row, column))
        for down, row in enumerate(board.rows)
        for across, column in enumerate(board.columns, 1)
    }
    best = frozenset(place for place, score in scores.items() if is_best(board, score))
    tied = frozenset(place for place, score in scores.items() if is_tied(score))
    return Grid(head, rows, f"{title(board)}. {footnote(board, best='★')}", best, tied)


def _text(board: Leaderboard, row: str, column: str) -> str:
    score = board.scores.get((row, column))
    return "–" if score is None else mean_percent(list(score.values.values()))


def _plot(board: Leaderboard) -> Plot:
    places = [(row, column) for row in board.rows for column in board.columns if (row, column) in board.scores]
    means = ", ".join(f"{row} {column} {board.scores[row, column].mean * 100:.0f} %" for row, column in places)
    return Plot(
        f"leaderboard-{board.metric.replace('_', '-')}",
        _draw(board),
        alt=f"{name_of(board.metric)} in percent: {means}.",
        title=name_of(board.metric),
        caption=f"Percent, {'higher' if board.higher_is_better else 'lower'} is better; the stronger the colour, the higher.",
        wide=len(board.columns) > 8,
    )


def _draw(board: Leaderboard) -> Figure:
    """Fields whose opacity is the score, so that a dark page shows them as well; the number in each says the same."""
    rows, columns = board.rows, board.columns
    figure, axes = figure_with_axes(height=0.9 + 0.34 * len(rows), width=9.2 if len(columns) > 8 else 4.4)
    colour = HONEST if board.higher_is_better else ATTACK
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            score = board.scores.get((row, column))
            strength = 0.0 if score is None else 0.04 + 0.92 * score.mean
            axes.add_patch(Rectangle((across + 0.02, down + 0.03), 0.96, 0.94, facecolor=colour, alpha=strength, linewidth=0))
            text = "–" if score is None else f"{score.mean * 100:.0f}"
            shade = PAPER if strength > 0.78 else INK
            axes.text(across + 0.5, down + 0.5, text, ha="center", va="center", color=MUTED if score is None else shade)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_xticks([place + 0.5 for place in range(len(columns))], [_wrapped(name) for name in columns])
    axes.set_yticks([place + 0.5 for place in range(len(rows))], rows)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _wrapped(name: str) -> str:
    return name.replace("_", "\n").replace(" ", "\n") if len(name) > 7 else name
