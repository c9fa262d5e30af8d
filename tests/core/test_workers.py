"""However many workers share the work, the bits are the same."""

import pytest
import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.columns import reduce_columns, reduce_sorted_columns
from phalanx.core.workers import do_parts, workers


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [3, 60])
def test_two_workers_give_the_same_bits_as_one(n: int) -> None:
    matrix, centre = normal(n, 150_000), normal(150_000, seed=1)

    def everything() -> list[Tensor]:
        return [
            linalg.norms(matrix),
            linalg.norms(matrix, centre=centre),
            linalg.gram(matrix, centre=centre),
            linalg.cosine_distances(matrix),
            linalg.weighted_sum(torch.arange(n, dtype=torch.float64), matrix),
            reduce_sorted_columns(matrix, lambda ascending: ascending.mean(dim=1)),
            reduce_columns(matrix, lambda block: block.sign().sum(dim=0)),
        ]

    alone = everything()
    with workers(2):
        together = everything()
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one, two)


def test_an_error_in_a_workers_part_is_raised() -> None:
    def fail(ascending: Tensor) -> Tensor:
        raise ZeroDivisionError

    with workers(2), pytest.raises(ZeroDivisionError):
        reduce_sorted_columns(normal(60, 50_000), fail)


def test_parts_are_done_whether_there_are_workers_or_not() -> None:
    done: list[tuple[int, int]] = []

    def note(part: slice) -> None:
        done.append((part.start, part.stop))

    do_parts(note, 100_000, 1_000)
    with workers(2):
        do_parts(note, 100_000, 1_000)
    assert sorted(done[:8]) == sorted(done[8:])
    assert (done[0][0], done[7][1]) == (0, 100_000)
