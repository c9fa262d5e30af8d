"""Canaries that are examples: one bright value in a blank sample, each with a gradient of its own direction."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from phalanx.config import Experiment
from phalanx.core import params as flat
from phalanx.core.privacy import Neighbours
from phalanx.core.types import Samples
from phalanx.data import Federation
from phalanx.experiments.auditing.game import MOST_CANARIES, Game, coins
from phalanx.simulation import FederationState, Simulation

_BRIGHTNESS = 10.0
"""Of the one value: the gradient of a linear layer's weight is so many times that of its bias, which all canaries share."""
_NUMBERS = 1 << 24
"""Gradients that are worked out at once may have so many numbers."""


@dataclass(frozen=True)
class _CanaryExamples(Game):
    """The observer is the server, and gets the one client's row; `images` `[m, ...]`, `labels` `[m]`: the canaries."""

    images: Tensor
    labels: Tensor

    def seen(self, state: FederationState, following: FederationState) -> Tensor:
        """How far the row goes down each canary's gradient, per length of that gradient.

        A tensor of the model counts by its share in the gradients, over how much it varies: a bias or a last layer, into which
        all canaries write, would drown the others.
        """
        row, layout = self.simulation.clients.rows.matrix[0], self.simulation.layout
        model, views = self.simulation.load(state), layout.views(row)

        def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
            return cross_entropy(functional_call(model, parameters, image[None]), label[None])

        def descent(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
            gradients = grad(loss)(parameters, image, label)
            along = torch.stack([-(gradients[name] * view).sum() for name, view in views.items()])
            return along, torch.stack([gradients[name].square().sum() for name in views])

        parameters = {name: parameter.detach() for name, parameter in flat.trainable(model).items()}
        with flat.evaluating(model):
            each = vmap(descent, in_dims=(None, 0, 0), chunk_size=max(1, _NUMBERS // layout.d))
            along, squares = each(parameters, self.images, self.labels)
        square = squares.sum(dim=1, keepdim=True).clamp(min=1e-24)
        along, shares = along / square.sqrt(), (squares / square).mean(dim=0)
        weights = shares / along.var(dim=0).clamp(min=1e-24)
        return along @ (weights / (weights @ shares))


def examples_of(experiment: Experiment, federation: Federation, model: nn.Module, neighbours: Neighbours, size: int) -> Game:
    """The game for an experiment that hides examples: one client alone, half of whose samples are canaries, or 500 of them.

    Half of the canaries are in, and blank samples fill up to about `size`. Canaries differ in where their value is or, there
    being more of them than places, in their label.
    """
    shape, classes = federation.input_shape, federation.num_classes
    features = torch.Size(shape).numel()
    m = min(MOST_CANARIES, 2 * size, features * classes)
    is_in, number = coins(experiment, m), torch.arange(m)
    images = torch.zeros(m + classes, features)
    images[number, number % features] = _BRIGHTNESS
    # The same place comes again with the next label. Blank samples have all of them, or they would move the biases.
    labels = torch.cat([(number + number // features) % classes, torch.arange(classes)])
    blanks = size - m // 2
    if neighbours == "replace-one":
        blanks += int((~is_in).sum())
    mine = torch.cat([number[is_in], m + torch.arange(blanks) % classes])
    samples = Samples(images.view(-1, *shape), labels, classes)
    game = Simulation(experiment, replace(federation, train=samples, clients=(mine,)), model)
    device = game.device
    return _CanaryExamples(game, is_in, samples.images[:m].to(device), labels[:m].to(device))
