"""LocalDP: each client's row is clipped and noised before anyone sees it, whoever trains beside it."""

from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.privacy import spendings
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, Status
from phalanx.privacy import LocalDP
from phalanx.training import SGD, WorkerMomentum

D = 5_000
SAMPLES = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)


class _Fixed(Trainer, kind="fixed"):
    """Every client sends `value` in every coordinate."""

    value: float = 1.0

    def train(self, cohort, state, context, out):
        for client, place in zip(cohort.ids, cohort.places):
            out.matrix[place] = (torch.tensor(self.value, dtype=torch.float64) * (client + 1)).float()  # 1e300 is infinite
            out.status[place] = Status.SENT
            out.loss[place] = 0.5
        return {}


def train(trainer, ids=(0, 1), *, seed=0, state=None):
    context = RoundContext.for_matrix(torch.zeros(1, D), seed=seed)
    out = Rows.empty(len(ids), context.layout)
    cohort = Cohort(tuple(ids), tuple(range(len(ids))), SAMPLES, tuple(torch.zeros(1, dtype=torch.int64) for _ in ids))
    return out, trainer.train(cohort, state or {}, context, out)


def test_rows_are_clipped_and_noised_with_z_c():
    quiet, _ = train(LocalDP(_Fixed(), clip_norm=2.0, noise_multiplier=0.0))
    assert quiet.matrix.norm(dim=1).tolist() == pytest.approx([2, 2], rel=1e-5)
    noisy, _ = train(LocalDP(_Fixed(), clip_norm=2.0, noise_multiplier=3.0))
    noise = (noisy.matrix - quiet.matrix) / 6.0
    for row in noise:
        assert float(row.std()) == pytest.approx(1, rel=0.05)
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-4
    assert abs(float(torch.corrcoef(noise)[0, 1])) < 5 / D**0.5


@pytest.mark.parametrize("value", [1e30, -7.0, 0.0, 1e300])
def test_whatever_a_client_has_its_row_moves_by_at_most_two_c(value):
    rows = [train(LocalDP(_Fixed(one), clip_norm=1.0, noise_multiplier=1.0), ids=(0,))[0].matrix for one in (value, 1.0)]
    assert rows[0].isfinite().all()
    assert (rows[0] - rows[1]).norm() <= 2 * (1 + 1e-4)


def test_the_noise_is_the_clients_own_whoever_trains_beside_it():
    trainer = LocalDP(_Fixed(), clip_norm=1.0, noise_multiplier=1.0)
    together, _ = train(trainer, ids=(0, 1, 2))
    alone, _ = train(trainer, ids=(1,))
    assert torch.equal(together.matrix[1], alone.matrix[0])
    assert not torch.equal(train(trainer, seed=1)[0].matrix, train(trainer)[0].matrix)
    secure = replace(trainer, secure_rng=True)
    assert not torch.equal(train(secure)[0].matrix, train(secure)[0].matrix)


def test_the_loss_is_not_sent_and_what_was_spent_is_remembered():
    trainer = LocalDP(_Fixed(), clip_norm=1.0, noise_multiplier=2.0)
    out, state = train(trainer)
    assert out.loss.isnan().all()
    _, again = train(trainer, ids=(1,), state=state)
    [spent] = spendings(again["1.spent"])
    assert (spent.noise_multiplier, spent.sample_rate, spent.steps) == (2.0, 1.0, 2)


def test_it_claims_client_level_privacy_of_replaced_clients_and_trusts_nobody():
    mechanism = LocalDP(SGD(0.1, epochs=1), clip_norm=1.0, noise_multiplier=2.0).mechanism(10)
    assert (mechanism.unit, mechanism.neighbours, mechanism.sampling, mechanism.trusted) == (
        "client",
        "replace-one",
        "none",
        None,
    )
    assert LocalDP(SGD(0.1, epochs=1), clip_norm=1.0, noise_multiplier=0.0).mechanism(10) is None
    around = WorkerMomentum(LocalDP(SGD(0.1, epochs=1), clip_norm=1.0, noise_multiplier=2.0))
    assert around.mechanism(10) == mechanism  # what is made of noised rows is noised


def test_a_second_claim_inside_is_refused():
    inner = LocalDP(SGD(0.1, epochs=1), clip_norm=1.0, noise_multiplier=2.0)
    with pytest.raises(ConfigError, match="LocalDP around local_dp would be two privacy claims in one"):
        LocalDP(inner, clip_norm=1.0, noise_multiplier=2.0)


def test_a_model_whose_statistics_would_travel_without_noise_is_refused():
    trainer = LocalDP(SGD(0.1, epochs=1), clip_norm=1.0, noise_multiplier=2.0)
    with pytest.raises(ConfigError, match=r"float buffers \(1.running_mean\)"):
        trainer.check(nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)), SAMPLES)
