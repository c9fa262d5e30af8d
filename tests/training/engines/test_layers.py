"""Examples' gradients by layers beside autograd, one example at a time, for every layer and how it can be set."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from phalanx.training import FlatClipping
from phalanx.training.engines.example_gradients import by_vmap, clipped_sum
from phalanx.training.engines.layers import by_layers, knows


class _Twice(nn.Module):
    """One layer used twice, a second that shares its weight, and one that is never used."""

    def __init__(self):
        super().__init__()
        self.layer, self.sharing, self.idle = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(2, 2)
        self.sharing.weight = self.layer.weight
        self.last = nn.Linear(36, 3)

    def forward(self, images):
        return self.last(self.sharing(self.layer(torch.tanh(self.layer(images.flatten(1))))))


class _Tokens(nn.Module):
    """Rows of an image as a sequence."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.last = nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, images):
        return self.last(self.norm(self.layer(images.flatten(1, 2))).mean(dim=1))


def image_net(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


def frozen_bias():
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.Linear(5, 3))
    model[1].bias.requires_grad_(False)
    return model


NETS = {
    "one channel": (1, lambda: image_net(nn.Conv2d(1, 4, 3))),
    "padded, strided, dilated": (2, lambda: image_net(nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2)))),
    "grouped": (2, lambda: image_net(nn.Conv2d(2, 6, 3, groups=2))),
    "depthwise without a bias": (2, lambda: image_net(nn.Conv2d(2, 2, 3, groups=2, bias=False))),
    "in place": (2, lambda: image_net(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 2), nn.ReLU(inplace=True))),
    "group norm": (2, lambda: image_net(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 1))),
    "layer norm over images": (2, lambda: image_net(nn.LayerNorm([2, 6, 6]))),
    "tokens": (1, _Tokens),
    "used twice": (1, _Twice),
    "frozen bias": (2, frozen_bias),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gradients_are_those_of_one_example_at_a_time(name, memory_format):
    channels, make = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images, labels = torch.randn(5, channels, 6, 6), torch.tensor([0, 1, 2, 1, 0])
        model = make()
        model(images)
        for part in model.modules():
            if isinstance(part, nn.GroupNorm | nn.LayerNorm):
                nn.init.normal_(part.weight)
    model.to(memory_format=memory_format)
    images = images.to(memory_format=memory_format)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    one_by_one = [
        torch.autograd.grad(
            cross_entropy(model(images[i : i + 1]), labels[i : i + 1]), parameters, materialize_grads=True, allow_unused=True
        )
        for i in range(5)
    ]
    expected = [torch.stack([each[j] for each in one_by_one]) for j in range(len(parameters))]
    assert knows(model)
    weights = torch.tensor([0.5, 1.0, 0.0, -2.0, 3.0])
    for ways in (by_layers, by_vmap):
        with ways(model, parameters) as source:
            found = source(images, labels)
        for gradients, truth in zip(found, expected):
            torch.testing.assert_close(gradients.squares(), truth.flatten(1).square().sum(dim=1), rtol=1e-4, atol=1e-6)
            total = torch.tensordot(weights, truth, dims=1)
            torch.testing.assert_close(gradients.weighted_sum(weights), total, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(gradients.written_out().weighted_sum(weights), total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [nn.Bilinear(3, 3, 2), nn.Conv1d(1, 2, 3), nn.Embedding(3, 2), nn.Conv2d(1, 1, 3, padding="same"), nn.PReLU()]
)
def test_a_layer_whose_algebra_is_not_written_down_is_known_as_unknown(layer):
    assert not knows(nn.Sequential(layer, nn.Linear(2, 2)))
    assert knows(nn.Sequential(layer.requires_grad_(False), nn.Linear(2, 2)))


def test_hooks_are_gone_whatever_happens_inside():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="stop"), by_layers(model, list(model.parameters())):
        raise ValueError("stop")
    assert not model[1]._forward_hooks


def test_only_broken_examples_give_a_sum_of_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with by_layers(model, list(model.parameters())) as source:
        sums = clipped_sum(source(torch.full((2, 4), torch.inf), torch.tensor([0, 1])), FlatClipping(1.0))
    assert [part.abs().sum().item() for part in sums] == [0, 0]
