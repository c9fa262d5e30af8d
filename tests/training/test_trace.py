"""A trace is what the client's steps were really made of: with it alone its row can be made again."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Cohort, RoundContext, Rows, Samples
from phalanx.data import ATS, HorizontalFlip, RandomCrop
from phalanx.models import CNN, LogisticRegression
from phalanx.privacy import LocalDP
from phalanx.training import DPSGD, SGD, Adam, CleanHardening, FlatClipping, PartialDeployment, PrunedUpdate, WorkerMomentum
from phalanx.training.hooks import FedProx
from phalanx.training.schedules import Exponential
from phalanx.training.trace import trace


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(architecture=None, size=10):
    """A client's cohort of one, the round's context and the model."""
    model = (architecture or CNN()).build((1, 8, 8), 4, seeded())
    images = torch.randint(256, (20, 1, 8, 8), generator=seeded(1), dtype=torch.uint8)
    samples = Samples(images, torch.arange(20) % 4, 4, mean=torch.full((1, 1, 1), 0.4), std=torch.full((1, 1, 1), 0.3))
    context = RoundContext(2, 7, Layout.of(model), *flatten(model), model=model)
    return Cohort((5,), (0,), samples, (torch.arange(3, 3 + size),)), context, model


AUGMENT = (ATS(((3, 1, 7), (0,))), RandomCrop(1), HorizontalFlip())


@pytest.mark.parametrize(
    "trainer",
    [
        SGD(0.1, batch_size=4, epochs=1, augment=AUGMENT),
        SGD(0.1, batch_size=4, steps=2, augment=AUGMENT),
        SGD(0.1, batch_size=32, epochs=1),
        SGD(0.1, batch_size=10, steps=1, momentum=0.0, schedule=Exponential(0.5)),
    ],
)
def test_steps_on_the_traced_images_make_the_row_that_the_client_sent(trainer):
    cohort, context, model = scene()
    rows = Rows.empty(1, context.layout)
    trainer.train(cohort, {}, context, rows)
    found = trace(trainer, cohort, context, model)
    twin = CNN().build((1, 8, 8), 4, seeded())
    for images, labels in zip(*(torch.split(part, found.local.batch_size or 99) for part in (found.transformed, found.labels))):
        loss = cross_entropy(twin(cohort.samples.normalize(images)), labels)
        for parameter, gradient in zip(twin.parameters(), torch.autograd.grad(loss, list(twin.parameters()))):
            parameter.data -= found.local.lr * gradient
    assert torch.allclose(flatten(twin)[0] - context.global_params, rows.matrix[0], atol=1e-6)


def test_the_truth_is_untouched_and_in_the_order_of_the_transformed():
    cohort, context, model = scene()
    found = trace(SGD(0.1, batch_size=4, epochs=1, augment=(ATS(((0,),)),)), cohort, context, model)
    assert torch.allclose(found.truth + found.transformed, torch.ones(()))
    held = cohort.samples.images[cohort.index[0]] / 255
    assert sorted(found.truth.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(held.sum((1, 2, 3)).tolist()))
    assert found.local.batch_size == 4


def test_passes_are_counted_and_their_images_are_the_first_ones():
    cohort, context, model = scene()
    found = trace(SGD(0.1, batch_size=4, epochs=3), cohort, context, model)
    assert (len(found.truth), found.local.epochs, found.local.batch_size) == (10, 3, 4)


@pytest.mark.parametrize("around", [PrunedUpdate, lambda one: LocalDP(one, clip_norm=1.0, noise_multiplier=1.0)])
def test_trainers_around_another_are_looked_into(around):
    cohort, context, model = scene()
    plain = SGD(0.1, batch_size=4, epochs=1)
    inner, outer = (trace(trainer, cohort, context, model) for trainer in (plain, around(plain)))
    assert torch.equal(inner.transformed, outer.transformed)


def test_of_dpsgd_one_step_is_traced():
    cohort, context, model = scene(LogisticRegression())
    trainer = DPSGD(0.1, steps=1, sample_rate=0.5, clipping=FlatClipping(1e6), noise_multiplier=0.0)
    found, rows = trace(trainer, cohort, context, model), Rows.empty(1, context.layout)
    trainer.train(cohort, {}, context, rows)
    loss = cross_entropy(model(cohort.samples.normalize(found.transformed)), found.labels, reduction="sum") / 5
    expected = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, list(model.parameters()))])
    assert torch.allclose(rows.matrix[0], -0.1 * expected, atol=1e-6)
    with pytest.raises(ConfigError, match="one step"):
        trace(replace(trainer, steps=2), cohort, context, model)


def test_a_hook_in_a_single_step_is_something_that_was_done_to_the_row():
    cohort, context, model = scene()
    assert trace(SGD(0.1, batch_size=4, steps=1, hooks=(FedProx(0.1),)), cohort, context, model).local.epochs == 1


def test_a_client_without_samples_has_no_trace():
    cohort, context, model = scene(size=0)
    assert trace(SGD(0.1, epochs=1), cohort, context, model) is None


@pytest.mark.parametrize(
    ("trainer", "why"),
    [
        (SGD(0.1, epochs=1, momentum=0.9), "without momentum"),
        (SGD(0.1, epochs=1, weight_decay=0.1), "weight_decay"),
        (SGD(0.1, epochs=2, local_schedule=Exponential(0.5)), "one learning rate"),
        (SGD(0.1, batch_size=4, epochs=1, hooks=(FedProx(0.1),)), "fed_prox changes the client's 3 steps"),
        (Adam(0.1, epochs=1), "plain gradient descent"),
        (SGD(0.1, batch_size=4, steps=4), "4 steps where a pass has 3"),
        (WorkerMomentum(SGD(0.1, epochs=1)), "an average of several"),
        (PrunedUpdate(WorkerMomentum(SGD(0.1, epochs=1))), "an average of several"),
        (CleanHardening(), "clean_hardening does something else"),
        (PartialDeployment(SGD(0.1, epochs=1), SGD(0.1, epochs=1)), "partial_deployment does something else"),
        (LocalDP(SGD(0.1, epochs=1), clip_norm=1.0, noise_multiplier=1.0, secure_rng=True), "secure_rng"),
    ],
)
def test_what_an_attacker_could_not_be_told_is_refused(trainer, why):
    with pytest.raises(ConfigError, match=why):
        trace(trainer, *scene())


def test_a_model_with_batchnorm_leaves_out_a_single_sample():
    cohort, context, _ = scene(size=9)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 4))
    assert len(trace(SGD(0.1, batch_size=4, epochs=1), cohort, context, model).truth) == 8
