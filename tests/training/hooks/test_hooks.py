"""FedProx, clamping and clipping: by hand, against torch, and inside training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.errors import ConfigError
from phalanx.core.types import RoundContext
from phalanx.training import SGD, ClampGradient, ClipGradientNorm, FedProx


def apply(hook, gradient, params=None):
    changed = gradient.clone()
    hook.gradient(changed, torch.zeros_like(gradient) if params is None else params, RoundContext.for_matrix(gradient))
    return changed


def test_fedprox_is_the_gradient_of_its_term():
    params = torch.tensor([[1.0, -2.0], [0.5, 0.0]], requires_grad=True)
    (0.3 / 2 * params.square().sum()).backward()
    torch.testing.assert_close(apply(FedProx(0.3), torch.zeros(2, 2), params.detach()), params.grad)


def test_fedprox_keeps_clients_closer_to_the_global_model(world, nets):
    here = world(nets["mlp"], (20,))
    free, bound = (here.train(SGD(0.1, epochs=5, batch_size=4, hooks=hooks)).matrix.norm() for hooks in ((), (FedProx(5.0),)))
    assert bound < 0.7 * free


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_a_clamped_step_moves_no_weight_further_than_lr_times_the_limit(world, nets, engine):
    here = world(nets["linear_model"], (6, 9))
    rows = here.train(SGD(0.5, steps=1, hooks=(ClampGradient(0.01),), engine=engine))
    assert rows.matrix.abs().max() == pytest.approx(0.005, rel=1e-4)


@given(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), st.floats(0.1, 10))
def test_a_clipped_gradient_keeps_its_direction_and_fits_the_ball(row, max_norm):
    gradient = torch.tensor([row])
    clipped = apply(ClipGradientNorm(max_norm), gradient)
    assert clipped.norm() <= max_norm * (1 + 1e-5)
    expected = gradient if gradient.norm() <= max_norm else gradient * max_norm / gradient.norm()
    torch.testing.assert_close(clipped, expected)


def test_each_client_is_clipped_by_its_own_norm():
    clipped = apply(ClipGradientNorm(5.0), torch.tensor([[30.0, 40.0], [0.3, 0.4], [0.0, 0.0]]))
    torch.testing.assert_close(clipped, torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))


@pytest.mark.parametrize("hook", [FedProx, ClampGradient, ClipGradientNorm])
def test_a_hook_refuses_what_makes_no_sense(hook):
    with pytest.raises(ConfigError):
        hook(0.0)
