import csv
import io

import pytest
from rich.console import Console

from phalanx.experiments import Leaderboard, Score
from phalanx.report.tables import cell_text, footnote, latex_text, rich_table, title, to_csv, to_latex, to_markdown

BOARD = Leaderboard(
    metric="attack_success",
    higher_is_better=False,
    row_axis="rule",
    column_axis="attack",
    rows=("trimmed_mean", "a|b & c"),
    columns=("min_max", "none"),
    scores={
        ("trimmed_mean", "min_max"): Score({1: 0.5, 2: 0.6}, False),
        ("a|b & c", "min_max"): Score({1: 0.123, 2: 0.123}, True),
        ("a|b & c", "none"): Score({2: 1.0}, True),
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
    assert footnote(BOARD).startswith("Mean ± sample standard deviation over 1 to 2 seeds. Bold: the best of the column, and ")
    assert "a one-sided paired t-test does not show to be worse at 95 %." in footnote(BOARD)
    assert footnote(SINGLE, mark="*").startswith("One seed: nothing can be told about the spread. *: the best")
    assert title(BOARD) == "Attack success in percent, lower is better"


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
    assert r"to be worse at 95 \%." in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrr}")] == [1, 1, 1, 1]
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("sign", list("&%$#_{}~^\\"))
def test_every_special_sign_of_latex_is_escaped(sign):
    escaped = latex_text(f"a{sign}b")
    assert escaped.startswith("a\\")
    assert escaped.endswith("b")
