"""Trainers that change a finished update: pruning, rounding, noise; each by hand, and what they leave to their trainer."""

import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.types import Status
from phalanx.privacy import LocalDP
from phalanx.training import SGD, NoisyUpdate, PrunedUpdate, QuantizedUpdate

FEW = SGD(0.1, epochs=1, batch_size=4)
each = pytest.mark.parametrize("change", [PrunedUpdate, QuantizedUpdate, NoisyUpdate], ids=lambda kind: kind.__name__)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@each
def test_everything_but_the_rows_is_the_trainers(world, nets, change):
    here = world(nets["batchnorm_net"], (6, 0, 9))
    full, changed = here.train(FEW), here.train(change(FEW))
    assert torch.equal(full.buffers, changed.buffers)
    assert torch.equal(full.loss, changed.loss)
    assert torch.equal(full.steps, changed.steps)
    assert changed.status.tolist() == [Status.SENT, Status.NO_SAMPLES, Status.SENT]
    assert torch.equal(full.matrix[1], changed.matrix[1])
    assert not torch.equal(full.matrix[0], changed.matrix[0])
    assert change(FEW).in_steps(3) == change(FEW.in_steps(3))


@each
def test_a_clients_row_depends_on_nobody_beside_it_and_on_the_round(world, nets, change, untouched_rng):
    here, later = (world(nets["linear_model"], (6, 9), round=round) for round in (3, 4))
    both = here.train(change(FEW)).matrix
    out = here.rows()
    cohort = type(here.cohort)((1,), (1,), here.samples, here.index[1:])
    change(FEW).train(cohort, {}, here.context, out)
    assert torch.equal(out.matrix[1], both[1])
    assert not torch.equal(later.train(change(FEW)).matrix[1], both[1])


class _Diverges(Trainer):
    def train(self, cohort, state, context, out):
        out.matrix.fill_(0.5)
        out.matrix[0, 3] = torch.inf
        out.status.fill_(Status.SENT)
        return {"0.memory": torch.ones(1)}


@each
def test_a_row_that_diverged_is_left_to_the_server_and_the_trainers_memory_is_kept(world, nets, change):
    here = world(nets["linear_model"], (6, 6))
    rows = here.rows()
    state = change(_Diverges()).train(here.cohort, {}, here.context, rows)
    assert state == {"0.memory": torch.ones(1)}
    assert rows.matrix[0, 3] == torch.inf
    assert (rows.matrix[0] == 0.5).sum() == 259


@each
def test_it_promises_what_its_trainer_promises(change):
    private = LocalDP(FEW, clip_norm=1.0, noise_multiplier=1.0)
    assert change(FEW).mechanism(9) is None
    assert change(private).mechanism(9) == private.mechanism(9)


@pytest.mark.parametrize("share, kept", [(0.1, 26), (0.5, 130), (0.001, 1), (1.0, 260)])
def test_a_pruned_row_keeps_its_largest_coordinates_where_they_are(world, nets, share, kept):
    here = world(nets["linear_model"], (6, 9))
    full, pruned = here.train(FEW).matrix, here.train(PrunedUpdate(FEW, share)).matrix
    assert (pruned != 0).sum(1).tolist() == [kept, kept]
    for whole, part in zip(full, pruned):
        smallest_kept = part[part != 0].abs().min()
        assert torch.equal(part, torch.where(whole.abs() >= smallest_kept, whole, 0))


def test_two_bits_are_minus_zero_and_plus_the_largest():
    row = torch.tensor([2.0, -2.0, 0.0, 0.5, -0.5])
    QuantizedUpdate(FEW, 2).change(row, seeded())
    assert row[:3].tolist() == [2.0, -2.0, 0.0]
    assert set(row.tolist()) <= {-2.0, 0.0, 2.0}


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_rounding_has_no_bias_and_an_error_below_one_step(bits):
    row, step = torch.tensor([1.0, 0.3, -0.7, 0.01]), 1 / (2 ** (bits - 1) - 1)
    draws, rounded = seeded(), row.repeat(4000, 1)
    for one in rounded:
        QuantizedUpdate(FEW, bits).change(one, draws)
    assert (rounded - row).abs().max() < step
    assert (rounded / step - (rounded / step).round()).abs().max() < 1e-4
    assert torch.allclose(rounded.mean(0), row, atol=4 * step / 2 / 4000**0.5)


def test_a_row_of_zeros_stays():
    row = torch.zeros(3)
    QuantizedUpdate(FEW).change(row, seeded())
    assert row.tolist() == [0, 0, 0]


def test_noise_has_the_deviation_asked_for_and_no_mean():
    row = torch.full((100_000,), 5.0)
    NoisyUpdate(FEW, 0.2).change(row, seeded())
    assert float(row.std()) == pytest.approx(0.2, rel=0.02)
    assert float(row.mean()) == pytest.approx(5, abs=0.003)


@pytest.mark.parametrize(
    "make, field",
    [
        (lambda: PrunedUpdate(FEW, 0.0), "share"),
        (lambda: QuantizedUpdate(FEW, 1), "bits"),
        (lambda: QuantizedUpdate(FEW, 17), "bits"),
        (lambda: NoisyUpdate(FEW, 0.0), "std"),
    ],
)
def test_what_would_be_no_defence_or_no_update_is_refused(make, field):
    with pytest.raises(ConfigError, match=field):
        make()
