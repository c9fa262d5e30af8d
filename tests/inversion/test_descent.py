"""Many descents at once, each the one that torch.optim makes alone."""

import pytest
import torch

from phalanx.inversion.descent import LBFGS, Adam


def bowl(points):
    """A function with a curved valley, its values and gradients."""
    points = points.detach().requires_grad_()
    values = (points[:, 1:] - points[:, :-1] ** 2).square().sum(1) + (1 - points).square().sum(1) / 5
    return values.detach(), torch.autograd.grad(values.sum(), points)[0]


def starts():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 3


def of_torch(start, make, steps):
    parameter = start.clone()[None].requires_grad_()
    optimizer = make([parameter])
    for _ in range(steps):

        def closure():
            values, parameter.grad = bowl(parameter)
            return values.sum()

        optimizer.step(closure)
    return parameter.detach()[0]


def ours(descent, steps):
    points = starts()
    for _ in range(steps):
        points = descent.step(points, bowl(points)[1])
    return points


@pytest.mark.parametrize("history", [100, 3])
def test_lbfgs_makes_the_steps_of_torchs_own_for_each_point(history):
    def make(parameters):
        return torch.optim.LBFGS(parameters, lr=0.5, max_iter=8, history_size=history, tolerance_change=0, tolerance_grad=0)

    theirs = torch.stack([of_torch(start, make, 1) for start in starts()])
    assert torch.allclose(ours(LBFGS(0.5, history), 8), theirs, atol=1e-9)


def test_adam_makes_the_steps_of_torchs_own_for_each_point():
    theirs = torch.stack([of_torch(start, lambda parameters: torch.optim.Adam(parameters, lr=0.1), 20) for start in starts()])
    assert torch.allclose(ours(Adam(0.1, 20), 20), theirs, atol=1e-9)


def test_signed_adam_looks_at_signs_alone():
    gradients = torch.tensor([[1e-3, -50.0, 0.0]])
    assert torch.allclose(Adam(0.1, 9, signed=True).step(torch.zeros(1, 3), gradients), torch.tensor([[-0.1, 0.1, 0.0]]))


def test_the_learning_rate_falls_by_ten_after_three_five_and_seven_eighths():
    descent, points, lengths = Adam(1.0, 8, signed=True, decay=True), torch.zeros(1, 1), []
    for _ in range(8):
        moved = descent.step(points, torch.ones(1, 1))
        lengths.append(float(points - moved))
        points = moved
    assert lengths == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001], rel=1e-2)


def test_a_box_holds_every_number():
    box = (torch.tensor([0.0, -1.0]), torch.tensor([0.5, 0.0]))
    moved = Adam(3.0, 1, box=box).step(torch.zeros(2, 2), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    assert moved.tolist() == [[0.5, -1.0], [0.0, 0.0]]


def test_numbers_behind_the_box_move_freely():
    moved = Adam(3.0, 1, box=(torch.zeros(1), torch.ones(1))).step(torch.zeros(1, 2), torch.tensor([[-1.0, -1.0]]))
    assert moved.tolist() == [[1.0, pytest.approx(3.0, rel=1e-6)]]


@pytest.mark.parametrize("make", [lambda: LBFGS(0.5), lambda: Adam(0.1, 9)], ids=["lbfgs", "adam"])
def test_a_point_that_is_no_number_spoils_no_other(make):
    points, spoilt = starts(), starts()
    spoilt[2] = torch.nan
    one, other = make(), make()
    for _ in range(5):
        points, spoilt = one.step(points, bowl(points)[1]), other.step(spoilt, bowl(spoilt)[1])
    assert spoilt[2].isnan().all()
    keep = torch.tensor([0, 1, 3, 4])
    assert torch.equal(points[keep], spoilt[keep])
