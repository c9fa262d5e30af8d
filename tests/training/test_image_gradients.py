"""The fast gradient of one-channel images is torch's; everything else is left to torch."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from phalanx.training.image_gradients import image_gradients


def gradients(layer: nn.Module, images: Tensor, *, fast: bool) -> tuple[Tensor, Tensor, str]:
    """What comes out, the images' gradient, and the name of what makes it."""
    images = images.clone().requires_grad_()
    with image_gradients(layer) if fast else nullcontext():
        out = layer(images)
    (gradient,) = torch.autograd.grad((out * out).sum(), images)
    assert out.grad_fn is not None
    return out.detach(), gradient, out.grad_fn.name()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 4, 5),
        nn.Conv2d(1, 3, (2, 3), padding=(1, 2), bias=False),
        nn.Conv2d(1, 1, 1),
    ],
    ids=repr,
)
def test_it_is_torchs_gradient(layer, layout):
    layer = layer.double().to(memory_format=layout)
    images = torch.rand(3, 1, 7, 9, dtype=torch.float64).to(memory_format=layout)
    out, expected, _ = gradients(layer, images, fast=False)
    same, found, name = gradients(layer, images, fast=True)
    assert "OneChannel" in name
    assert same.equal(out)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(1, 4, 3, stride=2),
        nn.Conv2d(1, 4, 3, dilation=2),
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        nn.ConvTranspose2d(1, 2, 3),
        nn.LeakyReLU(),
    ],
    ids=repr,
)
def test_what_it_is_not_for_is_torchs_own(layer):
    images = torch.rand(3, getattr(layer, "in_channels", 1), 7, 9)
    out, expected, _ = gradients(layer, images, fast=False)
    same, found, name = gradients(layer, images, fast=True)
    assert "OneChannel" not in name
    assert same.equal(out)
    assert found.equal(expected)


def test_images_without_need_leave_weights_theirs_and_afterwards_the_layer_is_as_it_was():
    layer, images = nn.Sequential(nn.Conv2d(1, 4, 3)), torch.rand(2, 1, 5, 5)
    with image_gradients(layer):
        inside = layer(images)
    outside = layer(images.requires_grad_())
    for out in (inside, outside):
        assert torch.autograd.grad(out.sum(), layer[0].weight)[0].any()
    with pytest.raises(RuntimeError, match="channels"), image_gradients(layer):
        layer(torch.rand(2, 3, 5, 5, requires_grad=True))
    assert "forward" not in vars(layer[0])


def test_a_layer_with_a_forward_of_its_own_keeps_it():
    layer, images = nn.Conv2d(1, 3, 3), torch.rand(2, 1, 5, 5, requires_grad=True)
    layer.forward = own = lambda images: images * 2  # type: ignore[method-assign]
    with image_gradients(layer):
        assert layer(images).equal(images * 2)
    assert layer.forward is own
