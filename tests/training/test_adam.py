"""Adam against torch's own, with every option."""

import pytest
import torch

from phalanx.training import SGD, Adam


@pytest.mark.parametrize(
    "betas, eps, weight_decay", [((0.9, 0.999), 1e-8, 0.0), ((0.5, 0.9), 1e-3, 0.0), ((0.9, 0.99), 1e-8, 0.1)]
)
@pytest.mark.parametrize("net", ["mlp", "cnn"])
def test_adam_agrees_with_torch(world, nets, net, betas, eps, weight_decay):
    here = world(nets[net], (13, 5))
    rows = here.train(Adam(0.01, epochs=3, batch_size=4, betas=betas, eps=eps, weight_decay=weight_decay))
    naive = here.naive(
        lambda model: torch.optim.Adam(model.parameters(), 0.01, betas=betas, eps=eps, weight_decay=weight_decay), 4, 3
    )
    torch.testing.assert_close(rows.matrix, naive, rtol=1e-5, atol=1e-8)


def test_the_first_step_is_the_gradients_sign(world, nets):
    here = world(nets["mlp"], (6,))
    row = here.train(Adam(0.01, steps=1)).matrix[0]
    descent = here.train(SGD(1.0, steps=1)).matrix[0]
    clear = descent.abs() > 1e-4
    torch.testing.assert_close(row[clear], 0.01 * descent[clear].sign(), rtol=1e-3, atol=0)


def test_moments_start_afresh_every_round(world, nets):
    here = world(nets["mlp"], (6,))
    assert torch.equal(here.train(Adam(0.01, steps=4)).matrix, here.train(Adam(0.01, steps=4)).matrix)
