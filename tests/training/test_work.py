"""The order of what happens to a batch, and whose randomness it uses."""

from dataclasses import replace

import pytest
import torch

from phalanx.core import rng
from phalanx.core.families import Augmentation, DataAttack, StepHook
from phalanx.training import SGD

CALLS: list[tuple] = []


class _Brighten(Augmentation):
    """Adds 10 to every pixel."""

    def apply(self, images, generator):
        CALLS.append(("augment", images.clone(), float(torch.rand(1, generator=generator))))
        return images + 10


class _Record(DataAttack):
    """Remembers what it was given."""

    def choose(self, samples, index, generator):
        labels = samples.labels[index]
        CALLS.append(("choose", labels.clone(), float(torch.rand(1, generator=generator))))
        return labels == labels[0]

    def poison(self, images, labels, draw):
        number = float(torch.rand(1, generator=draw.generator))
        CALLS.append(("poison", images.clone(), labels.clone(), draw.chosen, draw.attacker, draw.num_classes, number))
        return images, labels


class _Trace(StepHook):
    """Remembers in which order hooks run."""

    name: str

    def gradient(self, gradient, params, context):
        CALLS.append((f"{self.name} gradient", gradient.shape, params.shape))

    def after_step(self, params, context):
        CALLS.append((f"{self.name} after", params.shape))


@pytest.fixture(autouse=True)
def _empty():
    CALLS.clear()


@pytest.mark.parametrize("engine", ["loop", "linear"])
def test_a_batch_is_looked_up_augmented_poisoned_normalised_in_this_order(world, nets, engine):
    here = world(nets["linear_model"], (6,))
    trainer = SGD(0.1, epochs=1, batch_size=4, augment=(_Brighten(),), engine=engine)
    here.train(trainer, ids=(5,), poison=_Record(), attackers=(3,))
    assert [call[0] for call in CALLS] == ["choose", "augment", "poison", "augment", "poison"]
    choose, augment, poison, *_ = CALLS
    order = torch.randperm(6, generator=here.context.generator("batches", 5))
    batch = here.index[0][order[:4]]
    labels = here.samples.labels[here.index[0]]
    assert torch.equal(choose[1], labels)
    assert torch.equal(augment[1], here.samples.images[batch].float() / 255)
    assert torch.equal(poison[1], augment[1] + 10)
    assert torch.equal(poison[2], here.samples.labels[batch])
    assert torch.equal(poison[3], (labels == labels[0])[order[:4]])
    assert poison[4:6] == (3, 4)
    assert choose[2] == float(torch.rand(1, generator=rng.generator(7, "choose", 0, 5)))
    assert augment[2] == float(torch.rand(1, generator=here.context.generator("augment", 5)))
    assert poison[6] == float(torch.rand(1, generator=here.context.generator("poison", 5)))


def test_the_chosen_samples_are_the_same_in_every_round(world, nets):
    here = world(nets["linear_model"], (6,))
    here.train(SGD(0.1, epochs=1), poison=_Record(), attackers=(0,))
    here.context = replace(here.context, round=11)
    here.train(SGD(0.1, epochs=1), poison=_Record(), attackers=(0,))
    first, second = (call[2] for call in CALLS if call[0] == "choose")
    assert first == second


def test_poison_is_normalised_like_everything_else(world, nets):
    class _Whiten(DataAttack):
        def poison(self, images, labels, draw):
            return torch.ones_like(images), labels

    here = world(nets["linear_model"], (6,))
    poisoned = here.train(SGD(0.1, steps=1, batch_size=6), poison=_Whiten(), attackers=(0,))
    white = replace(here.samples, images=torch.full_like(here.samples.images, 255))
    assert torch.equal(poisoned.matrix, here.train(SGD(0.1, steps=1, batch_size=6), samples=white).matrix)


@pytest.mark.parametrize("engine, k", [("loop", 1), ("linear", 2)])
def test_hooks_run_around_each_step_the_trainers_before_the_cohorts(world, nets, engine, k):
    here = world(nets["linear_model"], (4, 4))
    here.train(SGD(0.1, steps=1, hooks=(_Trace("own"),), engine=engine), hooks=(_Trace("cohort"),))
    d = here.layout.d
    step = [
        ("own gradient", (k, d), (k, d)),
        ("cohort gradient", (k, d), (k, d)),
        ("own after", (k, d)),
        ("cohort after", (k, d)),
    ]
    assert step * (2 // k) == CALLS


@pytest.mark.parametrize("net", ["linear_model", "cnn"])
def test_hooks_see_the_weights_in_the_order_of_the_layout(world, nets, net):
    seen = []

    class _Look(StepHook):
        def after_step(self, params, context):
            seen.append(params - context.global_params)

    here = world(nets[net], (4,))
    rows = here.train(SGD(0.1, steps=1), hooks=(_Look(),))
    assert torch.equal(seen[0], rows.matrix)
