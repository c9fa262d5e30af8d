"""Models that DP-SGD refuses before round 0, by name and by what they do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import phalanx
from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.core.types import Samples
from phalanx.data import Synthetic
from phalanx.data.augmentations import ATS, Cutout, HorizontalFlip, RandomCrop
from phalanx.training import DPSGD

TRAINER = DPSGD(0.1, epochs=1, noise_multiplier=1.0)
SAMPLES = Samples(torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(3), num_classes=4)


def net(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 4))


class _Centred(nn.Module):
    """Subtracts the batch's mean."""

    def forward(self, images):
        return images - images.mean(dim=0)


class _Summing(nn.Module):
    """Adds all images before an image to it: the first one sees no other."""

    def forward(self, images):
        return images + images.cumsum(0)


class _Placed(nn.Module):
    """Weighs an image by its place in the batch."""

    def forward(self, images):
        return images * torch.arange(len(images)).view(-1, 1, 1, 1)


class _Sized(nn.Module):
    """Weighs images by the size of the batch."""

    def forward(self, images):
        return images * len(images)


class _Gated(nn.Module):
    """Subtracts the batch's mean through a gate that begins at zero."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return images - self.gate * images.mean(dim=0)


class _Lasting(nn.Module):
    """Has a float buffer, which nobody changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, images):
        return images * self.scale


class _Squeezing(nn.Module):
    """Forgets the batch where it has one example."""

    def forward(self, images):
        return images.flatten(1).squeeze(0)


class _Counting(nn.Module):
    """Remembers the brightest image that it has seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("brightest", torch.zeros(1), persistent=False)

    def forward(self, images):
        self.brightest.copy_(torch.maximum(self.brightest, images.amax().detach()))
        return images


class _Sorted(nn.Module):
    """Weighs pixels by a parameter, by means of an operation that vmap does not know."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        sums = torch.tensor([float(image.sum()) for image in images])
        return images * self.weight * sums.view(-1, 1, 1, 1)


class _Folded(nn.Module):
    """Rows of an image as if they were images of their own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, images):
        return self.layer(images.reshape(-1, 8)).view(len(images), 8, 4).mean(dim=1)


class _Borrowed(nn.Module):
    """A layer whose weight is also used without it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, images):
        return self.layer(images.flatten(1)) + nn.functional.linear(images.flatten(1).square(), self.layer.weight)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_Folded(), r"a Linear sees 16 rows for 2 examples\. Set gradients = .vmap.\.$"),
        (_Borrowed(), r"parameters are used outside of the layers that own them\. Set"),
    ],
)
def test_a_model_whose_layers_do_not_tell_its_examples_apart_is_left_to_vmap(model, message):
    with pytest.raises(ConfigError, match=f"^DPSGD cannot tell the examples of this {type(model).__name__} apart .*{message}"):
        TRAINER.check(model, SAMPLES)
    replace(TRAINER, gradients="vmap").check(model, SAMPLES)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (net(nn.BatchNorm2d(1)), r"the layer 0 \(BatchNorm2d\): BatchNorm mixes the examples .* Use GroupNorm\."),
        (net(nn.Sequential(nn.SyncBatchNorm(1))), r"the layer 0\.0 \(SyncBatchNorm\)"),
        (net(nn.InstanceNorm2d(1, track_running_stats=True)), r"the layer 0 .* Set track_running_stats=False\."),
        (net(_Centred()), "an example's logits depend on the others in its batch"),
        (net(_Summing()), "an example's logits depend on the others in its batch"),
        (net(_Placed()), "an example's logits depend on the others in its batch"),
        (net(_Sized()), "an example's logits depend on the others in its batch"),
        (net(_Gated()), "an example's logits depend on the others in its batch"),
        (net(nn.Dropout(0.5), _Summing()), "an example's logits depend on the others in its batch"),
        (net(nn.Dropout(0.5), _Placed()), "an example's logits depend on the others in its batch"),
        (net(_Counting()), "its buffer 0.brightest remembers the examples"),
        (net(_Sorted()), "work out the gradients of single examples in this Sequential: RuntimeError"),
    ],
)
def test_a_model_in_which_examples_meet_is_refused_in_one_sentence(model, message):
    with pytest.raises(ConfigError, match=f"^DPSGD cannot .*{message}"):
        TRAINER.check(model, SAMPLES)


@pytest.mark.parametrize("model", [net(), net(nn.Dropout(0.5)), net(nn.GroupNorm(1, 1)), net(nn.ReLU(inplace=True))])
def test_a_model_that_keeps_examples_apart_is_taken_and_left_as_it_was(model, untouched_rng):
    model.eval()
    TRAINER.check(model, SAMPLES)
    assert not model.training
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (net(_Lasting()), r"DPSGD adds noise to parameters only; this model has float buffers \(0.scale\)"),
        (net(_Squeezing()), "takes batches of any size; this Sequential fails on one of 1"),
    ],
)
def test_what_travels_without_noise_or_takes_no_single_example_is_refused(model, message):
    with pytest.raises(ConfigError, match=message):
        TRAINER.check(model, SAMPLES)


class _Leaking(Augmentation):
    """Adds the batch's mean to every image."""

    def apply(self, images, generator):
        return images + 100 * images.mean(0)


class _Carrying(Augmentation):
    """Adds to every image those before it."""

    def apply(self, images, generator):
        return images.cumsum(0)


def test_an_augmentation_that_mixes_images_is_refused_and_others_are_not():
    for augmentation in (_Leaking(), _Carrying()):
        with pytest.raises(ConfigError, match=f"the augmentation {augmentation.kind}: what it makes of an image depends"):
            replace(TRAINER, augment=(augmentation,)).check(net(), SAMPLES)
    ours = (ATS(policies=((3, 17), (6, 40))), Cutout(size=3), HorizontalFlip(), RandomCrop(padding=2))
    replace(TRAINER, augment=ours).check(net(), SAMPLES)


def test_a_run_with_batch_norm_is_refused_before_round_0():
    experiment = phalanx.Experiment(data=Synthetic(num_samples=60, num_features=16, num_classes=4), training=TRAINER)
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    with pytest.raises(ConfigError, match=r"the layer 1 \(BatchNorm1d\)"):
        phalanx.run(experiment, model=model)


def test_layers_are_asked_for_only_where_all_are_known():
    model = net(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"))
    assert TRAINER.gradients_for(model) == "vmap"
    assert TRAINER.gradients_for(net(nn.Conv2d(1, 1, 3, padding=1))) == "layers"
    with pytest.raises(ConfigError, match='gradients = "layers" knows linear layers'):
        DPSGD(0.1, epochs=1, noise_multiplier=1.0, gradients="layers").check(model, SAMPLES)
