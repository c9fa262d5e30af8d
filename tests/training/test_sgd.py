"""SGD: by hand, against torch.optim, and what every client is promised."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, Status
from phalanx.data import ATS
from phalanx.training import SGD, StepDecay
from phalanx.training.engines.loop import use_channels_last


def test_two_steps_of_a_client_are_those_worked_by_hand():
    """Weights 0, one sample x = 1 of class 0 in two classes. Step 1: p = (.5, .5), g = (−.5, .5), v = g.
    Step 2 at w = (.5, −.5): p0 = 1 / (1 + e^−1) = .7310586; g = (−.2689414, .2689414) + .1 w; v = .5 v + g."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    samples = Samples(torch.ones(1, 1), torch.tensor([0]), num_classes=2)
    layout = Layout.of(model)
    for engine in ("loop", "linear"):
        context = RoundContext(0, 0, layout, torch.zeros(2), torch.zeros(0), model=model)
        rows = Rows.empty(1, layout)
        trainer = SGD(1.0, steps=2, momentum=0.5, weight_decay=0.1, engine=engine)
        trainer.train(Cohort((0,), (0,), samples, (torch.tensor([0]),)), {}, context, rows)
        gradient = -0.2689414 + 0.1 * 0.5
        velocity = 0.5 * -0.5 + gradient
        expected = 0.5 - velocity
        torch.testing.assert_close(rows.matrix, torch.tensor([[expected, -expected]]))
        torch.testing.assert_close(rows.loss, torch.tensor([(0.6931472 + 0.3132617) / 2]))
        assert rows.steps.tolist() == [2]


@pytest.mark.parametrize("momentum, weight_decay", [(0.0, 0.0), (0.9, 0.0), (0.0, 0.01), (0.9, 0.01)])
@pytest.mark.parametrize("net", ["mlp", "cnn", "batchnorm_net"])
def test_the_loop_is_bit_for_bit_the_naive_way(world, nets, net, momentum, weight_decay):
    sizes = (12, 4, 8) if net == "batchnorm_net" else (13, 5, 8)  # BatchNorm leaves out batches of one: see test_loop.py
    here = world(nets[net], sizes)
    rows = here.train(SGD(0.1, epochs=2, batch_size=4, momentum=momentum, weight_decay=weight_decay, engine="loop"))
    naive = here.naive(
        lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=momentum, weight_decay=weight_decay), 4, 2
    )
    assert torch.equal(torch.cat([rows.matrix, rows.buffers], dim=1), naive)


def test_the_learning_rate_follows_its_schedule_over_rounds(world, nets):
    trainer = SGD(0.8, epochs=1, schedule=StepDecay((3,), gamma=0.25))
    early, late = world(nets["mlp"], (9,), round=2), world(nets["mlp"], (9,), round=3)
    assert torch.equal(early.train(trainer).matrix, early.train(SGD(0.8, epochs=1)).matrix)
    assert torch.equal(late.train(trainer).matrix, late.train(SGD(0.2, epochs=1)).matrix)


def test_the_learning_rate_follows_its_local_schedule_over_the_passes_of_a_round(world, nets):
    """FLIP's attackers: x 0.1 after 20 % and after 80 % of their epochs, as torch's MultiStepLR with a step an epoch."""

    class EveryEpoch(torch.optim.SGD):
        """torch's SGD that tells the scheduler when 4 batches, a pass over 13 samples, are over."""

        def __init__(self, parameters):
            super().__init__(parameters, 0.1, momentum=0.9)
            self.scheduler, self.count = torch.optim.lr_scheduler.MultiStepLR(self, [2, 8], gamma=0.1), 0

        def zero_grad(self):
            super().zero_grad()
            if self.count and self.count % 4 == 0:
                self.scheduler.step()
            self.count += 1

    here = world(nets["mlp"], (13, 15))
    trainer = SGD(0.1, epochs=10, batch_size=4, momentum=0.9, local_schedule=StepDecay((2, 8)))
    naive = here.naive(lambda model: EveryEpoch(model.parameters()), 4, 10)
    torch.testing.assert_close(here.train(trainer).matrix, naive, atol=1e-7, rtol=1e-5)


def test_a_batch_left_out_for_batchnorm_does_not_move_the_local_schedule(world, nets):
    """Of 5 samples one is left out: a pass is one step, and the second pass has rate 0."""
    here = world(nets["batchnorm_net"], (5,))
    stopped = here.train(SGD(0.1, epochs=3, batch_size=4, local_schedule=StepDecay((1,), gamma=1e-30)))
    torch.testing.assert_close(stopped.matrix, here.train(SGD(0.1, epochs=1, batch_size=4)).matrix, atol=1e-12, rtol=0)


def test_a_local_schedule_takes_the_loop(world, nets):
    model, local = nets["linear_model"](), StepDecay((1,))
    assert SGD(0.1, epochs=2, local_schedule=local).engine_for(model) == "loop"
    with pytest.raises(ConfigError, match="local_schedule"):
        SGD(0.1, epochs=2, local_schedule=local, engine="linear").check(model, world(nets["linear_model"], (3,)).samples)


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_an_empty_client_is_skipped_counted_and_has_a_zero_row(world, nets, engine):
    rows = world(nets["linear_model"], (5, 0, 1)).train(SGD(0.1, epochs=1, batch_size=4, engine=engine))
    assert rows.status.tolist() == [Status.SENT, Status.NO_SAMPLES, Status.SENT]
    assert rows.steps.tolist() == [2, 0, 1]
    assert rows.matrix[1].count_nonzero() == 0
    assert rows.loss[1] == 0
    assert (rows.matrix[[0, 2]].norm(dim=1) > 0).all()


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_only_the_rows_at_the_cohorts_places_are_written(world, nets, engine):
    here = world(nets["linear_model"], (5, 6, 7))
    rows = here.train(SGD(0.1, epochs=1, engine=engine), ids=(2, 0), places=(0, 2), index=(here.index[2], here.index[0]))
    everyone = here.train(SGD(0.1, epochs=1, engine=engine))
    assert torch.equal(rows.matrix[[0, 2]], everyone.matrix[[2, 0]])
    assert (rows.matrix[1] == 9).all()


@pytest.mark.parametrize("engine", ["loop", "linear"])
@pytest.mark.parametrize("clients", [1, 3])
def test_inputs_are_not_changed_and_training_again_gives_the_same(world, nets, engine, clients):
    here = world(nets["linear_model"], (6,) * clients)
    params, images = here.context.global_params.clone(), here.samples.images.clone()
    first, second = (here.train(SGD(0.1, epochs=2, engine=engine)) for _ in range(2))
    assert torch.equal(here.context.global_params, params)
    assert torch.equal(here.samples.images, images)
    assert torch.equal(first.matrix, second.matrix)


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 7))
def test_steps_run_over_as_many_epochs_as_they_need(size, steps, batch_size):
    model = nn.Linear(2, 2)
    generator = torch.Generator().manual_seed(0)
    samples = Samples(torch.rand(size, 2, generator=generator), torch.zeros(size, dtype=torch.int64), num_classes=2)
    layout, rows = Layout.of(model), Rows.empty(1, Layout.of(model))
    context = RoundContext(0, 0, layout, *flatten(model), model=model)
    SGD(0.1, steps=steps, batch_size=batch_size).train(Cohort((0,), (0,), samples, (torch.arange(size),)), {}, context, rows)
    assert rows.steps.tolist() == [steps]


def test_training_learns_what_it_is_shown(world, nets):
    for net in ("linear_model", "mlp", "cnn", "batchnorm_net"):
        here = world(nets[net], (8,))
        short, long = (here.train(SGD(0.1, steps=steps, batch_size=8)).loss[0] for steps in (1, 60))
        assert long < 0.9 * short


@pytest.mark.parametrize("wrong", [{}, {"epochs": 1, "steps": 1}])
def test_exactly_one_of_epochs_and_steps_is_needed(wrong):
    with pytest.raises(ConfigError, match="SGD needs exactly one of epochs and steps"):
        SGD(0.1, **wrong)


def test_without_a_model_there_is_nothing_to_train(world, nets):
    here = world(nets["mlp"], (3,))
    bare = RoundContext(0, 0, here.layout, here.context.global_params, here.context.global_buffers)
    with pytest.raises(ConfigError, match="the round's context has none"):
        SGD(0.1, epochs=1).train(here.cohort, {}, bare, here.rows())


def test_a_trainer_is_its_own_config():
    trainer = SGD(0.1, steps=3, schedule=StepDecay((5,)))
    assert SGD.from_table(trainer.to_table()) == trainer


def test_batch_norm_with_batches_of_one_is_refused_in_the_check_and_skipped_in_training(world, nets):
    here = world(nets["batchnorm_net"], (12, 4))
    trainer = SGD(0.1, epochs=1, batch_size=1)
    with pytest.raises(ConfigError, match="A model with BatchNorm needs batch_size >= 2"):
        trainer.check(nets["batchnorm_net"](), Samples(torch.zeros(3, 1, 8, 8), torch.zeros(3, dtype=torch.int64), 2))
    rows = here.train(trainer)
    assert rows.status.tolist() == [Status.NO_SAMPLES] * 2
    assert not rows.matrix.any()


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_a_value_that_an_augmentation_cannot_take_is_refused_in_the_check_wherever_it_is(nets, value):
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    trainer, labels = SGD(0.1, epochs=1, augment=(ATS(((0,),)),)), torch.zeros(5, dtype=torch.int64)
    trainer.check(nets["cnn"](), Samples(images, labels, 2))
    images[3, 0, 2, 2] = value
    with pytest.raises(ConfigError, match=r"ATS works on bytes, so it needs float pixels in \[0, 1\]"):
        trainer.check(nets["cnn"](), Samples(images, labels, 2))


def test_only_convolutions_over_images_are_laid_out_channels_last():
    both = nn.ModuleList([nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)])
    use_channels_last(both)
    assert both[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert both[1].weight.is_contiguous()
