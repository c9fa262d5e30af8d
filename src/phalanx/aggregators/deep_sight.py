"""DeepSight: clusters clients by what their training did to the output layer, and drops clusters that learnt few classes."""

from dataclasses import KW_ONLY
from math import prod
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from phalanx.aggregators.output_layer import output_layer
from phalanx.core import linalg
from phalanx.core import params as flat
from phalanx.core.capabilities import Capability
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.numbers import Share
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_BATCH_VALUES = 1 << 20
"""Noise inputs are drawn and run in batches of about so many numbers: 4 MB, and activations of as much a layer."""
_LARGEST_LOG_RATIO = 80.0
"""Where float32's exponential is still finite: what a model without an output, or with an infinite one, counts as."""
_TOGETHER = 1e-9
"""Rows closer than this share of a usual distance are equal: HDBSCAN divides by distances."""


class DeepSight(Aggregator):
    """Mean, clipped to the median norm, of the clusters in which few clients trained on few classes.

    ```
    e_ic     = |Δb_ic| + Σ_j |ΔW_icj|;  NEUP_i = e_i² / Σ_c e_ic²                    # of the output layer, a number a class
    TE_i     = #{c: NEUP_ic > max(0.01, 1/C) max_c NEUP_ic};  suspicious_i = TE_i <= median(TE) / 2
    DDif_i   = mean over noise inputs x of p_i(x) / p_global(x)                      # a number a class, once for each seed
    clusters = HDBSCAN of the mean of three: together by NEUP? by DDif (mean over seeds)? by the cosine of Δb?
    ```
    A cluster is kept if less than `max_suspicious` of it is suspicious; a client in no cluster is one of its own. Made against
    backdoors: poisoned data is homogeneous, and its updates move few output neurons. It sees no attack that trains like the
    honest (a distributed trigger over all classes), no untargeted one, and takes honest clients with few classes for
    suspicious unless they are clustered with others. The output layer is the last `nn.Linear`; without a bias the cosine is
    that of its weights. Nothing kept: the model stays.

    Each round runs (n + 1) · num_seeds · num_inputs inputs through the model: with the paper's 20,000 that is seconds for
    softmax regression, minutes for a small CNN and n = 30. A few hundred inputs are an option.

    Raises: PreconditionError unless n >= min_cluster_size; ConfigError for a model without a trained linear layer.
    Reference: Rieger, Nguyen, Miettinen, Sadeghi, DeepSight: Mitigating Backdoor Attacks in Federated Learning Through Deep
    Model Inspection, NDSS 2022 (arXiv 2201.00763), Algorithms 1 and 2.
    Differs from the paper: it does not say how large a cluster is; a row that leaves the output layer alone has equal NEUPs.

    >>> DeepSight(num_inputs=100).needs == {Capability.INDIVIDUAL_UPDATES, Capability.MODEL}
    True
    """

    _: KW_ONLY
    num_inputs: PositiveInt = 20_000
    """Uniform noise inputs in [0, 1] for each DDif."""
    num_seeds: PositiveInt = 3
    """How many DDifs, each from noise of its own."""
    min_cluster_size: Annotated[int, Field(ge=2)] = 3
    """HDBSCAN's, and its number of neighbours, the row itself included."""
    max_suspicious: Share = 1 / 3

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INDIVIDUAL_UPDATES, Capability.MODEL})

    def require(self, n: int) -> None:
        if n < self.min_cluster_size:
            raise PreconditionError(
                f"DeepSight needs n >= min_cluster_size updates; got n={n}, min_cluster_size={self.min_cluster_size}. "
                "Sample more clients or lower min_cluster_size."
            )

    def check(self, model: nn.Module) -> None:
        output_layer(model, "DeepSight")

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        model = context.model
        if model is None or context.input_shape is None:
            raise ConfigError("DeepSight runs noise through the model; the round's context has no model or no input_shape.")
        weight, bias = output_layer(model, "DeepSight")
        shares = normalised_energies(weight.view(updates.matrix), None if bias is None else bias.view(updates.matrix))
        exceedings = threshold_exceedings(shares)
        suspicious = exceedings <= exceedings.quantile(0.5) / 2
        # Ties in HDBSCAN go by place: rows come in the order of their content, so that it does not matter.
        order = updates.content_rank.argsort(stable=True)
        angles = linalg.cosine_distances((weight if bias is None else bias).view(updates.matrix).flatten(1))
        divisions = [
            self._apart(_euclidean(self._division_differences(model, updates, context, seed)), order)
            for seed in range(self.num_seeds)
        ]
        apart = (self._apart(_euclidean(shares), order) + self._apart(angles, order) + torch.stack(divisions).mean(dim=0)) / 3
        clusters = self._clusters(apart, order)
        together = (clusters[:, None] == clusters).double()
        accepted = together @ suspicious.double() / together.sum(dim=1) < self.max_suspicious
        clip_norm = updates.norms.quantile(0.5)
        metrics = {
            "accepted": float(accepted.sum()),
            "suspicious": float(suspicious.sum()),
            "clusters": float(len(torch.unique(clusters))),
            "clip_norm": float(clip_norm),
        }
        if not accepted.any():
            return Aggregate(None, influence=accepted.double(), metrics=metrics), state
        influence = accepted * linalg.clip_factors(updates.norms, clip_norm) / accepted.sum()
        return Aggregate(updates.weighted_sum(influence), influence=influence, metrics=metrics), state

    def _apart(self, distances: Tensor, order: Tensor) -> Tensor:
        """1 where two rows are in different clusters, or one of them in none, else 0: `[n, n]`."""
        clusters = self._clusters(distances, order)
        return (clusters[:, None] != clusters).double()

    def _clusters(self, distances: Tensor, order: Tensor) -> Tensor:
        """The cluster `[n]` of each row by these distances `[n, n]`; rows that HDBSCAN calls noise are clusters of one."""
        from sklearn.cluster import HDBSCAN

        n, positive = len(distances), distances[distances > 0]
        if not len(positive):
            return torch.zeros_like(order)
        # Medians of medians are a distance among the majority; the largest distance would be one attacker's choice.
        usual = distances.median(dim=1).values.median()
        shortest = _TOGETHER * float(usual if usual > 0 else positive.min())
        ordered = distances.clamp(min=shortest)[order][:, order].fill_diagonal_(0)
        clustering = HDBSCAN(min_cluster_size=self.min_cluster_size, metric="precomputed", copy=True)
        found = torch.from_numpy(clustering.fit_predict(ordered.cpu().numpy())).long().to(order.device)
        labels = torch.empty_like(order)
        labels[order] = torch.where(found < 0, n + torch.arange(n, device=order.device), found)
        return labels

    @torch.no_grad()
    def _division_differences(self, model: nn.Module, updates: Updates, context: RoundContext, seed: int) -> Tensor:
        """The mean ratio `[n, C]` of a client's to the global output probabilities, float64.

        Client by client: torch.func.vmap took 4.5 times as long on models with convolutions, and does not take every module.
        """
        assert context.input_shape is not None
        shape, generator = context.input_shape, context.generator(f"deepsight noise {seed}")
        device, buffers = context.global_params.device, _buffers(updates, context)
        size = max(1, min(_BATCH_VALUES // max(1, prod(shape)), self.num_inputs))
        total: Tensor | float = 0.0
        with flat.evaluating(model):
            for start in range(0, self.num_inputs, size):
                noise = torch.rand(min(size, self.num_inputs - start), *shape, generator=generator).to(device)
                flat.load(model, context.global_params, context.global_buffers)
                expected = model(noise).log_softmax(dim=1)
                ratios = []
                for row, values in zip(updates.matrix, buffers):
                    flat.load(model, context.global_params + row, values)
                    ratio = (model(noise).log_softmax(dim=1) - expected).nan_to_num(nan=_LARGEST_LOG_RATIO)
                    ratios.append(ratio.clamp_(max=_LARGEST_LOG_RATIO).exp_().double().sum(dim=0))
                total = total + torch.stack(ratios)
        assert isinstance(total, Tensor)
        return total / self.num_inputs


def normalised_energies(weights: Tensor, biases: Tensor | None) -> Tensor:
    """NEUP `[n, C]` float64 of changes `[n, C, F]` and `[n, C]` of the output layer; equal where nothing changed.

    >>> normalised_energies(torch.tensor([[[1., -2.], [0., 1.]]]), torch.zeros(1, 2))
    tensor([[0.9000, 0.1000]], dtype=torch.float64)
    """
    energies = weights.abs().sum(dim=2, dtype=torch.float64)
    if biases is not None:
        energies += biases.abs()
    largest = energies.amax(dim=1, keepdim=True)
    # Squares of the share of the largest stay in range whatever the rows' size is.
    squares = torch.where(largest > 0, energies / largest, 1.0).square()
    return squares / squares.sum(dim=1, keepdim=True)


def threshold_exceedings(shares: Tensor) -> Tensor:
    """How many NEUPs `[n, C]` of each row exceed max(1 %, 1/C) of its largest: `[n]` float64."""
    threshold = max(0.01, 1 / shares.shape[1]) * shares.amax(dim=1, keepdim=True)
    return (shares > threshold).sum(dim=1).clamp(min=1).double()  # the only class does not exceed itself


def _euclidean(points: Tensor) -> Tensor:
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def _buffers(updates: Updates, context: RoundContext) -> Tensor:
    """Each client's own buffers `[n, b]`; the global ones where no buffers came with the rows."""
    b = context.layout.b
    return updates.buffers if updates.buffers.shape[1] == b else context.global_buffers.expand(len(updates), b)
