"""What a client leaks: against plain autograd and torch.optim, for one step and several, and what does not fit."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.params import flatten
from phalanx.inversion import Leak, LocalSteps, leak_of
from phalanx.inversion.client import Client
from phalanx.models import MLP, SigmoidCNN


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=4, side=8, channels=1, classes=5):
    return torch.rand(count, channels, side, side, generator=seeded(1)), torch.arange(count) % classes


def trained(model, images, labels, local):
    """The client's own loop: w_global − w_client, over lr."""
    model, before = deepcopy(model), flatten(model)[0]
    optimizer, size = torch.optim.SGD(model.parameters(), lr=local.lr), local.batch_size or len(images)
    for _ in range(local.epochs):
        for start in range(0, len(images), size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[start : start + size]), labels[start : start + size]).backward()
            optimizer.step()
    return (before - flatten(model)[0]) / local.lr


@pytest.mark.parametrize("local", [LocalSteps(), LocalSteps(0.1, 2, 3), LocalSteps(0.1, 3, 2), LocalSteps(0.5, epochs=2)])
def test_a_leak_is_what_torchs_own_training_sends(local):
    images, labels = batch()
    model = SigmoidCNN().build((1, 8, 8), 5, seeded())
    leak = leak_of(model, images, labels, local=local)
    assert torch.allclose(leak.gradient, trained(model, images, labels, local), atol=2e-5)


@pytest.mark.parametrize("is_training", [True, False])
def test_batch_norm_is_simulated_in_the_mode_of_the_model(is_training):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Sigmoid(), nn.Flatten(), nn.Linear(108, 5))
    model[1].running_mean.fill_(0.3)
    model.train(is_training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = batch()
    gradient = leak_of(model, images, labels).gradient
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.allclose(gradient, trained(model, images, labels, LocalSteps()), atol=1e-5)


def test_many_guesses_at_once_are_each_of_them_alone():
    images, labels = batch(6)
    model = SigmoidCNN().build((1, 8, 8), 5, seeded())
    leak = Leak(torch.zeros(flatten(model)[0].numel()), (2, 1, 8, 8), local=LocalSteps(0.1, 1, 2))
    client = Client(model, leak)
    guesses, targets = images.view(3, 2, 1, 8, 8), client.one_hot(labels).view(3, 2, 5)
    together = client(guesses, targets)
    alone = torch.cat([client(guesses[i : i + 1], targets[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_an_update_becomes_the_sum_of_its_steps_gradients():
    leak = Leak.of_update(torch.tensor([-0.2, 0.4]), (1, 1, 1, 1), local=LocalSteps(lr=0.2))
    assert torch.allclose(leak.gradient, torch.tensor([1.0, -2.0]))


def test_pixels_are_standardised_and_come_back():
    mean, std = torch.tensor([0.5]).view(1, 1, 1), torch.tensor([0.25]).view(1, 1, 1)
    leak = Leak(torch.zeros(3), (1, 1, 1, 2), mean=mean, std=std)
    pixels = torch.tensor([[[[0.0, 0.75]]]])
    assert torch.equal(leak.standardise(pixels), torch.tensor([[[[-2.0, 1.0]]]]))
    assert torch.equal(leak.pixels(leak.standardise(pixels)), pixels)
    assert torch.equal(leak.pixels(torch.tensor([[[[-9.0, 9.0]]]])), torch.tensor([[[[0.0, 1.0]]]]))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Leak(torch.zeros(2, 2), (1, 1, 2, 2)), r"one finite floating-point gradient \[d\]"),
        (lambda: Leak(torch.tensor([torch.nan]), (1, 1, 2, 2)), "one finite floating-point gradient"),
        (lambda: Leak(torch.zeros(2), (1, 2, 2)), r"shape is \(B, C, H, W\)"),
        (lambda: Leak(torch.zeros(2), (2, 1, 2, 2), torch.tensor([1])), r"int64 \[2\], one an image"),
        (lambda: Leak(torch.zeros(2), (1, 1, 2, 2), torch.tensor([1.0])), r"int64 \[1\], one an image"),
        (lambda: Leak(torch.zeros(2), (1, 1, 2, 2), mean=torch.zeros(1)), "both mean and std"),
        (
            lambda: Leak(torch.zeros(2), (1, 1, 2, 2), known=torch.zeros(2)),
            "mask of the gradient's 2 values; got torch.float32",
        ),
        (
            lambda: Leak(torch.zeros(2), (1, 1, 2, 2), mean=torch.zeros(3, 1, 1), std=torch.ones(3, 1, 1)),
            r"against one image \[1, 2, 2\]; got \[3, 1, 1\]",
        ),
        (lambda: Leak(torch.zeros(2), (1, 1, 2, 2), mean=torch.zeros(1), std=torch.zeros(1)), "std above 0"),
        (lambda: LocalSteps(lr=0), "lr > 0"),
        (lambda: LocalSteps(batch_size=0), "batch_size >= 1"),
    ],
)
def test_a_leak_that_makes_no_sense_is_one_sentence(make, message):
    with pytest.raises(PreconditionError, match=message):
        make()


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (torch.full((1, 1, 8, 8), 255.0), torch.tensor([0]), r"floats \[B, C, H, W\] in \[0, 1\]"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([0]), "Divide bytes by 255"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), "one at least"),
        (torch.full((1, 1, 8, 8), torch.nan), torch.tensor([0]), "from nan to nan"),
        (torch.zeros(1, 8, 8), torch.tensor([0]), r"floats \[B, C, H, W\]"),
        (torch.zeros(1, 1, 8, 8), torch.tensor([5]), r"5 classes; got labels \[5\]"),
        (torch.zeros(1, 1, 8, 8), torch.tensor([-1]), r"5 classes; got labels \[-1\]"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_one_sentence(images, labels, message):
    with pytest.raises(PreconditionError, match=message):
        leak_of(MLP(hidden=()).build((1, 8, 8), 5, seeded()), images, labels)


def test_a_gradient_of_another_model_is_refused():
    with pytest.raises(PreconditionError, match="325 parameters; got a gradient of 7"):
        Client(MLP(hidden=()).build((1, 8, 8), 5, seeded()), Leak(torch.zeros(7), (1, 1, 8, 8)))


def test_images_that_the_model_does_not_take_are_one_sentence():
    model = MLP(hidden=()).build((1, 8, 8), 5, seeded())
    with pytest.raises(PreconditionError, match=r"takes no images of shape \[1, 1, 9, 9\]: mat1 and mat2"):
        Client(model, Leak(torch.zeros(325), (1, 1, 9, 9)))


def test_a_last_batch_that_is_too_short_for_batchnorm_is_one_sentence():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 5))
    images, labels = batch(3)
    leak_of(model, images, labels)
    with pytest.raises(PreconditionError, match=r"no images of shape \[1, 1, 8, 8\]: Expected more than 1 value"):
        leak_of(model, images, labels, local=LocalSteps(0.1, batch_size=2))


def test_dropout_is_refused_while_it_drops_and_only_then():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 5))
    images, labels = batch(1)
    with pytest.raises(ConfigError, match="dropout in training mode"):
        leak_of(model, images, labels)
    assert leak_of(model.eval(), images, labels).gradient.any()
