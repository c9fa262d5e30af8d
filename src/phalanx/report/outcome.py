"""The outcome in a sentence or two: computed from what was measured, and careful about what was not."""

from statistics import fmean

from phalanx.experiments import Leaderboard, leaderboards
from phalanx.report.group import Group, Subject
from phalanx.report.numbers import count, mean_percent

LOST_ACCURACY = 0.05
WORKING_ATTACK = 0.5
MOST_NAMES = 6
HARM = (
    f"Harm means: the attack succeeds on more than {WORKING_ATTACK * 100:.0f} % of the samples that it aims at, or accuracy is "
    f"more than {LOST_ACCURACY * 100:.0f} points below the same rule's without the attack, where that was run, too."
)


def outcome(subject: Subject) -> list[str]:
    """Sentences for the top of a page."""
    if subject.sweep is not None:
        return _of_sweep(subject)
    if len(subject.groups) == 1:
        return [_of_group(subject.groups[0])]
    return _of_groups(subject)


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


def clean_groups(subject: Subject) -> dict[int, Group]:
    """For each attacked group, by place, the group with the same config but for the adversary that nobody attacks."""
    clean = [group for group in subject.groups if not group.is_attacked]
    found = {}
    for place, group in enumerate(subject.groups):
        twins = [other for other in clean if _without_attack(other) == _without_attack(group)]
        if group.is_attacked and twins:
            found[place] = twins[0]
    return found


def is_harmed(group: Group, clean: Group | None) -> bool | None:
    """Whether the attack did harm (see HARM); None if nothing was measured that could say so."""
    success, accuracy = group.finals("attack_success"), group.finals("accuracy")
    if success and fmean(success) > WORKING_ATTACK:
        return True
    without = clean.finals("accuracy") if clean else []
    if accuracy and without:
        return fmean(accuracy) < fmean(without) - LOST_ACCURACY
    return False if success else None


def _without_attack(group: Group) -> dict[str, object]:
    table = group.experiment.to_table()
    deciding = {"rounds": table["run"]["rounds"]}
    return {**table, "run": deciding, "adversary": None}


def _of_group(group: Group) -> str:
    accuracy, success = group.finals("accuracy"), group.finals("attack_success")
    if not accuracy:
        return f"{rule_name(group)} is {state(group)}; nothing has been tested yet."
    unfinished = "" if group.is_finished else f"Still {state(group)}. So far: "
    seeds = f", the mean ± deviation over {len(group.runs)} seeds" if len(group.runs) > 1 else ""
    reached = f"{mean_percent(accuracy)} accuracy"
    if not group.is_attacked:
        return f"{unfinished}{rule_name(group)} reached {reached} after {_rounds(group)}, with no attack{seeds}."
    if not success:
        return (
            f"{unfinished}{rule_name(group)} reached {reached} after {_rounds(group)} under {attack_name(group)}{seeds}. "
            "What the attack cost shows only beside the same run without it."
        )
    base = mean_percent(group.finals("base_rate"))
    held = (
        f"held the attack ({attack_name(group)}) at {mean_percent(success)} success"
        if fmean(success) <= WORKING_ATTACK
        else f"let the attack ({attack_name(group)}) succeed on {mean_percent(success)} of the samples that it aims at"
    )
    return (
        f"{unfinished}{rule_name(group)} reached {reached} and {held} after {_rounds(group)}{seeds}. "
        f"Left as they are, the same samples are taken for the attacker's class in {base} of the cases."
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
    best = max(tested, key=lambda group: fmean(group.finals("accuracy")))
    sentences.append(f"The highest accuracy is {mean_percent(best.finals('accuracy'))}, with {best.label}.")
    clean = clean_groups(subject)
    judged = [(group, is_harmed(group, clean.get(place))) for place, group in enumerate(subject.groups) if group.is_attacked]
    harmed = [group.label for group, harm in judged if harm]
    unharmed = [group.label for group, harm in judged if harm is False]
    if harmed:
        sentences.append(f"The attack did harm to {_listed(harmed)}{f', and none to {_listed(unharmed)}' if unharmed else ''}.")
    elif unharmed:
        sentences.append(f"The attack did no harm to {_listed(unharmed)}.")
    return [" ".join(sentences)]


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
    """Who is marked best in all columns, if anyone is."""
    sentences = []
    for board in boards:
        always = [
            row
            for row in board.rows
            if all((row, column) in board.scores and board.scores[row, column].is_best for column in board.columns)
        ]
        if len(board.rows) > 1 and always:
            what = "highest accuracy" if board.metric == "accuracy" else "lowest attack success"
            where = f" in all {len(board.columns)} columns" if len(board.columns) > 1 else ""
            tied = ", not to be told apart" if len(always) > 1 else ""
            who = _listed(always) if len(always) <= MOST_NAMES else f"{len(always)} of {len(board.rows)} rows"
            sentences.append(f"The {what}{where}: {who}{tied}.")
    return sentences


def _survivors(subject: Subject) -> list[str]:
    clean = clean_groups(subject)
    verdicts: dict[str, list[bool]] = {}
    for place, group in enumerate(subject.groups):
        harm = is_harmed(group, clean.get(place)) if group.is_attacked and group.is_finished else None
        if harm is not None:
            verdicts.setdefault(rule_name(group), []).append(harm)
    if not verdicts:
        return []
    stood = sorted(verdicts, key=lambda rule: (sum(verdicts[rule]) / len(verdicts[rule]), rule))
    told = [f"{rule} {len(verdicts[rule]) - sum(verdicts[rule])} of {len(verdicts[rule])}" for rule in stood]
    return [f"Attacks stood without harm: {', '.join(told)}."]


def _listed(names: list[str], most: int = MOST_NAMES) -> str:
    """`a, b and c`; names that hold commas themselves are set apart by semicolons."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    if any("," in name for name in shown):
        return "; ".join(shown)
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
