"""When attackers attack, round by round."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks import Always, EveryRounds, FromTo, Never, Rounds, Staggered
from phalanx.core.component import members
from phalanx.core.errors import ConfigError
from phalanx.core.families import Schedule

CASES = [
    (Always(), [0, 1, 2, 3, 4, 5, 6, 7]),
    (Never(), []),
    (Rounds((4, 0)), [0, 4]),
    (FromTo(), [0, 1, 2, 3, 4, 5, 6, 7]),
    (FromTo(first=3), [3, 4, 5, 6, 7]),
    (FromTo(last=2), [0, 1, 2]),
    (FromTo(first=5, last=5), [5]),
    (EveryRounds(3), [0, 3, 6]),
    (EveryRounds(3, first=2), [2, 5]),
    (EveryRounds(1, first=6), [6, 7]),
    (Staggered((1, 6)), [1]),
]


@pytest.mark.parametrize(("schedule", "rounds"), CASES, ids=repr)
def test_attacker_0_attacks_in_these_of_the_first_eight_rounds(schedule: Schedule, rounds: list[int]) -> None:
    assert [round for round in range(8) if schedule.is_active(round, 0)] == rounds


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in CASES if not isinstance(schedule, Staggered)], ids=repr)
@given(round=st.integers(0, 1000), attacker=st.integers(0, 100))
def test_all_attackers_keep_the_same_hours_unless_they_are_staggered(schedule: Schedule, round: int, attacker: int) -> None:
    assert schedule.is_active(round, attacker) == schedule.is_active(round, 0)


def test_staggered_attackers_strike_once_each_in_their_own_round() -> None:
    schedule = Staggered((12, 14, 16, 18))
    active = [(round, attacker) for round in range(100) for attacker in range(6) if schedule.is_active(round, attacker)]
    assert active == [(12, 0), (14, 1), (16, 2), (18, 3)]


def test_an_attacker_of_any_number_stands_still_beyond_the_list() -> None:
    assert not Staggered((3,)).is_active(3, attacker=1)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in CASES], ids=repr)
@pytest.mark.parametrize("round", [0, 1, 5, 8])
def test_an_attack_begins_before_a_round_if_anybody_attacked_earlier(schedule: Schedule, round: int) -> None:
    earlier = any(schedule.is_active(before, attacker) for before in range(round) for attacker in range(9))
    assert schedule.begins_before(round) == earlier


def test_schedules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="first=5, last=4"):
        FromTo(first=5, last=4)
    for make in (lambda: Rounds(()), lambda: Rounds((-1,)), lambda: Staggered(()), lambda: EveryRounds(0)):
        with pytest.raises(ConfigError):
            make()


def test_every_schedule_of_the_library_is_tried_and_survives_a_table() -> None:
    tried = {schedule.kind for schedule, _ in CASES}
    assert tried == {kind for kind, member in members(Schedule).items() if member.__module__.startswith("phalanx.")}
    assert all(Schedule.from_table(schedule.to_table()) == schedule for schedule, _ in CASES)
