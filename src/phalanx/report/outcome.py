"""The outcome in a sentence or two: computed from what was measured, and careful about what was not."""

from statistics import fmean

from phalanx.experiments import Leaderboard, Score, leaderboards
from phalanx.report.group import Group, Subject
from phalanx.report.harm import ONLY_BESIDE, clean_groups, is_harmed, is_whole, without_attack
from phalanx.report.numbers import count, mean_percent, percent

MOST_NAMES, MOST_SURVIVORS = 6, 16


def outcome(subject: Subject) -> list[str]:
    """Sentences for the top of a page."""
    if subject.sweep is not None:
        return _of_sweep(subject)
    gaps = [run.gap for group in subject.groups for run in group.runs if run.gap is not None]
    if len(subject.groups) == 1:
        return [_of_group(subject.groups[0]), *gaps]
    return [*_of_groups(subject), *gaps]


def state(group: Group) -> str:
    """Whether its runs are finished, and how far they have come if not."""
    if group.is_finished:
        return "finished"
    done = [len(run.rounds) for run in group.runs if not run.is_finished]
    unfinished = "" if len(group.runs) == 1 else f"{len(done)} of {count(len(group.runs), 'run')} "
    reached = f"{min(done)}" if min(done) == max(done) else f"{min(done)} to {max(done)}"
    return f"{unfinished}not finished: {reached} of {group.experiment.run.rounds} rounds"


def rule_name(group: Group) -> str:
    """The rule as the beginning of a sentence: `Trimmed mean`."""
    return group.experiment.aggregator.kind.replace("_", " ").capitalize()


def attack_name(group: Group) -> str:
    """The attack's parts: `backdoor with model replacement`."""
    adversary = group.experiment.adversary
    parts = [part.kind for part in (adversary.data, adversary.client, adversary.update) if part is not None]
    return " with ".join(part.replace("_", " ") for part in parts)


def _of_group(group: Group) -> str:
    accuracy, success = group.finals("accuracy"), group.finals("attack_success")
    if not accuracy:
        return f"{rule_name(group)} is {state(group)}; nothing has been tested yet."
    unfinished = "" if group.is_finished else f"Still {state(group)}. So far: "
    seeds = f", the mean ± deviation over {len(group.runs)} seeds" if len(group.runs) > 1 else ""
    reached = f"{mean_percent(accuracy)} accuracy"
    if not group.is_attacked:
        return f"{unfinished}{rule_name(group)} reached {reached} after {_rounds(group)}, with no attack{seeds}."
    cost = f"What the attack cost {ONLY_BESIDE}."
    if not success:
        return (
            f"{unfinished}{rule_name(group)} reached {reached} after {_rounds(group)} under {attack_name(group)}{seeds}. {cost}"
        )
    base = mean_percent(group.finals("base_rate"))
    return (
        f"{unfinished}{rule_name(group)} reached {reached} after {_rounds(group)}, and the attack ({attack_name(group)}) "
        f"succeeded on {mean_percent(success)} of the samples that it aims at{seeds}. "
        f"Left as they are, the same samples are taken for the attacker's class in {base} of the cases. {cost}"
    )


def _rounds(group: Group) -> str:
    return count(group.runs[0].final["round"] + 1, "round")


def _of_groups(subject: Subject) -> list[str]:
    tested = [group for group in subject.groups if group.finals("accuracy")]
    runs = sum(len(group.runs) for group in subject.groups)
    sentences = [f"{count(len(subject.groups), 'experiment')} in {count(runs, 'run')}."]
    if unfinished := [group for group in subject.groups if not group.is_finished]:
        sentences.append(f"Not finished: {'; '.join(f'{group.label} ({state(group)})' for group in unfinished[:3])}.")
    if not tested:
        return [" ".join([*sentences, "Nothing has been tested yet."])]
    sentences.append(_highest(tested))
    clean = clean_groups(subject)
    judged = [(group, is_harmed(group, clean.get(place))) for place, group in enumerate(subject.groups) if group.is_attacked]
    harmed, unharmed, unknown = ([group.label for group, harm in judged if harm is kind] for kind in (True, False, None))
    if harmed:
        sentences.append(f"The attack did harm to {_listed(harmed)}{f', and none to {_listed(unharmed)}' if unharmed else ''}.")
    elif unharmed:
        sentences.append(f"The attack did no harm to {_listed(unharmed)}.")
    if unknown:
        sentences.append(f"What it cost {_listed(unknown)} {ONLY_BESIDE}.")
    return [" ".join(sentences)]


def _highest(tested: list[Group]) -> str:
    """Everyone whose mean is the highest, as far as it is written."""
    means = {group.label: percent(fmean(group.finals("accuracy"))) for group in tested}
    top = percent(max(fmean(group.finals("accuracy")) for group in tested))
    is_mean = any(len(group.finals("accuracy")) > 1 for group in tested)
    return f"The highest {'mean ' * is_mean}accuracy is {top}, with {_listed([name for name in means if means[name] == top])}."


def _of_sweep(subject: Subject) -> list[str]:
    sweep = subject.sweep
    assert sweep is not None
    cells = sweep.sweep.cells
    finished = sum(run.is_finished for run in sweep.runs.values())
    failed = sum(1 for cell in cells if sweep.failure(cell) is not None)
    progress = f"{finished} of {count(len(cells), 'cell')} {'is' if finished == 1 else 'are'} finished"
    progress += f", {failed} failed" if failed else ""
    boards = leaderboards(sweep)
    return [f"{progress}.", *_bests(boards), *_survivors(subject)]


def _bests(boards: tuple[Leaderboard, ...]) -> list[str]:
    """Who is the best in all columns, if anyone is; and apart from it, who is nowhere shown to be worse."""
    sentences = []
    for board in boards:
        standing = {row: [board.scores.get((row, column), Score({})) for column in board.columns] for row in board.rows}
        best = [row for row, scores in standing.items() if all(score.is_best for score in scores)]
        tied = [row for row, scores in standing.items() if all(score.is_best or score.is_tied for score in scores)]
        if len(board.rows) > 1 and best:
            what = "highest accuracy" if board.metric == "accuracy" else "lowest attack success"
            where = f" in all {len(board.columns)} columns" if len(board.columns) > 1 else ""
            some = " among the rows with all seeds" if any(not score.is_complete for score in board.scores.values()) else ""
            others = [row for row in tied if row not in best]
            beside = f"; not shown to be worse: {_counted(others, board)}" if others else ""
            sentences.append(f"The {what}{where}{some}: {_counted(best, board)}{beside}.")
    return sentences


def _counted(rows: list[str], board: Leaderboard) -> str:
    return _listed(rows) if len(rows) <= MOST_NAMES else f"{len(rows)} of {len(board.rows)} rows"


def _survivors(subject: Subject) -> list[str]:
    """How many attacks each row stood: cells that differ in nothing but the attack are a row. Only what was measured counts."""
    clean, keys = clean_groups(subject), [without_attack(group) for group in subject.groups]
    rows: dict[str, list[Group]] = {}
    for key, group in zip(keys, subject.groups):
        rows.setdefault(key, []).append(group)
    verdicts: dict[str, list[bool | None]] = {}
    for place, (key, group) in enumerate(zip(keys, subject.groups)):
        if group.is_attacked and is_whole(group, subject.sweep):
            verdicts.setdefault(_shared_place(rows[key]), []).append(is_harmed(group, clean.get(place)))
    measured = {row: found for row, found in verdicts.items() if None not in found}
    stood = sorted(measured, key=lambda row: (measured[row].count(True) / len(measured[row]), row))
    told = [f"{row} {measured[row].count(False)} of {len(measured[row])}" for row in stood]
    between = "; " if any("," in row for row in stood) else ", "
    sentences = [f"Attacks stood without harm: {between.join(told)}."] if told else []
    if len(told) > MOST_SURVIVORS:
        unharmed = sum(True not in found for found in measured.values())
        sentences = [f"{unharmed} of {len(measured)} rows stood all attacks without harm."]
    if len(measured) < len(verdicts):
        left = f" {len(verdicts) - len(measured)} of {len(verdicts)} rows" if told else ""
        sentences.append(f"What the attacks cost{left} {ONLY_BESIDE}.")
    return sentences


def _shared_place(groups: list[Group]) -> str:
    """What groups of a sweep have in common: their variants on the axes that do not tell them apart."""
    first, *others = (group.place for group in groups)
    shared = [name for axis, name in first.items() if all(place[axis] == name for place in others)]
    return ", ".join(shared) or rule_name(groups[0])


def _listed(names: list[str], most: int = MOST_NAMES) -> str:
    """`a, b and c`; names that hold commas themselves are set apart by semicolons."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    if any("," in name for name in shown):
        return "; ".join(shown)
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
