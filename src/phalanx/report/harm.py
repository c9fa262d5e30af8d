"""What an attack did to a rule, as far as it was measured: beside the same experiment that nobody attacks."""

import json
from statistics import fmean

from phalanx.experiments import SweepRecord
from phalanx.report.group import Group, Subject

LOST_ACCURACY = 0.05
WORKING_ATTACK = 0.5
HARM = (
    f"Harm means: the attack succeeds on more than {WORKING_ATTACK * 100:.0f} % of the samples that it aims at, or accuracy is "
    f"more than {LOST_ACCURACY * 100:.0f} points below the same rule's without the attack. Where that was not run, low success "
    "alone is no proof: a destroyed model does not do what the attacker wants, either."
)
ONLY_BESIDE = "shows only beside the same run without an attack"


def clean_groups(subject: Subject) -> dict[int, Group]:
    """For each attacked group, by place, the finished group with the same config but for the adversary that nobody attacks."""
    keys = [without_attack(group) for group in subject.groups]
    clean = {key: group for key, group in zip(keys, subject.groups) if not group.is_attacked and is_whole(group, subject.sweep)}
    return {place: clean[key] for place, key in enumerate(keys) if subject.groups[place].is_attacked and key in clean}


def is_harmed(group: Group, clean: Group | None) -> bool | None:
    """Whether the attack did harm (see HARM); None if nothing was measured that could say so."""
    success, accuracy = group.finals("attack_success"), group.finals("accuracy")
    if success and fmean(success) > WORKING_ATTACK:
        return True
    without = clean.finals("accuracy") if clean else []
    if not (accuracy and without and group.is_finished):
        return None
    return fmean(accuracy) < fmean(without) - LOST_ACCURACY


def without_attack(group: Group) -> str:
    """What an attacked group has in common with the one that shows what the attack cost."""
    table = group.experiment.to_table() | {"adversary": None, "tracking": None}
    return json.dumps({**table, "run": {"rounds": table["run"]["rounds"]}}, sort_keys=True)


def is_whole(group: Group, sweep: SweepRecord | None) -> bool:
    """Whether every seed is finished; in a sweep also those that have not begun."""
    seeds = len(group.runs) if sweep is None else sum(cell.place == group.place for cell in sweep.sweep.cells)
    return group.is_finished and len(group.runs) == seeds
