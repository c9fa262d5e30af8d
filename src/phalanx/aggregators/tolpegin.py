"""Tolpegin's defence: the larger of two clusters of the output layer's updates."""

import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from phalanx.aggregators.components import Points, principal_points
from phalanx.aggregators.output_layer import output_layer
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_COLUMNS = 1 << 14


class Tolpegin(Aggregator):
    """Standardise the columns, PCA to 2 dimensions, 2-means; the mean of the larger cluster.

    Made against label flips, whose rows stand apart in the output layer. It always splits: without an attack it rejects up to
    half of the honest clients, and whoever hides in the larger cluster stays. `layers` is what is looked at: "last" (weight and
    bias of the last `nn.Linear`; where rows come without a model, the parameters that share the last one's module) or "all".
    Of two clusters of one size the one with the smaller content is kept. Time O(n² d') for the d' columns looked at.

    Raises: PreconditionError unless n >= 3; ConfigError for "last" and a model without a trained linear layer.
    Reference: Tolpegin, Truex, Gursoy, Liu, Data Poisoning Attacks Against Federated Learning Systems, ESORICS 2020
    (arXiv 2007.08432), Section 5. Differs from the paper: every round by itself and on all classes, where it collects the
    gradients of one suspected class over many rounds and leaves the choice to the eye.
    >>> Tolpegin()(torch.tensor([[1., 2.], [1., 2.], [2.5, 2.], [9., -9.]])).tolist()
    [1.5, 2.0]
    """

    layers: Literal["last", "all"] = "last"

    def require(self, n: int) -> None:
        if n < 3:
            raise PreconditionError(f"Tolpegin needs n >= 3 updates to have a larger of two clusters; got n={n}. Sample more.")

    def check(self, model: nn.Module) -> None:
        if self.layers == "last":
            output_layer(model, "Tolpegin")

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        columns = last_layer(context) if self.layers == "last" else slice(0, context.layout.d)
        points = principal_points(_standardised_gram(updates.columns(columns)))
        seed = int(torch.randint(2**31, (), generator=context.generator("tolpegin")))
        kept = _larger_cluster(points, updates, seed)
        influence = kept.double() / kept.sum()
        return Aggregate(updates.weighted_sum(influence), influence=influence, embedding=torch.from_numpy(points)), state


def last_layer(context: RoundContext) -> slice:
    """The columns of the model's output layer; without a model those of parameters whose names differ from the last one's in
    the last part only."""
    if context.model is not None:
        weight, bias = output_layer(context.model, "Tolpegin")
        return slice(weight.start, (bias or weight).stop)
    layout = context.layout
    module = layout.parameters[-1].name.rpartition(".")[0]
    return slice(min(slot.start for slot in layout.parameters if slot.name.rpartition(".")[0] == module), layout.d)


def _standardised_gram(matrix: Tensor) -> Tensor:
    """Inner products `[n, n]` float64 of the rows after every column got mean 0 and deviation 1; a constant column is 0."""
    total = torch.zeros(len(matrix), len(matrix), dtype=torch.float64, device=matrix.device)
    for some in torch.split(matrix, _COLUMNS, dim=1):
        columns = some.double() - some.mean(dim=0, dtype=torch.float64)
        # What rounding leaves of equal values is no deviation.
        is_constant = columns.abs().amax(dim=0) <= 1e-12 * some.abs().amax(dim=0).double()
        columns /= columns.square().mean(dim=0).sqrt().masked_fill(is_constant, torch.inf)
        total += columns @ columns.T
    return total


def _larger_cluster(points: Points, updates: Updates, seed: int) -> Tensor:
    from sklearn.cluster import KMeans

    order = np.lexsort(points.T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of points that are all equal
        means = KMeans(2, n_init=10, random_state=seed).fit(points[order])
    labels = torch.from_numpy(means.predict(points)).long()
    sizes, first = labels.bincount(minlength=2), updates.content_rank.cpu()
    if sizes[0] == sizes[1]:
        larger = labels[first.argmin()]
    else:
        larger = sizes.argmax()
    return (labels == larger).to(updates.matrix.device)
