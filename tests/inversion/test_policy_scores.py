"""S_pri and S_acc: by hand, against slow versions without vmap, and what they are for."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.inversion.policy_scores import accuracy_score, privacy_score
from phalanx.models import CNN, ConvNet8

MEAN, STD = torch.full((1, 1, 1), 0.4), torch.full((1, 1, 1), 0.3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=3, side=8, seed=1):
    return torch.rand(count, 1, side, side, generator=seeded(seed))


class TwoWeights(nn.Module):
    """One pixel x, logits (0 x, 0 x)."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.weights * x.flatten(1)


def test_one_pixel_worked_by_hand():
    """The logits are (0, 0), so the gradient is x (p − y) = x (−1/2, 1/2), whose direction is the sign of x. The model sees
    pixels minus a mean, which the way from r to 1 passes between its steps 4 and 5: y is −1 five times, then 1 sixteen times.
    """
    r = float(torch.rand(1, generator=seeded(5)))
    mean, std = torch.full((1, 1, 1), r + 4.5 / 20 * (1 - r)), torch.ones(1, 1, 1)
    score = privacy_score(TwoWeights(), torch.ones(1, 1, 1, 1), torch.tensor([0]), seeded(5), mean=mean, std=std)
    assert score == pytest.approx((-0.5 - 4 + 15 + 0.5) / 20)


def test_the_privacy_score_is_that_of_gradients_one_by_one():
    model, labels, truth = CNN().build((1, 8, 8), 4, seeded()), torch.tensor([0, 3, 1]), images()
    noise = torch.rand(truth.shape, generator=seeded(7))
    expected = []
    for image, label, start in zip(truth, labels, noise):
        rows = []
        for k in range(21):
            point = ((k / 20 * image + (1 - k / 20) * start - MEAN) / STD)[None]
            gradients = torch.autograd.grad(cross_entropy(model(point), label[None]), list(model.parameters()))
            rows.append(torch.cat([gradient.flatten() for gradient in gradients]).numpy().astype(float))
        alike = [row @ rows[-1] / np.linalg.norm(row) / np.linalg.norm(rows[-1]) for row in rows]
        expected.append((sum(alike) - (alike[0] + alike[-1]) / 2) / 20)
    for together in (1, 2, 3):
        found = privacy_score(model, truth, labels, seeded(7), mean=MEAN, std=STD, together=together)
        assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_accuracy_score_is_that_of_numpy_and_a_gradient_for_each_image():
    model, batch = CNN().build((1, 8, 8), 4, seeded()), images(6)
    rows = []
    for image in batch:
        point = ((image - MEAN) / STD)[None].requires_grad_()
        model(point).sum().backward()
        rows.append(point.grad.flatten().numpy().astype(float))
    values = np.linalg.eigvalsh(np.corrcoef(np.array(rows)))
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in values)
    assert accuracy_score(model, batch, mean=MEAN, std=STD) == pytest.approx(expected, rel=1e-4)


class Quadratic(nn.Module):
    """Its one logit is Σ a_i x_i² / 2, so the gradient at x is a ∘ x."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.weight * x.flatten(1).square().sum(1, keepdim=True) / 2


def test_two_images_worked_by_hand():
    """Gradients are the images. (1, 0, 0, 0) and (0, 1, 0, 0) have the correlation −1/3: eigenvalues 2/3 and 4/3."""
    batch = torch.eye(4)[:2].view(2, 1, 2, 2)
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in (2 / 3, 4 / 3))
    assert accuracy_score(Quadratic(), batch) == pytest.approx(expected)


def test_unrelated_images_score_best_and_equal_ones_or_ones_without_a_gradient_worst():
    unrelated = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0]]).view(2, 1, 2, 2)
    assert accuracy_score(Quadratic(), unrelated) == pytest.approx(-2, abs=1e-4)
    for worst in (torch.stack([unrelated[0]] * 2), torch.cat([unrelated[:1], torch.zeros(1, 1, 2, 2)])):
        assert accuracy_score(Quadratic(), worst) < -9e4


def test_the_model_is_left_alone_and_the_global_stream_is_not_drawn_from(untouched_rng):
    model = ConvNet8(width=2).build((1, 9, 9), 4, seeded()).eval()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    first, again = (privacy_score(model, images(2, 9), torch.tensor([0, 1]), seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    accuracy_score(model, images(4, 9))
    assert all(torch.equal(*pair) for pair in zip(before, model.state_dict().values()))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_images_of_the_wrong_range_shape_or_number_are_refused():
    model, label = CNN().build((1, 8, 8), 4, seeded()), torch.tensor([0])
    for wrong in (images(1) * 255, images(1)[0], (images(1) * 255).byte()):
        for refuse in (lambda one: privacy_score(model, one, label, seeded()), lambda one: accuracy_score(model, one)):
            with pytest.raises(PreconditionError, match=r"floats \[B, C, H, W\] in \[0, 1\], one at least"):
                refuse(wrong)
    with pytest.raises(PreconditionError, match="got 1"):
        accuracy_score(model, images(1))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 4], r"4 classes; got labels \[0, 4\]"),
        ([-1, 0], r"4 classes; got labels \[-1, 0\]"),
        ([0], r"int64 \[2\], one an image"),
        ([0, 1, 2], r"int64 \[2\], one an image"),
    ],
)
def test_labels_that_do_not_fit_are_one_sentence(labels, message):
    with pytest.raises(PreconditionError, match=message):
        privacy_score(CNN().build((1, 8, 8), 4, seeded()), images(2), torch.tensor(labels), seeded())


def test_a_model_that_does_not_fit_or_draws_is_one_sentence():
    model, coloured = CNN().build((1, 8, 8), 4, seeded()), images(4).view(2, 2, 8, 8)
    for refuse in (
        lambda one: privacy_score(model, one, torch.tensor([0, 1]), seeded()),
        lambda one: accuracy_score(model, one),
    ):
        with pytest.raises(PreconditionError, match="takes no images of shape"):
            refuse(coloured)
    with pytest.raises(ConfigError, match=r"Call model.eval\(\)"):
        accuracy_score(nn.Sequential(model, nn.Dropout()), images(2))


def test_batchnorm_in_training_mode_sees_the_batch_and_remembers_nothing():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4))
    accuracy_score(model, images(4))
    assert int(model[1].num_batches_tracked) == 0
    assert not model[1].running_mean.any()
    with pytest.raises(PreconditionError, match="more than 1 value"):
        privacy_score(model, images(2), torch.tensor([0, 1]), seeded())
