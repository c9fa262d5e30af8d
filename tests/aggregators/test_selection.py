"""Choosing by score: neither order nor rounding decides between equals."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators.selection import smallest
from phalanx.core.types import Updates


@given(st.permutations(range(6)), st.integers(1, 6), st.floats(0.1, 10))
def test_ties_are_broken_by_content_whatever_the_order_and_the_rounding(order: list[int], count: int, size: float) -> None:
    content = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    scores = size * torch.tensor([2.0, 1.0, 2.0, 2.0, 0.5, 2.0], dtype=torch.float64)
    by_score_then_content = [4, 1, 0, 2, 3, 5]
    jitter = 1 + 1e-8 * torch.arange(6, dtype=torch.float64)
    chosen = smallest(scores[order] * jitter, count, Updates.of(content[order]))
    assert {order[i] for i in chosen.nonzero().flatten().tolist()} == set(by_score_then_content[:count])


def test_scores_that_differ_need_no_content() -> None:
    updates = Updates.of(torch.ones(3, 1))
    assert smallest(torch.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]]), 2, updates).tolist() == [
        [False, True, True],
        [True, True, False],
    ]
    assert "content_rank" not in vars(updates.rows)


def test_each_line_of_scores_is_decided_alone() -> None:
    updates = Updates.of(torch.tensor([[2.0], [1.0], [0.0]]))
    chosen = smallest(torch.tensor([[1.0, 1.0, 5.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), 1, updates)
    assert chosen.tolist() == [[False, True, False], [False, False, True], [True, False, False]]
