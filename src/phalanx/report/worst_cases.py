"""The worst that any attack of a sweep does to each rule, as a table: on the page, and as Markdown for what comes after."""

from collections.abc import Sequence
from statistics import fmean

from phalanx.experiments import Losses
from phalanx.report.numbers import MISSING

EXPLANATION = (
    "Points of accuracy lost to the attack that costs most (its name beside it), below the best rule's accuracy when nobody "
    "attacks. A dash: this rule was not run here, or refused. ≥: not all attacks were run, and the others may cost more."
)


def by_worst_case(maps: Sequence[Losses]) -> list[str]:
    """The rows from the least to the most lost: by the mean of their worst cases. Those that lack something come last."""

    def standing(row: str) -> tuple[int, float]:
        worst = [found.worst[row][0] for found in maps if row in found.worst]
        return -sum(found.has_all(row) for found in maps), fmean(worst) if worst else 0.0

    rows = dict.fromkeys(row for found in maps for row in found.rows)
    return sorted(rows, key=standing)


def points(share: float) -> str:
    """A share in points, without a sign for what rounds to zero.

    >>> points(0.1234), points(-0.0001)
    ('12.3', '0.0')
    """
    return f"{share * 100:.1f}".replace("-0.0", "0.0")


def table(maps: Sequence[Losses], row_axis: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows; a column for every map."""
    head = [row_axis, *(found.where or "worst case" for found in maps)]
    return head, [[row, *(_field(found, row) for found in maps)] for row in by_worst_case(maps)]


def to_markdown(maps: Sequence[Losses], row_axis: str) -> str:
    """The table with its explanation."""
    head, rows = table(maps, row_axis)
    lines = [head, ["---", *("---:" for _ in maps)], *rows]
    escaped = ("| " + " | ".join(field.replace("|", "\\|") for field in line) + " |" for line in lines)
    return "\n".join([*escaped, "", EXPLANATION, ""])


def _field(found: Losses, row: str) -> str:
    if row not in found.worst:
        return MISSING
    lost, attack = found.worst[row]
    return f"{'' if found.has_all(row) else '≥ '}{points(lost)} {attack}"
