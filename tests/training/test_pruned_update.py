"""Clients that send the largest coordinates only."""

import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.types import Status
from phalanx.privacy import LocalDP
from phalanx.training import SGD, PrunedUpdate

FEW = SGD(0.1, epochs=1, batch_size=4)


@pytest.mark.parametrize("share, kept", [(0.1, 26), (0.5, 130), (0.001, 1), (1.0, 260)])
def test_a_row_keeps_its_largest_coordinates_where_they_are(world, nets, share, kept):
    here = world(nets["linear_model"], (6, 9))
    full, pruned = here.train(FEW).matrix, here.train(PrunedUpdate(FEW, share)).matrix
    assert (pruned != 0).sum(1).tolist() == [kept, kept]
    for whole, part in zip(full, pruned):
        smallest_kept = part[part != 0].abs().min()
        assert torch.equal(part, torch.where(whole.abs() >= smallest_kept, whole, 0))


def test_everything_else_is_the_trainers(world, nets):
    here = world(nets["batchnorm_net"], (6, 0, 9))
    full, pruned = here.train(FEW), here.train(PrunedUpdate(FEW))
    assert torch.equal(full.buffers, pruned.buffers)
    assert torch.equal(full.loss, pruned.loss)
    assert torch.equal(full.steps, pruned.steps)
    assert pruned.status.tolist() == [Status.SENT, Status.NO_SAMPLES, Status.SENT]
    assert PrunedUpdate(FEW).in_steps(3) == PrunedUpdate(FEW.in_steps(3))


class _Diverges(Trainer):
    def train(self, cohort, state, context, out):
        out.matrix.fill_(0.5)
        out.matrix[0, 3] = torch.inf
        out.status.fill_(Status.SENT)
        return {"0.memory": torch.ones(1)}


def test_a_row_that_diverged_is_left_to_the_server_and_the_trainers_memory_is_kept(world, nets):
    here = world(nets["linear_model"], (6, 6))
    rows = here.rows()
    state = PrunedUpdate(_Diverges()).train(here.cohort, {}, here.context, rows)
    assert state == {"0.memory": torch.ones(1)}
    assert rows.matrix[0, 3] == torch.inf
    assert (rows.matrix != 0).sum(1).tolist() == [260, 26]


def test_it_promises_what_its_trainer_promises():
    private = LocalDP(FEW, clip_norm=1.0, noise_multiplier=1.0)
    assert PrunedUpdate(FEW).mechanism(9) is None
    assert PrunedUpdate(private).mechanism(9) == private.mechanism(9)


def test_no_share_is_refused():
    with pytest.raises(ConfigError, match="share"):
        PrunedUpdate(FEW, 0.0)
