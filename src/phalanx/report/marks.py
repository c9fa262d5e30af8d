"""What the marks of a leaderboard say, in one place for the terminal, the files and the page.

There are two: one for the best mean of a column, one for what a test does not show to be worse than that.
"""

from collections.abc import Mapping, Sequence

from phalanx.experiments import Leaderboard, Score
from phalanx.experiments.leaderboard import CONFIDENCE, FEWEST_SEEDS

NAMES = {"accuracy": "accuracy", "attack_success": "attack success"}
TIED = "†"
MOST_NAMED = 4


def name_of(metric: str) -> str:
    """The metric as the beginning of a sentence."""
    return NAMES.get(metric, metric).capitalize()


def title(board: Leaderboard) -> str:
    """What the numbers are, and in which direction they are good."""
    return f"{name_of(board.metric)} in percent, {'higher' if board.higher_is_better else 'lower'} is better"


def is_best(board: Leaderboard, score: Score | None) -> bool:
    """Whether a field has the mark of the best; nothing has where a single row has no rival."""
    return len(board.rows) > 1 and score is not None and score.is_best


def is_tied(score: Score | None) -> bool:
    """Whether a field has the mark of those that are not shown to be worse."""
    return score is not None and score.is_tied


def footnote(board: Leaderboard, *, best: str = "Bold") -> str:
    """What the fields and the marks say, no more than the seeds can carry; `best`: how the best are marked.

    Without a test nothing is said to be no worse, and rows that lack seeds are named.
    """
    seeds = _seeds(board)
    counts = sorted({len(score.values) for score in board.scores.values()})
    told = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    sentences = [
        "One seed: nothing can be told about the spread." if counts == [1] else f"Mean ± sample standard deviation over {told}."
    ]
    if len(board.rows) > 1:
        sentences.append(f"{best}: the best of its column.")
        if max(seeds.values()) >= FEWEST_SEEDS:
            test = f"a one-sided paired t-test over the seeds, {CONFIDENCE * 100:.0f} %"
            sentences.append(f"{TIED}: not shown to be worse than the best ({test}).")
        if min(seeds.values()) < FEWEST_SEEDS:
            where = " in columns" if max(seeds.values()) >= FEWEST_SEEDS else ""
            sentences.append(f"No test is made{where} with fewer than {FEWEST_SEEDS} seeds.")
    return " ".join([*sentences, *_incomplete(board, seeds)])


def _seeds(board: Leaderboard) -> dict[str, int]:
    """How many seeds each column has in any of its rows."""
    found: dict[str, set[int]] = {}
    for (_, column), score in board.scores.items():
        found.setdefault(column, set()).update(score.values)
    return {column: len(seeds) for column, seeds in found.items()}


def _incomplete(board: Leaderboard, seeds: Mapping[str, int]) -> Sequence[str]:
    named = [
        f"{' / '.join(filter(None, place))} ({len(score.values)} of {seeds[place[1]]} seeds)"
        for place, score in board.scores.items()
        if not score.is_complete
    ]
    if not named:
        return []
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return [f"Incomplete, so not compared: {'; '.join([*named[:MOST_NAMED], *more])}."]
