"""ATS's transformations with gradients: pillow's values, and derivatives that finite differences confirm."""

import pytest
import torch

from phalanx.data.augmentations.transformations import OPERATIONS, TRANSFORMATIONS, Transformation
from phalanx.inversion.smooth_transformations import has_sign, smooth

APPROXIMATED = {"equalize", "posterize", "shear_x", "shear_y"}


def pictures(channels, side=(9, 12)):
    return torch.randint(256, (6, channels, *side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [(9, 12), (2, 5)])
def test_values_are_those_of_the_transformation_itself(operation, channels, side):
    images = pictures(channels, side)
    for level in range(10):
        signs, step = torch.tensor([1, -1] * 3), Transformation(operation, level)
        found = smooth(step, images.double() / 255, signs) * 255
        assert (found - step(images, signs)).abs().max() < 1.5, level


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - APPROXIMATED))
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_are_those_of_finite_differences_where_nothing_is_cut_off(operation, channels):
    step, signs = Transformation(operation, 4), torch.tensor([1, -1])
    images = (0.4 + 0.2 * torch.rand(2, channels, 5, 6, generator=torch.Generator().manual_seed(1))).double()
    images[:, :, 0, 0], images[:, :, 4, 5] = 0.35, 0.65  # autocontrast takes its ends for given: they are not moved below
    weights = torch.rand(images.shape, generator=torch.Generator().manual_seed(2)).double()

    def value(images):
        return (weights * smooth(step, images, signs)).sum()

    images.requires_grad_()
    (gradient,) = torch.autograd.grad(value(images), images)
    images = images.detach()
    for place in [(0, 0, 2, 3), (1, channels - 1, 1, 1), (1, 0, 4, 0)]:
        nudge = torch.zeros_like(images)
        nudge[place] = 1e-6
        slope = (value(images + nudge) - value(images - nudge)) / 2e-6
        assert float(slope) == pytest.approx(float(gradient[place]), abs=1e-6)


@pytest.mark.parametrize("operation", sorted(APPROXIMATED))
def test_what_has_no_derivative_of_its_own_still_says_where_values_come_from(operation):
    """Brighter pixels make a brighter picture: the gradient of the sum is positive somewhere, and negative nowhere."""
    images = (pictures(1) / 255).requires_grad_()
    found = smooth(Transformation(operation, 5), images, torch.ones(6))
    (gradient,) = torch.autograd.grad(found.sum(), images)
    assert gradient.min() >= 0
    assert gradient.mean() > 0.5


def test_a_sign_is_asked_for_exactly_where_it_changes_something():
    images, one, other = pictures(3), torch.ones(6, dtype=torch.int64), -torch.ones(6, dtype=torch.int64)
    for step in TRANSFORMATIONS:
        assert has_sign(step) == (not torch.equal(step(images, one), step(images, other))), step
