"""Distributed (DBA): parts for the attackers, the union for the test."""

import pytest
import torch

from phalanx.attacks.data import Distributed, Patch, Plus
from phalanx.core.errors import ConfigError


def test_attackers_take_the_parts_in_turn() -> None:
    first, second = Patch(1), Plus()
    trigger = Distributed((first, second))
    assert [trigger.part(attacker) for attacker in range(4)] == [first, second, first, second]


def test_on_black_images_the_union_of_separate_parts_is_their_sum() -> None:
    images = torch.zeros(2, 3, 32, 32)
    trigger = Distributed.cifar10()
    assert trigger.stamp(images).equal(sum(part.stamp(images) for part in trigger.parts))


def test_parts_that_overlap_make_a_union_not_a_sum() -> None:
    images = torch.zeros(1, 1, 4, 4)
    assert Distributed((Patch(3), Patch(2))).stamp(images).equal(Patch(3).stamp(images))


@pytest.mark.parametrize(
    ("trigger", "size", "rows", "columns"),
    [
        (Distributed.mnist(), 28, (0, 3), [0, 1, 2, 3, 6, 7, 8, 9]),
        (Distributed.cifar10(), 32, (0, 4), [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]),
    ],
)
def test_the_published_parts_lie_where_they_were_published(
    trigger: Distributed, size: int, rows: tuple[int, int], columns: list[int]
) -> None:
    mark = trigger.stamp(torch.zeros(1, 1, size, size))[0, 0]
    assert {tuple(pixel) for pixel in mark.nonzero().tolist()} == {(row, column) for row in rows for column in columns}
    assert [int(part.stamp(torch.zeros(1, 1, size, size)).sum()) for part in trigger.parts] == [len(columns) // 2] * 4
    assert trigger.part(1).stamp(torch.zeros(1, 1, size, size))[0, 0, 0, columns[-1]] == 1, "part 1 is the top right bar"


def test_a_part_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Patch.*column=9.*reaches row 0, column 14"):
        Distributed.cifar10().stamp(torch.zeros(1, 1, 10, 10))


def test_nothing_is_no_trigger() -> None:
    with pytest.raises(ConfigError):
        Distributed(())


def test_parts_survive_a_table() -> None:
    trigger = Distributed((Patch(1, 2), Plus(value=0.5)))
    assert Distributed.from_table(trigger.to_table()) == trigger
