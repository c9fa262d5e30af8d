"""The compact form of L-BFGS against BFGS with matrices, one pair after another."""

import pytest
import torch
from torch import Tensor

from phalanx.aggregators.hessian import hessian_product


def bfgs(moves: Tensor, changes: Tensor) -> Tensor:
    sigma = moves[-1] @ changes[-1] / (moves[-1] @ moves[-1])
    matrix = sigma * torch.eye(moves.shape[1], dtype=torch.float64)
    for s, y in zip(moves, changes):
        moved = matrix @ s
        matrix = matrix - torch.outer(moved, moved) / (s @ moved) + torch.outer(y, y) / (y @ s)
    return matrix


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_bfgs_with_matrices(seed: int, sign: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    moves = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    changes = sign * moves @ (root @ root.T + torch.eye(6))
    vector = torch.randn(6, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(hessian_product(moves, changes, vector), bfgs(moves, changes) @ vector)
    # The last pair is met exactly.
    torch.testing.assert_close(hessian_product(moves, changes, moves[-1]), changes[-1])


def test_one_pair_by_hand_and_the_same_pair_twice() -> None:
    move, change = torch.tensor([[2.0, 0.0]]), torch.tensor([[6.0, 0.0]])
    for m in (1, 2):
        product = hessian_product(move.repeat(m, 1), change.repeat(m, 1), torch.tensor([1.0, 1.0]))
        assert product.tolist() == pytest.approx([3.0, 3.0])
