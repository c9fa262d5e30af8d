"""The loop beyond its arithmetic: buffers, dropout, tiny batches, parameters that do not take part."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from phalanx.core.params import flatten
from phalanx.core.types import Status
from phalanx.training import SGD, FedProx

EPOCH = SGD(0.1, epochs=1, batch_size=4)


def test_batchnorm_buffers_are_the_clients_own_and_the_models_come_back(world, nets):
    here = world(nets["batchnorm_net"], (8, 4))
    counter = here.model[1].num_batches_tracked
    rows = here.train(EPOCH)
    assert not torch.equal(rows.buffers[0], rows.buffers[1])
    assert counter.item() == 0
    assert torch.equal(flatten(here.model)[1], here.context.global_buffers)
    alone = here.train(EPOCH, ids=(1,), places=(1,), index=here.index[1:])
    assert torch.equal(alone.buffers[1], rows.buffers[1])


def test_a_cumulative_average_does_not_remember_other_clients(world):
    def net():
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, momentum=None), nn.Linear(64, 4))

    here = world(net, (8, 8))
    rows = here.train(EPOCH)
    alone = here.train(EPOCH, ids=(1,), places=(1,), index=here.index[1:])
    assert torch.equal(alone.buffers[1], rows.buffers[1])


def test_a_batch_of_one_is_left_out_for_batchnorm(world, nets):
    here = world(nets["batchnorm_net"], (5, 1, 4))
    rows = here.train(EPOCH)
    assert rows.steps.tolist() == [1, 0, 1]
    assert rows.status.tolist() == [Status.SENT, Status.NO_SAMPLES, Status.SENT]
    assert rows.matrix[1].count_nonzero() == 0
    assert torch.equal(rows.buffers[1], here.context.global_buffers)
    assert here.train(SGD(0.1, steps=3, batch_size=4)).steps.tolist() == [3, 0, 3]


def test_a_batch_of_one_is_a_batch_without_batchnorm(world, nets):
    assert world(nets["cnn"], (5, 1)).train(EPOCH).steps.tolist() == [2, 1]


def test_dropout_is_the_clients_own_and_leaves_the_global_stream_alone(world, nets, untouched_rng):
    here = world(nets["dropout_net"], (8, 8))
    rows = here.train(EPOCH)
    alone = here.train(EPOCH, ids=(1,), places=(1,), index=here.index[1:])
    assert torch.equal(alone.matrix[1], rows.matrix[1])
    same_data = here.train(SGD(0.1, steps=1, batch_size=8), index=(here.index[0], here.index[0]))
    assert not torch.allclose(same_data.matrix[0], same_data.matrix[1], rtol=1e-3)


def test_another_round_has_other_dropouts(world, nets):
    here = world(nets["dropout_net"], (4,))
    first = here.train(SGD(0.1, steps=1, batch_size=4))
    here.context = replace(here.context, round=9)
    assert not torch.allclose(here.train(SGD(0.1, steps=1, batch_size=4)).matrix, first.matrix, rtol=1e-3)


def test_frozen_parameters_stay_and_do_not_travel(world):
    def net():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
        model[1].requires_grad_(False)
        return model

    here = world(net, (8,))
    before = here.model[1].weight.clone()
    rows = here.train(EPOCH)
    assert rows.matrix.shape == (1, 16 * 4 + 4)
    assert rows.matrix.count_nonzero() > 0
    assert torch.equal(here.model[1].weight, before)


def test_a_parameter_that_the_loss_does_not_reach_has_gradient_zero(world):
    class Idle(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Flatten(), nn.Linear(64, 4))
            self.unused = nn.Parameter(torch.ones(3))

        def forward(self, images):
            return self[1](self[0](images))

    here = world(Idle, (8,))
    unused = here.layout.views(here.train(EPOCH).matrix)["unused"]
    assert unused.count_nonzero() == 0


@pytest.mark.parametrize("net", ["cnn", "batchnorm_net"])
def test_hooks_that_do_nothing_change_no_bit_in_channels_last(world, nets, net):
    here = world(nets[net], (8,))
    plain = here.train(EPOCH)
    hooked = here.train(replace(EPOCH, hooks=(FedProx(1e-30),)))
    assert torch.equal(hooked.matrix, plain.matrix)
