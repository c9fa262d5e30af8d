"""A Hessian seen only through steps and what they changed: the compact form of L-BFGS."""

import torch
from torch import Tensor


def hessian_product(moves: Tensor, changes: Tensor, vector: Tensor) -> Tensor:
    """B v `[d]`, where B is L-BFGS's estimate of the matrix that takes the moves s `[m, d]` to the changes y `[m, d]`.

    ```
    B v = σ v − [σ S, Y] M⁻¹ [σ Sᵀ v; Yᵀ v],  M = [[σ SᵀS, L], [Lᵀ, −D]],  σ = sᵀy / sᵀs of the last pair
    ```
    with SᵀY = L + D + R, strictly lower, diagonal, strictly upper. Worked in float64; pairs that add nothing are ignored
    (pseudoinverse). Time O(m² d).

    Reference: Byrd, Nocedal, Schnabel, Representations of Quasi-Newton Matrices and Their Use in Limited Memory Methods,
    Mathematical Programming 1994, Theorem 2.3.
    """
    s, y, v = moves.double(), changes.double(), vector.double()
    ss, sy = s @ s.T, s @ y.T
    sigma = sy[-1, -1] / ss[-1, -1]
    lower = sy.tril(-1)
    middle = torch.cat([torch.cat([sigma * ss, lower], 1), torch.cat([lower.T, -sy.diagonal().diag()], 1)])
    weights: Tensor = torch.linalg.pinv(middle, hermitian=True) @ torch.cat([sigma * (s @ v), y @ v])
    return torch.sub(sigma * (v - weights[: len(s)] @ s), weights[len(s) :] @ y)
