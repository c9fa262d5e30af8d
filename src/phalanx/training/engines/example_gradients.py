"""Gradients of single examples, only as far as clipping needs them: their norms, and sums of them with weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.core import params as flat
from phalanx.training.example_clipping import ExampleClipping


class ExampleGradients(Protocol):
    """The gradients of B examples with respect to one parameter."""

    def squares(self) -> Tensor:
        """Their squared norms `[B]`."""

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Their sum with weights `[B]`, in the parameter's shape."""

    def among(self, chosen: Tensor) -> Self:
        """Those of some examples, for a mask `[B]`."""

    def written_out(self) -> "Stored":
        """The same with all their numbers."""


Source = Callable[[Tensor, Tensor], list[ExampleGradients]]
"""Gives the examples' gradients for images `[B, ...]` and labels `[B]`, one entry a parameter."""


@dataclass(frozen=True)
class Stored:
    """Every number of every example's gradient, `[B, m]`; `shape` gives `[m]` the parameter's shape."""

    gradients: Tensor
    shape: Callable[[Tensor], Tensor]

    def squares(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.gradients, dim=1)
        return norms.square_()

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self.shape(weights @ self.gradients)

    def among(self, chosen: Tensor) -> "Stored":
        return Stored(self.gradients[chosen], self.shape)

    def written_out(self) -> "Stored":
        return self


@dataclass(frozen=True)
class Outer:
    """Of a linear layer: the outer products of what came back `[B, o]` and what went in `[B, i]`, never multiplied out."""

    back: Tensor
    inputs: Tensor

    def squares(self) -> Tensor:
        return self.back.square().sum(dim=1) * self.inputs.square().sum(dim=1)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return (self.back * weights.unsqueeze(1)).T @ self.inputs

    def among(self, chosen: Tensor) -> "Outer":
        return Outer(self.back[chosen], self.inputs[chosen])

    def written_out(self) -> Stored:
        shape = self.back.shape[1], self.inputs.shape[1]
        return Stored((self.back.unsqueeze(2) * self.inputs.unsqueeze(1)).flatten(1), lambda flat: flat.view(shape))


def stored(gradients: Tensor) -> Stored:
    """Gradients that have the parameter's shape already, `[B, ...]`."""
    return Stored(gradients.flatten(1), lambda flat: flat.view(gradients.shape[1:]))


def clipped_sum(gradients: Sequence[ExampleGradients], clipping: ExampleClipping) -> list[Tensor]:
    """The sum of the clipped gradients, one tensor a parameter.

    An example whose gradient is not finite, or too long to be squared, counts as zero: it would take all others with it, and
    everybody would see that it was there.
    """
    squares = torch.stack([each.squares() for each in gradients], dim=1)
    is_finite = squares.isfinite().all(dim=1)
    if not is_finite.all():
        gradients, squares = [each.among(is_finite) for each in gradients], squares[is_finite]
    factors = clipping.factors(squares)
    return [each.weighted_sum(factors[:, j]) for j, each in enumerate(gradients)]


@contextmanager
def by_vmap(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[Source]:
    """Gradients of any module whose operations torch can map over examples; all of them are written out."""
    names = list(flat.trainable(model))

    def loss(values: list[Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, dict(zip(names, values)), (image.unsqueeze(0),))
        return cross_entropy(logits, label.unsqueeze(0))

    map_examples = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0), randomness="different")

    def gradients(images: Tensor, labels: Tensor) -> list[ExampleGradients]:
        return [stored(each) for each in map_examples([one.detach() for one in parameters], images, labels)]

    yield gradients
