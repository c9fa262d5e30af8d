import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout
from phalanx.server import FedAdam, ServerSGD


def test_the_default_step_adds_the_update():
    params, state = ServerSGD().step(torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0]), {})
    assert params.tolist() == [1.5, 1.0]
    assert state == {}


def test_momentum_by_hand():
    server = ServerSGD(lr=0.5, momentum=0.5)
    params, state = server.step(torch.tensor([0.0]), torch.tensor([2.0]), server.init(Layout.flat(1)))
    assert params.tolist() == [1.0]  # v = 2
    params, state = server.step(params, torch.tensor([2.0]), state)
    assert params.tolist() == [2.5]  # v = 2 + 0.5 * 2 = 3


def test_momentum_agrees_with_torch():
    torch.manual_seed(0)
    updates = torch.randn(6, 5)
    weight = torch.nn.Parameter(torch.zeros(5))
    theirs = torch.optim.SGD([weight], lr=0.3, momentum=0.9)
    server, params = ServerSGD(lr=0.3, momentum=0.9), torch.zeros(5)
    state = server.init(Layout.flat(5))
    for update in updates:
        weight.grad = -update
        theirs.step()
        params, state = server.step(params, update, state)
    torch.testing.assert_close(params, weight.detach())


@pytest.mark.parametrize(
    "server, moved",
    [(ServerSGD(lr=0.25), [1.0, 3.0]), (ServerSGD(), [4.0, 0.0]), (ServerSGD(lr=3.0), [4.0, 0.0]), (FedAdam(), [4.0, 0.0])],
)
def test_buffers_go_as_far_as_a_plain_step_goes_and_never_farther(server, moved):
    assert server.step_buffers(torch.tensor([0.0, 4.0]), torch.tensor([4.0, 0.0])).tolist() == moved


def test_fed_adam_by_hand():
    server = FedAdam(lr=1.0, beta1=0.5, beta2=0.5, tau=1.0)
    state = server.init(Layout.flat(1))
    params, state = server.step(torch.tensor([0.0]), torch.tensor([2.0]), state)
    # m = 0.5*2 = 1; v = 0.5*1 + 0.5*4 = 2.5; step = 1 / (sqrt(2.5) + 1)
    torch.testing.assert_close(params, torch.tensor([1 / (2.5**0.5 + 1)]))
    assert state["m"].item() == 1.0
    assert state["v"].item() == 2.5


def test_no_step_changes_its_inputs():
    for server in (ServerSGD(momentum=0.9), FedAdam()):
        params, update, state = torch.ones(3), torch.ones(3), server.init(Layout.flat(3))
        _, state = server.step(params, update, state)
        before = {name: tensor.clone() for name, tensor in state.items()}
        server.step(params, update, state)
        assert params.tolist() == update.tolist() == [1, 1, 1]
        assert all(torch.equal(before[name], state[name]) for name in before)


@pytest.mark.parametrize("tau", [1e-18, 1e18])
def test_fed_adam_stays_finite_at_the_ends_of_tau(tau):
    server = FedAdam(tau=tau)
    params, _ = server.step(torch.zeros(2), torch.tensor([0.0, 1.0]), server.init(Layout.flat(2)))
    assert params.isfinite().all()


@pytest.mark.parametrize("tau", [0.0, 1e-30, 1e20])
def test_a_tau_whose_square_is_no_float32_is_refused(tau):
    with pytest.raises(ConfigError, match="tau"):
        FedAdam(tau=tau)
