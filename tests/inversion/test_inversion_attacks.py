"""What holds for every inversion attack, and what each is for: it recovers what it should, and knows nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from phalanx.core.component import members
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import InversionAttack
from phalanx.core.params import flatten
from phalanx.inversion import (
    DLG,
    IDLG,
    InvertingGradients,
    Leak,
    LinearRecovery,
    LocalSteps,
    MaskAware,
    PolicyAware,
    TransformAware,
    leak_of,
)
from phalanx.inversion.inverting_gradients import total_variation
from phalanx.metrics import psnr, recovery
from phalanx.models import CNN, MLP, SigmoidCNN

ATTACKS = [
    DLG(steps=5, restarts=3),
    DLG("l1", optimizer="adam", steps=5, restarts=3),
    IDLG(steps=5, restarts=3),
    InvertingGradients(steps=5, restarts=3),
    LinearRecovery(),
    MaskAware(DLG(steps=5)),
    TransformAware(DLG(steps=5)),
    PolicyAware(DLG(steps=5), ((0, 3), (1,)), undo_steps=3),
]
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda value: value.kind)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(count=1, side=8, seed=1):
    """Smooth images, as photographs are: noise of a quarter of the size, made larger."""
    small = torch.rand(count, 1, side // 4, side // 4, generator=seeded(seed))
    return nn.functional.interpolate(small, size=(side, side), mode="bilinear")


def scene():
    """A model that every attack can attack, and one image's leak."""
    model, image = MLP(hidden=(8,)).build((1, 8, 8), 4, seeded()), picture()
    return model, image, leak_of(model, image, torch.tensor([2]))


def test_every_attack_is_tested_here():
    assert {type(attack).kind for attack in ATTACKS} == members(InversionAttack).keys()


@each
@pytest.mark.parametrize("knows_labels", [True, False])
def test_images_have_their_shape_and_range_and_labels_their_type(attack, knows_labels):
    model, _, leak = scene()
    found = attack.reconstruct(leak if knows_labels else replace(leak, labels=None), model, seeded())
    assert found.images.shape == leak.shape
    assert 0 <= found.images.min() <= found.images.max() <= 1
    assert found.labels.dtype == torch.int64
    assert found.labels.shape == (1,)
    assert len(found.losses) == getattr(attack, "restarts", 1)
    assert found.transformed is None or (found.transformed.shape == leak.shape and found.transformed.min() >= 0)


@each
def test_the_same_seed_gives_the_same_bytes_and_nothing_is_changed(attack, untouched_rng):
    model, _, leak = scene()
    before, gradient = flatten(model)[0], leak.gradient.clone()
    first, again = (attack.reconstruct(leak, model, seeded(7)).images for _ in range(2))
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert torch.equal(flatten(model)[0], before)
    assert torch.equal(leak.gradient, gradient)
    assert all(parameter.grad is None for parameter in model.parameters())


@each
def test_a_gradient_of_another_model_is_refused(attack):
    model, _, leak = scene()
    with pytest.raises(PreconditionError, match="556 parameters; got a gradient of 3"):
        attack.reconstruct(replace(leak, gradient=torch.ones(3)), model, seeded())


@each
def test_a_model_with_dropout_on_is_refused(attack):
    model, _, leak = scene()
    with pytest.raises(ConfigError, match=r"Call model.eval\(\)"):
        attack.reconstruct(leak, nn.Sequential(model, nn.Dropout()), seeded())


class Bare(nn.Module):
    """A model without a layer to read labels off."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 64, generator=seeded()) / 8)

    def forward(self, images):
        return nn.functional.linear(images.flatten(1), self.weight)


class Attending(Bare):
    """Attention, whose gradient torch cannot differentiate."""

    def forward(self, images):
        images = images.view(-1, 1, 8, 8) * self.weight[0].view(8, 8)
        return super().forward(nn.functional.scaled_dot_product_attention(images, images, images))


@each
def test_what_no_gradient_would_change_is_refused_by_a_check_that_searches_nothing(attack):
    model, _, leak = scene()
    unseen = replace(leak, gradient=torch.zeros_like(leak.gradient))
    attack.check(unseen, model)
    attack.check(replace(unseen, labels=None), model)
    for wrong in (replace(unseen, gradient=torch.zeros(3)), replace(unseen, labels=torch.tensor([4]))):
        with pytest.raises(PreconditionError):
            attack.check(wrong, model)
    with pytest.raises(ConfigError, match=r"Call model.eval\(\)"):
        attack.check(unseen, nn.Sequential(model, nn.Dropout()))


@pytest.mark.parametrize("attack", [IDLG(), InvertingGradients(), MaskAware(IDLG())], ids=lambda value: value.kind)
def test_labels_that_cannot_be_read_are_asked_for_before_the_search(attack):
    leak = replace(leak_of(Bare(), picture(), torch.tensor([2])), labels=None)
    with pytest.raises(ConfigError, match=r"Bare has none that is trained\. Give"):
        attack.check(leak, Bare())
    MaskAware(DLG(steps=5)).check(leak, Bare())  # it searches them


@pytest.mark.parametrize("attack", [DLG(steps=10**6), TransformAware(InvertingGradients())], ids=lambda value: value.kind)
def test_a_model_that_torch_cannot_differentiate_twice_is_refused_in_a_sentence(attack):
    model = Attending()
    leak = leak_of(model, picture(), torch.tensor([2]))
    for refuse in (attack.check, lambda *known: attack.reconstruct(*known, seeded())):
        with pytest.raises(ConfigError, match="differentiates the gradient of Attending, which torch cannot: derivative for"):
            refuse(leak, model)


def test_a_check_asks_for_batchnorm_where_the_prior_needs_it_and_for_pictures_where_a_policy_does():
    model, _, leak = scene()
    with pytest.raises(ConfigError, match="batch_norm needs a model"):
        InvertingGradients(batch_norm=0.1).check(leak, model)
    wide = MLP(hidden=()).build((2, 4, 8), 4, seeded())
    with pytest.raises(PreconditionError, match="C = 1 or 3"):
        PolicyAware(LinearRecovery(), ((0,),)).check(Leak(torch.zeros(260), (1, 2, 4, 8)), wide)


@each
def test_several_leaks_at_once_are_one_after_the_other(attack):
    model, image, leak = scene()
    leaks = [leak, leak_of(model, 1 - image, torch.tensor([0]))]
    together = attack.reconstruct_all(leaks, model, seeded(3))
    draws = seeded(3)
    for one, found in zip(leaks, together):
        alone = attack.reconstruct(one, model, draws)
        assert torch.equal(found.labels, alone.labels)
        assert torch.allclose(found.losses, alone.losses, rtol=1e-3)
        assert torch.allclose(found.images, alone.images, atol=1e-2)


@pytest.mark.parametrize("attack", ATTACKS[:4], ids=lambda value: value.kind)
def test_restarts_together_or_one_by_one_find_the_same(attack):
    model, _, leak = scene()
    together = attack.reconstruct(leak, model, seeded())
    alone = replace(attack, together=1).reconstruct(leak, model, seeded())
    assert torch.allclose(together.losses, alone.losses, rtol=1e-3)
    assert torch.allclose(together.images, alone.images, atol=1e-2)


def test_what_comes_back_is_the_restart_of_the_lowest_loss():
    """Its box keeps every pixel where it is, so the loss can be worked out anew."""
    model, _, leak = scene()
    attack = InvertingGradients(steps=10, restarts=6, together=2)
    found = attack.reconstruct(leak, model, seeded())
    again = attack.loss(leak_of(model, found.images, found.labels).gradient[None], leak.gradient, found.images[None])
    assert float(again) == pytest.approx(float(found.losses.min()), rel=1e-3)
    assert len(set(found.losses.tolist())) == 6


def test_a_longer_search_never_ends_with_a_larger_loss():
    model, _, leak = scene()
    losses = [DLG(steps=steps).reconstruct(leak, model, seeded()).losses.min() for steps in (1, 10, 40)]
    assert losses == sorted(losses, reverse=True)


def test_patience_ends_a_search_that_stands_still():
    model, _, leak = scene()
    calls = []

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, images):
            calls.append(1)
            return self.inner(images)

        def __deepcopy__(self, memo):
            return self

    DLG(optimizer="adam", lr=1e-12, steps=1000, patience=3).reconstruct(leak, Counted(), seeded())
    assert len(calls) < 10


@pytest.mark.parametrize("local", [LocalSteps(), LocalSteps(0.1, epochs=4)])
@pytest.mark.parametrize("hidden", [(), (16,)])
def test_linear_recovery_is_exact_after_one_step_and_after_several(hidden, local):
    model, image = MLP(hidden=hidden).build((3, 6, 6), 4, seeded()), torch.rand(1, 3, 6, 6, generator=seeded(3))
    mean, std = torch.full((3, 1, 1), 0.4), torch.full((3, 1, 1), 0.2)
    leak = leak_of(model, image, torch.tensor([1]), mean=mean, std=std, local=local)
    found = LinearRecovery().reconstruct(replace(leak, labels=None), model, seeded())
    assert psnr(found.images, image) > 90
    assert found.labels.tolist() == [1]


def test_linear_recovery_refuses_what_it_cannot_do():
    model, _, leak = scene()
    with pytest.raises(PreconditionError, match="one image; got an update of 2"):
        LinearRecovery().reconstruct(replace(leak, shape=(2, 1, 8, 8), labels=None), model, seeded())
    with pytest.raises(PreconditionError, match="the first layer's bias; got 0 everywhere"):
        LinearRecovery().reconstruct(replace(leak, gradient=torch.zeros_like(leak.gradient)), model, seeded())
    convolution = CNN().build((1, 8, 8), 4, seeded())
    with pytest.raises(ConfigError, match="got a Conv2d first"):
        LinearRecovery().reconstruct(leak_of(convolution, picture(), torch.tensor([2])), convolution, seeded())


def test_total_variation_is_that_of_a_loop():
    images = torch.rand(2, 3, 1, 4, 5, generator=seeded())
    for image, found in zip(images.flatten(1, 2), total_variation(images)):
        across = [abs(float(p[i, j + 1] - p[i, j])) for p in image for i in range(4) for j in range(4)]
        down = [abs(float(p[i + 1, j] - p[i, j])) for p in image for i in range(3) for j in range(5)]
        assert float(found) == pytest.approx(sum(across) / len(across) + sum(down) / len(down), rel=1e-5)


@pytest.mark.parametrize(
    "attack, knows_labels",
    [
        (DLG(steps=150, restarts=8), False),
        (IDLG(steps=150, restarts=8), False),
        (InvertingGradients(1e-3, steps=500), False),
        (InvertingGradients(1e-3, steps=500), True),
    ],
    ids=["dlg", "idlg", "inverting_gradients", "inverting_gradients, labels known"],
)
def test_one_image_of_28_x_28_behind_a_sigmoid_cnn_is_recovered_above_20_db(attack, knows_labels):
    model, image = SigmoidCNN().build((1, 28, 28), 10, seeded()), picture(side=28)
    leak = leak_of(model, image, torch.tensor([3]))
    found = attack.reconstruct(leak if knows_labels else replace(leak, labels=None), model, seeded(1))
    assert found.labels.tolist() == [3]
    assert psnr(found.images, image) > 20


def test_the_batch_of_a_relu_network_after_several_steps_is_recovered_above_its_mean():
    images, labels = picture(4, 12), torch.tensor([0, 1, 2, 3])
    model = CNN().build((1, 12, 12), 4, seeded())
    leak = leak_of(model, images, labels, local=LocalSteps(0.05, 2, 2))
    found = InvertingGradients(1e-3, steps=250).reconstruct(leak, model, seeded(1))
    scores = recovery(found.images, images, mean_image=images.mean(0))
    assert scores.mean_psnr > scores.baseline.mean() + 5


def test_l1_and_adam_recover_a_small_image_too():
    model, image = SigmoidCNN().build((1, 8, 8), 4, seeded()), picture()
    leak = leak_of(model, image, torch.tensor([1]))
    for attack in (DLG(optimizer="adam", steps=300), DLG("l1", optimizer="adam", lr=0.02, steps=400)):
        assert psnr(attack.reconstruct(leak, model, seeded(2)).images, image) > 20


def test_an_update_with_nothing_in_it_recovers_nothing():
    """Purpose of the baseline: a gradient of another image gives no better a picture than the mean does."""
    model, image, other = SigmoidCNN().build((1, 8, 8), 4, seeded()), picture(), picture(seed=5)
    leak = leak_of(model, other, torch.tensor([1]))
    found = DLG(steps=100, restarts=4).reconstruct(leak, model, seeded())
    scores = recovery(found.images, image, mean_image=picture(50, seed=9).mean(0))
    assert scores.mean_psnr < scores.baseline.mean()


def test_a_double_precision_leak_is_searched_in_double_precision():
    model, image = SigmoidCNN().build((1, 8, 8), 4, seeded()).double(), picture().double()
    leak = leak_of(model, image, torch.tensor([1]))
    assert isinstance(leak, Leak)
    assert DLG(steps=3).reconstruct(leak, model, seeded()).images.dtype == torch.float64


def test_pruning_stops_the_naive_attacker_and_not_the_one_who_looks():
    model, image = SigmoidCNN().build((1, 12, 12), 10, seeded()), picture(side=12)
    leak = leak_of(model, image, torch.tensor([3]))
    largest = leak.gradient.abs() >= leak.gradient.abs().quantile(0.9)
    pruned, attack = replace(leak, gradient=leak.gradient * largest), DLG(steps=150, restarts=8)
    naive, adaptive = (one.reconstruct(pruned, model, seeded(1)).images for one in (attack, MaskAware(attack)))
    assert psnr(naive, image) < 10
    assert psnr(adaptive, image) > 25


def test_a_mask_aware_attack_on_what_was_not_pruned_is_the_attack():
    model, image = SigmoidCNN().build((1, 8, 8), 4, seeded()), picture()
    leak = leak_of(model, image, torch.tensor([1]))
    attack = DLG(steps=20, restarts=2)
    alone, aware = (one.reconstruct(leak, model, seeded(1)).images for one in (attack, MaskAware(attack)))
    assert torch.equal(alone, aware)


def test_what_is_unknown_is_not_looked_at():
    model, image = SigmoidCNN().build((1, 8, 8), 4, seeded()), picture()
    leak = leak_of(model, image, torch.tensor([1]))
    known = torch.rand(len(leak.gradient), generator=seeded(3)) < 0.5
    spoilt = replace(leak, gradient=torch.where(known, leak.gradient, 1e6), known=known)
    honest, attack = replace(leak, known=known), DLG(steps=20, restarts=2)
    first, second = (attack.reconstruct(one, model, seeded(1)).images for one in (honest, spoilt))
    assert torch.equal(first, second)
