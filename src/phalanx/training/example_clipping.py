"""How DPSGD bounds what one example can add to a sum of gradients."""

import math
from abc import ABC, abstractmethod

from torch import Tensor

from phalanx.core.component import Component
from phalanx.core.numbers import PositiveFloat32


class ExampleClipping(Component, ABC, family="example_clipping"):
    """A factor for each example's gradient, so that the sum changes by at most `sensitivity` when one example comes or goes."""

    @property
    @abstractmethod
    def sensitivity(self) -> float:
        """The largest Euclidean norm that a clipped gradient has; the noise is measured in it."""

    @abstractmethod
    def factors(self, squares: Tensor) -> Tensor:
        """What each tensor of each gradient is multiplied with, `[..., p]`, from their finite squared norms `[..., p]`."""


class FlatClipping(ExampleClipping, kind="flat"):
    """`g <- g · min(1, C / |g|)`, with the norm over all tensors: what is meant where nothing is said.

    Take the median norm of a few examples' gradients for C: a larger one only adds noise, a smaller one bends the direction.

    Reference: Abadi et al., Deep Learning with Differential Privacy, CCS 2016 (arXiv 1607.00133), Algorithm 1.

    >>> import torch
    >>> FlatClipping(1.0).factors(torch.tensor([[9.0, 16.0], [0.0, 0.25]]))
    tensor([[0.2000, 0.2000],
            [1.0000, 1.0000]])
    """

    max_norm: PositiveFloat32 = 1.0

    @property
    def sensitivity(self) -> float:
        return self.max_norm

    def factors(self, squares: Tensor) -> Tensor:
        return (self.max_norm / _norms(squares)).clamp(max=1).expand_as(squares)


class PerLayerClipping(ExampleClipping, kind="per_layer"):
    """`g_j <- g_j · min(1, C / (√p |g_j|))` for each of the p tensors: all of them together still have norm C at most.

    Weights and biases count as tensors of their own. A layer whose gradient is small keeps it whole, one whose gradient is
    large cannot crowd the others out; but each gets C / √p even where it needs less, so with few examples flat is better.

    Reference: McMahan et al., Learning Differentially Private Recurrent Language Models, ICLR 2018 (arXiv 1710.06963).

    >>> import torch
    >>> PerLayerClipping(1.0).factors(torch.tensor([[4.0, 0.25]]))
    tensor([[0.3536, 1.0000]])
    """

    max_norm: PositiveFloat32 = 1.0

    @property
    def sensitivity(self) -> float:
        return self.max_norm

    def factors(self, squares: Tensor) -> Tensor:
        return (self.max_norm / math.sqrt(squares.shape[-1]) / squares.sqrt()).clamp(max=1)


class AutomaticClipping(ExampleClipping, kind="automatic"):
    """`g <- g / (|g| + γ)`: every example counts alike, and there is no C to tune, for lr takes its place.

    An example that the model has learnt still pulls with nearly full weight, so the last steps are noisier than with a bound;
    γ softens that for gradients that are shorter than it.

    Reference: Bu et al., Automatic Clipping: Differentially Private Deep Learning Made Easier and Stronger, NeurIPS 2023
    (arXiv 2206.07136), AUTO-S.

    >>> import torch
    >>> AutomaticClipping(gamma=1.0).factors(torch.tensor([[9.0, 16.0], [0.0, 1.0]]))
    tensor([[0.1667, 0.1667],
            [0.5000, 0.5000]])
    """

    gamma: PositiveFloat32 = 0.01

    @property
    def sensitivity(self) -> float:
        return 1.0

    def factors(self, squares: Tensor) -> Tensor:
        return (1 / (_norms(squares) + self.gamma)).expand_as(squares)


def _norms(squares: Tensor) -> Tensor:
    return squares.sum(dim=-1, keepdim=True).sqrt()
