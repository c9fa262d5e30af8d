"""PartialDeployment: every client's row is that of its own trainer, drawn once a run."""

from dataclasses import replace

import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.types import Cohort, RoundContext, Rows
from phalanx.training import SGD, Adam, Flip, PartialDeployment, WorkerMomentum

FEW, MANY = SGD(0.1, steps=1, batch_size=4), SGD(0.1, steps=3, batch_size=4)


def test_a_clients_row_is_that_of_its_trainer_whoever_is_there_and_in_every_round(world, nets):
    here = world(nets["mlp"], (6,) * 12)
    mixed = here.train(PartialDeployment(FEW, MANY))
    steps = mixed.steps.tolist()
    assert set(steps) == {1, 3}
    few, many = here.train(FEW), here.train(MANY)
    for client, made in enumerate(steps):
        assert mixed.matrix[client].equal((few if made == 1 else many).matrix[client])
    two = here.train(PartialDeployment(FEW, MANY), ids=(7, 2), places=(7, 2), index=(here.index[7], here.index[2]))
    assert two.steps[[7, 2]].tolist() == [steps[7], steps[2]]
    here.context = replace(here.context, round=9)
    assert here.train(PartialDeployment(FEW, MANY)).steps.tolist() == steps
    here.context = replace(here.context, seed=8)
    assert here.train(PartialDeployment(FEW, MANY)).steps.tolist() != steps


@pytest.mark.parametrize(("share", "steps"), [(0.0, 3), (1.0, 1)])
def test_nobody_and_everybody(world, nets, share, steps):
    rows = world(nets["mlp"], (6, 6, 6)).train(PartialDeployment(FEW, MANY, share=share))
    assert rows.steps.tolist() == [steps] * 3


def test_the_servers_own_update_is_that_of_the_others_whatever_the_coins_say(world, nets):
    here = world(nets["mlp"], (6, 6))
    cohort = Cohort((-1,), (0,), here.cohort.samples, (here.index[0],))
    rows = here.rows()
    PartialDeployment(FEW, MANY, share=1.0).train(cohort, {}, here.context, rows)
    assert rows.steps[0] == 3


def test_more_have_it_where_the_share_is_larger_and_they_keep_it(world, nets):
    here = world(nets["mlp"], (4,) * 30)
    quarter, half = (here.train(PartialDeployment(FEW, MANY, share=share)).steps == 1 for share in (0.25, 0.6))
    assert 2 < quarter.sum() < half.sum() < 26
    assert half[quarter].all()


def test_both_remember_and_attackers_keep_their_numbers(world, nets):
    seen = []

    class Noting(Trainer, kind="noting_of_test_partial_deployment"):
        def train(self, cohort: Cohort, state, context: RoundContext, out: Rows):
            seen.append((cohort.ids, cohort.attackers))
            return {f"{client}.seen": torch.ones(1) for client in cohort.ids}

    here = world(nets["mlp"], (4,) * 8)
    cohort = replace(here.cohort, attackers=tuple(range(10, 18)))
    state = PartialDeployment(Noting(), WorkerMomentum(FEW)).train(cohort, {}, here.context, here.rows())
    (ids, attackers), names = seen[0], {name.partition(".")[2] for name in state}
    assert attackers == tuple(10 + client for client in ids)
    assert {name.partition(".")[0] for name in state} == {str(client) for client in range(8)}
    assert names == {"seen", "momentum"}


def test_both_are_checked_and_shortened(world, nets):
    here = world(nets["mlp"], (4,))
    with pytest.raises(ConfigError, match="Flip needs images"):
        PartialDeployment(Flip(), FEW).check(here.model, replace(here.samples, images=here.samples.images.flatten(1)))
    with pytest.raises(ConfigError, match="engine"):
        PartialDeployment(FEW, Adam(0.1, steps=1, engine="linear")).check(here.model, here.samples)
    assert PartialDeployment(FEW, MANY).in_steps(2) == PartialDeployment(
        SGD(0.1, steps=2, batch_size=4), SGD(0.1, steps=2, batch_size=4)
    )


def test_it_tells_of_those_who_have_the_defence(world, nets):
    here = world(nets["mlp"], (4,) * 8)
    state = {f"{client}.batches": torch.tensor([client < 4, 1]) for client in range(8)}
    has_it = {client for client in range(8) if PartialDeployment(FEW, MANY)._has_it(client, here.context)}
    assert 0 < len(has_it) < 8
    told = PartialDeployment(Flip(), FEW).tells(state, range(8), here.context)
    assert told == {"stamped": len(has_it & {0, 1, 2, 3}) / len(has_it)}
    assert PartialDeployment(Flip(), FEW, share=0.0).tells(state, range(8), here.context) == {}


def test_it_is_its_own_config():
    mixed = PartialDeployment(Flip(most_steps=3), FEW, share=0.25)
    assert Trainer.from_table(mixed.to_table()) == mixed
