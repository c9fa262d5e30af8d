"""Labels from the last layer: one is certain, several are found while the model knows nothing."""

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.inversion import Leak, LocalSteps, infer_labels, leak_of
from phalanx.models import CNN, MLP, SigmoidCNN


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_worked_by_hand():
    """Three images of two classes out of three: mean p = 1/3 each, so g = 1/3 − count/3 = (−1/3, 1/3, 0)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 3))
    gradient = torch.cat([torch.zeros(3), torch.tensor([-1 / 3, 1 / 3, 0.0])])
    assert infer_labels(Leak(gradient, (3, 1, 1, 1)), model).tolist() == [0, 0, 2]


@pytest.mark.parametrize("architecture", [CNN(), MLP(), SigmoidCNN()], ids=lambda value: value.kind)
@pytest.mark.parametrize("label", range(5))
def test_the_label_of_one_image_is_certain(architecture, label):
    model = architecture.build((1, 8, 8), 5, seeded(label))
    image = torch.rand(1, 1, 8, 8, generator=seeded(1))
    assert infer_labels(leak_of(model, image, torch.tensor([label])), model).tolist() == [label]


@pytest.mark.parametrize("mean", [0.0, 0.9])
def test_without_a_bias_the_weights_tell_whatever_the_sign_of_what_they_see(mean):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5, bias=False))
    image, moments = torch.rand(1, 1, 8, 8, generator=seeded(1)), {"mean": torch.tensor(mean), "std": torch.tensor(1.0)}
    assert infer_labels(leak_of(model, image, torch.tensor([3]), **moments), model).tolist() == [3]


@pytest.mark.parametrize("local", [LocalSteps(), LocalSteps(0.02, 2, 2)])
def test_a_batch_of_a_model_that_knows_nothing_is_found(local):
    model, labels = MLP().build((1, 8, 8), 5, seeded()), torch.tensor([4, 0, 0, 2])
    images = torch.rand(4, 1, 8, 8, generator=seeded(1))
    assert infer_labels(leak_of(model, images, labels, local=local), model).tolist() == [0, 0, 2, 4]


def test_a_model_without_a_linear_layer_is_one_sentence():
    model = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    with pytest.raises(ConfigError, match=r"a last nn\.Linear that gives the logits; Sequential has none"):
        infer_labels(Leak(torch.zeros(195), (1, 1, 8, 8)), model)


def test_a_linear_layer_that_is_not_the_last_is_not_taken_for_the_classes():
    layers = nn.Linear(64, 20), nn.Unflatten(1, (1, 20)), nn.Conv1d(1, 3, 20), nn.Flatten()
    model = nn.Sequential(nn.Flatten(), *layers)
    with pytest.raises(ConfigError, match="gives the logits"):
        infer_labels(leak_of(model, torch.rand(1, 1, 8, 8), torch.tensor([2])), model)
