"""A leaderboard as a table: in a terminal, and as CSV, Markdown and LaTeX for what comes after.

Every form says what its marks mean: the best of each column, and those that cannot be told from it.
"""

import csv
import io
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from phalanx.experiments import Leaderboard, Score
from phalanx.experiments.leaderboard import CONFIDENCE

TITLES = {"accuracy": "Accuracy", "attack_success": "Attack success"}
MISSING = "–"


def rich_table(board: Leaderboard) -> Group:
    """For the terminal: the best are green and have a star, which a pipe keeps."""
    table = Table()
    table.add_column(board.row_axis, no_wrap=True)
    for column in board.columns:
        table.add_column(column or "%", justify="right", no_wrap=True)
    for row, scores in _rows(board):
        table.add_row(Text(row), *(_styled(score) for score in scores))
    return Group(Text(title(board), style="bold"), table, Text(footnote(board, mark="*"), style="dim"))


def to_csv(boards: Sequence[Leaderboard]) -> str:
    """One line for every field that has a score, as shares: metric, row, column, mean, deviation, seeds, best, values.

    `values` are the scores by seed, `1=0.875 2=0.881`, so that nothing of the sweep is lost.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "row", "column", "mean", "deviation", "seeds", "best", "values"])
    for board in boards:
        for row, scores in _rows(board):
            for column, score in zip(board.columns, scores):
                if score is not None:
                    deviation = "" if score.deviation is None else f"{score.deviation:.6g}"
                    values = " ".join(f"{seed}={value:.6g}" for seed, value in sorted(score.values.items()))
                    best = str(score.is_best).lower()
                    found = [f"{score.mean:.6g}", deviation, len(score.values), best, values]
                    writer.writerow([board.metric, row, column, *found])
    return text.getvalue()


def to_markdown(boards: Sequence[Leaderboard]) -> str:
    """A table for each leaderboard, with its title and footnote; the best are bold."""
    return "\n".join(_markdown(board) for board in boards)


def to_latex(boards: Sequence[Leaderboard]) -> str:
    r"""A `table` for each leaderboard, with caption and label; needs `\usepackage{booktabs}`. The best are bold."""
    return "\n".join(_latex(board) for board in boards)


def title(board: Leaderboard) -> str:
    """What the numbers are, and in which direction they are good."""
    name = TITLES.get(board.metric, board.metric)
    return f"{name} in percent, {'higher' if board.higher_is_better else 'lower'} is better"


def footnote(board: Leaderboard, *, mark: str = "Bold") -> str:
    """What the fields and the marks say, no more than the seeds can carry."""
    counts = sorted({len(score.values) for score in board.scores.values()})
    if counts == [1]:
        return f"One seed: nothing can be told about the spread. {mark}: the best of the column, and what equals it."
    seeds = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    return (
        f"Mean ± sample standard deviation over {seeds}. {mark}: the best of the column, and whatever a one-sided "
        f"paired t-test does not show to be worse at {CONFIDENCE * 100:.0f} %."
    )


def cell_text(score: Score | None) -> str:
    """A field in percent with one decimal: `87.5 ± 0.4`, `87.5` for one seed, a dash for none."""
    if score is None:
        return MISSING
    spread = "" if score.deviation is None else f" ± {score.deviation * 100:.1f}"
    return f"{score.mean * 100:.1f}{spread}"


def _rows(board: Leaderboard) -> Iterator[tuple[str, list[Score | None]]]:
    for row in board.rows:
        yield row, [board.scores.get((row, column)) for column in board.columns]


def _styled(score: Score | None) -> Text:
    if score is not None and score.is_best:
        return Text(f"{cell_text(score)} *", style="bold green")
    return Text(f"{cell_text(score)}  ")


def _markdown(board: Leaderboard) -> str:
    head = [board.row_axis, *(column or "%" for column in board.columns)]
    lines = [head, ["---", *("---:" for _ in board.columns)]]
    for row, scores in _rows(board):
        texts = [cell_text(score) for score in scores]
        lines.append([row, *(f"**{text}**" if score and score.is_best else text for text, score in zip(texts, scores))])
    table = "\n".join(f"| {' | '.join(_escaped(item) for item in line)} |" for line in lines)
    return f"**{title(board)}**\n\n{table}\n\n{footnote(board)}\n"


def _escaped(item: str) -> str:
    return item.replace("|", "\\|")


def _latex(board: Leaderboard) -> str:
    columns = [latex_text(column) or r"\%" for column in board.columns]
    lines = [" & ".join([latex_text(board.row_axis), *columns]) + r" \\", r"\midrule"]
    for row, scores in _rows(board):
        lines.append(" & ".join([latex_text(row), *map(_latex_field, scores)]) + r" \\")
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


def _latex_field(score: Score | None) -> str:
    if score is None:
        return "--"
    text = cell_text(score).replace("±", r"$\pm$")
    return rf"\textbf{{{text}}}" if score.is_best else text


def latex_text(text: str) -> str:
    r"""A name as LaTeX prints it.

    >>> print(latex_text("trimmed_mean 50 % {a} ± 1"))
    trimmed\_mean 50 \% \{a\} $\pm$ 1
    """
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "±": r"$\pm$", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }  # fmt: skip
    return "".join(special.get(sign, sign) for sign in text)
