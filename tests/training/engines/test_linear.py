"""The closed form against the loop, which is the oracle."""

from dataclasses import KW_ONLY, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation, DataAttack
from phalanx.training import SGD, Adam, ClampGradient, ClipGradientNorm, FedProx
from phalanx.training.engines import linear

SETTINGS = {
    "plain": SGD(0.1, epochs=2, batch_size=4),
    "momentum": SGD(0.1, epochs=3, batch_size=4, momentum=0.9, weight_decay=0.01),
    "steps": SGD(0.1, steps=7, batch_size=3),
    "full batch": SGD(0.5, epochs=2, batch_size=1000),
    "one by one": SGD(0.1, epochs=1, batch_size=1),
    "adam": Adam(0.01, epochs=2, batch_size=4, eps=1e-3),
    "hooks": SGD(0.1, epochs=2, batch_size=4, momentum=0.5, hooks=(FedProx(0.1), ClampGradient(0.05), ClipGradientNorm(0.1))),
}


class _Noise(Augmentation):
    """Adds random pixels."""

    def apply(self, images, generator):
        return images + 0.1 * torch.rand(images.shape, generator=generator)


class _Darken(DataAttack):
    """Darkens chosen images, by the attacker's number, and calls them class 0."""

    _: KW_ONLY
    share: float = 0.5

    def choose(self, samples, index, generator):
        return torch.rand(len(index), generator=generator) < self.share

    def poison(self, images, labels, draw):
        dark = images * draw.chosen.view(-1, 1, 1, 1) / (draw.attacker + 2) * torch.rand(1, generator=draw.generator)
        return images - dark, torch.where(draw.chosen, 0, labels)


def agree(one, other):
    scale = other.matrix.abs().amax()
    assert (one.matrix - other.matrix).abs().amax() <= 1e-5 * scale
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-5, atol=1e-6)
    assert torch.equal(one.steps, other.steps)
    assert torch.equal(one.status, other.status)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("sizes", [(8, 8, 8), (13, 1, 0, 5, 30), (3,)])
def test_the_closed_form_agrees_with_the_loop(world, nets, setting, sizes):
    here, trainer = world(nets["linear_model"], sizes), SETTINGS[setting]
    agree(here.train(replace(trainer, engine="linear")), here.train(replace(trainer, engine="loop")))


@pytest.mark.parametrize("poison", [None, _Darken()])
@pytest.mark.parametrize("augment", [(), (_Noise(),)])
def test_it_agrees_on_poisoned_and_augmented_samples(world, nets, poison, augment):
    here = world(nets["linear_model"], (9, 4, 6))
    trainer = SGD(0.1, epochs=2, batch_size=4, augment=augment)
    attack = {"poison": poison, "attackers": (0, 2, 1)} if poison else {}
    agree(here.train(replace(trainer, engine="linear"), **attack), here.train(replace(trainer, engine="loop"), **attack))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 3))
def test_it_agrees_for_any_sizes(world, nets, sizes, batch_size, epochs):
    here = world(nets["linear_model"], (*sizes, 2))
    trainer = SGD(0.2, epochs=epochs, batch_size=batch_size, momentum=0.5)
    agree(here.train(replace(trainer, engine="linear")), here.train(replace(trainer, engine="loop")))


def test_it_agrees_without_a_bias(world):
    here = world(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False)), (8, 5))
    agree(here.train(SGD(0.1, epochs=2, engine="linear")), here.train(SGD(0.1, epochs=2, engine="loop")))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_clients_bits_do_not_depend_on_who_is_trained_beside_it(world, nets, setting, monkeypatch):
    here, trainer = world(nets["linear_model"], (13, 1, 7, 5, 13, 8)), SETTINGS[setting]
    together = here.train(trainer)
    for i in range(6):
        alone = here.train(trainer, ids=(i,), places=(i,), index=(here.index[i],))
        assert torch.equal(alone.matrix[i], together.matrix[i])
        assert alone.loss[i] == together.loss[i]
    monkeypatch.setattr(linear, "_BYTES", 2 * 4 * 64 * 4)
    assert torch.equal(here.train(trainer).matrix, together.matrix)


def test_a_bad_sample_harms_only_its_own_client(world, nets):
    here = world(nets["linear_model"], (6, 6))
    images = here.samples.images.float()
    images[here.index[0][0]] = float("nan")
    rows = here.train(SGD(0.1, epochs=1, batch_size=4), samples=replace(here.samples, images=images))
    assert rows.matrix[0].isnan().any()
    assert rows.matrix[1].isfinite().all()


@pytest.mark.parametrize(
    "model, engine",
    [
        (nn.Linear(4, 2), "linear"),
        (nn.Sequential(nn.Identity(), nn.Flatten(), nn.Sequential(nn.Linear(4, 2))), "linear"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU()), "loop"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)), "loop"),
        (nn.Sequential(nn.Flatten(2), nn.Linear(4, 2)), "loop"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2).double()), "loop"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2).requires_grad_(False), nn.Linear(2, 2)), "loop"),
        (nn.Sequential(), "loop"),
    ],
)
def test_the_engine_is_chosen_by_the_models_form(model, engine):
    assert SGD(0.1, epochs=1).engine_for(model) == engine


def test_a_module_can_declare_itself(world):
    class Softmax(nn.Module):
        is_softmax_regression = True

        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(4, 64)), nn.Parameter(torch.zeros(4))

        def forward(self, images):
            return images.flatten(1) @ self.weight.T + self.bias

    here = world(Softmax, (8, 3))
    assert SGD(0.1, epochs=1).engine_for(here.model) == "linear"
    agree(here.train(SGD(0.1, epochs=2)), here.train(SGD(0.1, epochs=2, engine="loop")))


def test_an_engine_that_does_not_suit_the_model_is_refused(nets):
    with pytest.raises(ConfigError, match='engine = "linear" needs a model that is one linear layer'):
        SGD(0.1, epochs=1, engine="linear").engine_for(nets["mlp"]())


@pytest.mark.parametrize(
    "hook",
    [
        lambda layer: layer.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],)),
        lambda layer: layer.register_forward_hook(lambda module, inputs, output: 2 * output),
        lambda layer: layer.register_full_backward_hook(lambda module, inputs, outputs: None),
        lambda layer: layer.weight.register_hook(lambda gradient: 2 * gradient),
    ],
)
def test_a_layer_that_someone_hooks_into_is_not_taken_for_the_closed_form(hook):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert linear.is_linear(model)
    hook(model[1])
    assert not linear.is_linear(model)
