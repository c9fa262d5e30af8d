import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from phalanx.experiments import Leaderboard, Score
from phalanx.report.marks import footnote, title
from phalanx.report.tables import cell_text, latex_text, rich_table, to_csv, to_document, to_latex, to_markdown

BOARD = Leaderboard(
    metric="attack_success",
    higher_is_better=False,
    row_axis="rule",
    column_axis="attack",
    rows=("trimmed_mean", "a|b & c"),
    columns=("min_max", "none"),
    scores={
        ("trimmed_mean", "min_max"): Score({1: 0.5, 2: 0.6}),
        ("a|b & c", "min_max"): Score({1: 0.123, 2: 0.123}, is_best=True),
        ("a|b & c", "none"): Score({2: 1.0}, is_best=True),
    },
)
TIED = Leaderboard(
    metric="accuracy",
    higher_is_better=True,
    row_axis="rule",
    column_axis="",
    rows=("mean", "median", "krum"),
    columns=("",),
    scores={
        ("mean", ""): Score({1: 0.9, 2: 0.8, 3: 0.7}, is_best=True),
        ("median", ""): Score({1: 0.8, 2: 0.8, 3: 0.75}, is_tied=True),
        ("krum", ""): Score({1: 0.99, 2: 0.99}, is_complete=False),
    },
)
SINGLE = Leaderboard("accuracy", True, "rule", "", ("mean",), ("",), {("mean", ""): Score({1: 0.8765}, True)})


@pytest.mark.parametrize(
    "score, text",
    [
        (None, "–"),
        (Score({1: 0.8765}, True), "87.6"),
        (Score({1: 0.5, 2: 0.6}, False), "55.0 ± 7.1"),
        (Score({1: 1.0, 2: 1.0}, False), "100.0 ± 0.0"),
    ],
)
def test_a_field_has_one_decimal_a_deviation_where_there_is_one_and_a_dash_for_nothing(score, text):
    assert cell_text(score) == text


def test_the_footnote_says_what_the_marks_mean_and_how_many_seeds_there_are():
    assert footnote(TIED) == (
        "Mean ± sample standard deviation over 2 to 3 seeds. Bold: the best of its column. "
        "†: not shown to be worse than the best (a one-sided paired t-test over the seeds, 95 %). "
        "Incomplete, so not compared: krum (2 of 3 seeds)."
    )
    assert title(BOARD) == "Attack success in percent, lower is better"


def test_with_fewer_than_three_seeds_the_footnote_says_that_nothing_is_tested():
    assert footnote(BOARD, best="*") == (
        "Mean ± sample standard deviation over 1 to 2 seeds. *: the best of its column. "
        "No test is made with fewer than 3 seeds."
    )


def test_a_single_row_has_no_mark_and_a_single_seed_no_spread():
    assert footnote(SINGLE) == "One seed: nothing can be told about the spread."
    assert "| mean | 87.6 |" in to_markdown([SINGLE])


def test_columns_with_too_few_seeds_are_told_from_those_that_are_tested():
    few = {("mean", "few"): Score({1: 0.9}, is_best=True), ("median", "few"): Score({1: 0.8})}
    board = replace(TIED, columns=("", "few"), scores={**TIED.scores, **few})
    assert "not shown to be worse" in footnote(board)
    assert "No test is made in columns with fewer than 3 seeds." in footnote(board)


def test_many_incomplete_rows_are_counted():
    late = {(f"rule {place}", ""): Score({1: 0.5}, is_complete=False) for place in range(6)}
    assert footnote(replace(TIED, scores={**TIED.scores, **late})).endswith(
        "krum (2 of 3 seeds); rule 0 (1 of 3 seeds); rule 1 (1 of 3 seeds); rule 2 (1 of 3 seeds); 3 more."
    )


def test_the_best_the_tied_and_the_incomplete_are_told_apart_in_every_form():
    console = Console(width=100, no_color=True, record=True, file=io.StringIO())
    console.print(rich_table(TIED))
    lines = console.export_text()
    assert "│ 80.0 ± 10.0 * │" in lines
    assert "│  78.3 ± 2.9 † │" in lines
    assert "│  99.0 ± 0.0   │" in lines
    assert "| **80.0 ± 10.0** |\n| median | 78.3 ± 2.9 † |\n| krum | 99.0 ± 0.0 |\n" in to_markdown([TIED])
    text = to_latex([TIED])
    assert r"mean & \textbf{80.0 $\pm$ 10.0} \\" in text
    assert r"median & 78.3 $\pm$ 2.9\rlap{\,$^\dagger$} \\" in text
    assert r"krum & 99.0 $\pm$ 0.0 \\" in text
    assert r"$\dagger$: not shown to be worse" in text
    rows = csv.DictReader(io.StringIO(to_csv([TIED])))
    assert [(row["best"], row["tied"], row["complete"]) for row in rows] == [
        ("true", "false", "true"), ("false", "true", "true"), ("false", "false", "false"),
    ]  # fmt: skip
    scores = to_document(TIED)["scores"]
    assert [(score["is_best"], score["is_tied"], score["is_complete"]) for score in scores] == [
        (True, False, True), (False, True, True), (False, False, False),
    ]  # fmt: skip


def test_names_in_square_brackets_are_names_and_no_markup():
    board = replace(TIED, row_axis="[red]", columns=("[bold]",), scores={("mean", "[bold]"): Score({1: 0.9})})
    console = Console(width=200, no_color=True, record=True, file=io.StringIO())
    console.print(rich_table(board))
    lines = console.export_text()
    assert "[red]" in lines
    assert "[bold]" in lines


def test_the_terminal_s_table_marks_the_best_even_without_colours():
    console = Console(width=100, no_color=True, record=True, file=io.StringIO())
    console.print(rich_table(BOARD))
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "Attack success in percent, lower is better"
    (trimmed,) = (line for line in lines if "trimmed_mean" in line)
    (other,) = (line for line in lines if "a|b & c" in line)
    assert [part.strip() for part in trimmed.strip("│").split("│")] == ["trimmed_mean", "55.0 ± 7.1", "–"]
    assert "12.3 ± 0.0 *" in other
    assert "100.0 *" in other


def test_csv_holds_shares_deviations_and_every_seed_s_value():
    rows = list(csv.DictReader(io.StringIO(to_csv([BOARD, SINGLE]))))
    assert len(rows) == 4
    assert rows[0] == {
        "metric": "attack_success",
        "row": "trimmed_mean",
        "column": "min_max",
        "mean": "0.55",
        "deviation": "0.0707107",
        "seeds": "2",
        "best": "false",
        "tied": "false",
        "complete": "true",
        "values": "1=0.5 2=0.6",
    }
    assert (rows[3]["metric"], rows[3]["column"], rows[3]["mean"], rows[3]["deviation"]) == ("accuracy", "", "0.8765", "")


def test_markdown_escapes_bars_and_sets_the_best_bold():
    text = to_markdown([BOARD, SINGLE])
    assert "| rule | min_max | none |\n| --- | ---: | ---: |\n| trimmed_mean | 55.0 ± 7.1 | – |\n" in text
    assert r"| a\|b & c | **12.3 ± 0.0** | **100.0** |" in text
    assert "**Attack success in percent, lower is better**" in text
    assert "| rule | % |" in text


def test_latex_is_a_booktabs_table_with_names_escaped():
    text = to_latex([BOARD])
    assert r"rule & min\_max & none \\" in text
    assert r"trimmed\_mean & 55.0 $\pm$ 7.1 & -- \\" in text
    assert r"a\textbar{}b \& c & \textbf{12.3 $\pm$ 0.0} & \textbf{100.0} \\" in text
    assert r"\label{tab:attack-success}" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrr}")] == [1, 1, 1, 1]
    assert text.count("{") == text.count("}")


def test_a_row_that_latex_would_read_as_an_option_of_the_line_before_is_in_braces():
    board = replace(TIED, rows=("[0.1] a", "* b"), scores={("[0.1] a", ""): Score({1: 0.5}), ("* b", ""): Score({1: 0.5})})
    lines = to_latex([board]).splitlines()
    assert [line[0] for line in lines if line.endswith(r"50.0 \\")] == ["{", "{"]
    assert r"{[}0.1] a & 50.0 \\" in lines


@pytest.mark.parametrize("sign", list("&%$#_{}~^\\"))
def test_every_special_sign_of_latex_is_escaped(sign):
    escaped = latex_text(f"a{sign}b")
    assert escaped.startswith("a\\")
    assert escaped.endswith("b")
