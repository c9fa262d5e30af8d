"""A sweep's leaderboards: tables with the best marked, and the same as heat maps."""

from collections.abc import Sequence

from phalanx.experiments import Leaderboard, leaderboards
from phalanx.report.group import Subject
from phalanx.report.heat_map import WIDE, heat_map
from phalanx.report.marks import NAMES, footnote, is_best, is_tied, name_of, title
from phalanx.report.numbers import MISSING, mean_percent
from phalanx.report.panel import Grid, Panel, Piece, Plot, left_out
from phalanx.report.style import ATTACK, HONEST

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
    return MISSING if score is None else mean_percent(list(score.values.values()))


def _plot(board: Leaderboard) -> Plot:
    places = [(row, column) for row in board.rows for column in board.columns if (row, column) in board.scores]
    shares = {place: board.scores[place].mean for place in places}
    colour = HONEST if board.higher_is_better else ATTACK
    means = ", ".join(f"{row} {column} {share * 100:.0f} %" for (row, column), share in shares.items())
    return Plot(
        f"leaderboard-{board.metric.replace('_', '-')}",
        heat_map(board.rows, board.columns, shares, colour=colour),
        alt=f"{name_of(board.metric)} in percent: {means}.",
        title=name_of(board.metric),
        caption=f"Percent, {'higher' if board.higher_is_better else 'lower'} is better; the stronger the colour, the higher.",
        wide=len(board.columns) > WIDE,
    )
