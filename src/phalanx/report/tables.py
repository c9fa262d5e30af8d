"""A leaderboard as a table: in a terminal, and as CSV, Markdown and LaTeX for what comes after.

Every form says what its marks mean: the best of each column, and those that are not shown to be worse.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from phalanx.experiments import Leaderboard, Score
from phalanx.report.marks import TIED, footnote, is_best, is_tied, title
from phalanx.report.numbers import MISSING


def rich_table(board: Leaderboard) -> Group:
    """For the terminal: the best are green and have a star, those not shown to be worse a dagger, which a pipe keeps."""
    table = Table()
    table.add_column(Text(board.row_axis), no_wrap=True)
    widths = {}  # padded here: rich's right alignment cuts off the blank that stands for no mark
    for column in board.columns:
        table.add_column(Text(column or "%", justify="right"), no_wrap=True)
        widths[column] = max(cell_len(column), *(len(cell_text(board.scores.get((row, column)))) + 2 for row in board.rows))
    for row in board.rows:
        fields = (_styled(board, board.scores.get((row, column)), width) for column, width in widths.items())
        table.add_row(Text(row), *fields)
    return Group(Text(title(board), style="bold"), table, Text(footnote(board, best="*"), style="dim"))


def to_document(board: Leaderboard) -> dict[str, Any]:
    """For JSON: metric, higher_is_better, row_axis, column_axis, rows, columns, scores [{row, column, mean, deviation, …}]."""
    scores = [
        {
            "row": row,
            "column": column,
            "mean": score.mean,
            "deviation": score.deviation,
            "is_best": score.is_best,
            "is_tied": score.is_tied,
            "is_complete": score.is_complete,
            "values": {str(seed): value for seed, value in score.values.items()},
        }
        for row, found in _rows(board)
        for column, score in zip(board.columns, found)
        if score is not None
    ]
    fields = ("metric", "higher_is_better", "row_axis", "column_axis", "rows", "columns")
    return {**{name: getattr(board, name) for name in fields}, "scores": scores}


def to_csv(boards: Sequence[Leaderboard]) -> str:
    """One line for every field that has a score, as shares; `best`, `tied` and `complete` as in `Score`.

    `values` are the scores by seed, `1=0.875 2=0.881`, so that nothing of the sweep is lost. Names stand as they are in the
    sweep, also where a spreadsheet would take one for a formula (`=1+1`): import the columns as text there.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "row", "column", "mean", "deviation", "seeds", "best", "tied", "complete", "values"])
    for board in boards:
        for row, scores in _rows(board):
            for column, score in zip(board.columns, scores):
                if score is not None:
                    deviation = "" if score.deviation is None else f"{score.deviation:.6g}"
                    values = " ".join(f"{seed}={value:.6g}" for seed, value in sorted(score.values.items()))
                    standing = [str(one).lower() for one in (score.is_best, score.is_tied, score.is_complete)]
                    found = [f"{score.mean:.6g}", deviation, len(score.values), *standing, values]
                    writer.writerow([board.metric, row, column, *found])
    return text.getvalue()


def to_markdown(boards: Sequence[Leaderboard]) -> str:
    """A table for each leaderboard, with its title and footnote; the best are bold, † as in the footnote."""
    return "\n".join(_markdown(board) for board in boards)


def to_latex(boards: Sequence[Leaderboard]) -> str:
    r"""A `table` for each leaderboard, with caption and label; needs `\usepackage{booktabs}`. The best are bold."""
    return "\n".join(_latex(board) for board in boards)


def cell_text(score: Score | None) -> str:
    """A field in percent with one decimal: `87.5 ± 0.4`, `87.5` for one seed, a dash for none."""
    if score is None:
        return MISSING
    spread = "" if score.deviation is None else f" ± {score.deviation * 100:.1f}"
    return f"{score.mean * 100:.1f}{spread}"


def _rows(board: Leaderboard) -> Iterator[tuple[str, list[Score | None]]]:
    for row in board.rows:
        yield row, [board.scores.get((row, column)) for column in board.columns]


def _styled(board: Leaderboard, score: Score | None, width: int) -> Text:
    mark = "*" if is_best(board, score) else TIED if is_tied(score) else " "
    return Text(f"{cell_text(score)} {mark}".rjust(width), style="bold green" if mark == "*" else "")


def _markdown(board: Leaderboard) -> str:
    head = [board.row_axis, *(column or "%" for column in board.columns)]
    lines = [head, ["---", *("---:" for _ in board.columns)]]
    for row, scores in _rows(board):
        lines.append([row, *(_markdown_field(board, score) for score in scores)])
    table = "\n".join(f"| {' | '.join(_escaped(item) for item in line)} |" for line in lines)
    return f"**{title(board)}**\n\n{table}\n\n{footnote(board)}\n"


def _markdown_field(board: Leaderboard, score: Score | None) -> str:
    text = cell_text(score)
    if is_best(board, score):
        return f"**{text}**"
    return f"{text} {TIED}" if is_tied(score) else text


def _escaped(item: str) -> str:
    return item.replace("|", "\\|")


def _latex(board: Leaderboard) -> str:
    columns = [latex_text(column) or r"\%" for column in board.columns]
    lines = [" & ".join([latex_text(board.row_axis), *columns]) + r" \\", r"\midrule"]
    for row, scores in _rows(board):
        lines.append(" & ".join([latex_text(row), *(_latex_field(board, score) for score in scores)]) + r" \\")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(title(board))}. {latex_text(footnote(board))}}}",
            rf"\label{{tab:{board.metric.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{l{'r' * len(board.columns)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_field(board: Leaderboard, score: Score | None) -> str:
    text = latex_text(cell_text(score))
    if is_best(board, score):
        return rf"\textbf{{{text}}}"
    return rf"{text}\rlap{{\,$^\dagger$}}" if is_tied(score) else text  # beside the number, which stays in line


def latex_text(text: str) -> str:
    r"""A name as LaTeX prints it.

    >>> print(latex_text("trimmed_mean 50 % {a} ± 1"))
    trimmed\_mean 50 \% \{a\} $\pm$ 1
    """
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "±": r"$\pm$", "†": r"$\dagger$", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
        "[": "{[}", "*": "{*}",  # at the start of a row they would be arguments of the line break before it
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }  # fmt: skip
    return "".join(special.get(sign, sign) for sign in text)
