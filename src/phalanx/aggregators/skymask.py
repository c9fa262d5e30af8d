"""SkyMask: candidate models compete for every parameter on the server's own data; attackers' masks look alike."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from math import log
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from phalanx.aggregators.components import Points, principal_points
from phalanx.aggregators.mask_clusters import Split, mask_gram, split
from phalanx.aggregators.mask_training import Candidates, MaskStep, TrainedMasks, quantile_of, train_masks
from phalanx.aggregators.root_loss import root_loss
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.numbers import Share
from phalanx.core.types import Aggregate, RoundContext, State, Updates

MaskSteps = Annotated[int, Field(ge=1, le=1000)]
Silhouette = Annotated[float, Field(ge=-1, le=1)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
SKYMASK_NEEDS = frozenset({Capability.INDIVIDUAL_UPDATES, Capability.ROOT_DATA, Capability.MODEL})


class SkyMask(Aggregator, kind="skymask"):
    """Mean of the clients whose trained masks lie in the cluster of the server's own; of all, if there is one cluster only.

    ```
    W~ = Σ sigmoid(m_i) W_i / Σ sigmoid(m_i), elementwise, i = the clients and the server's model trained on its root data
    m_i −= clip(g_i / q, ±1), g_i = d cross_entropy(W~, root) / d m_i, q the quantile of all |g| at the first step
    points = PCA(sigmoid(m_i) > threshold), to 2 dimensions, divided by their rms;  mixture of two Gaussians
    two clusters where BIC(1) > BIC(2), mean silhouette > min_silhouette, in the server's cluster > min_server_silhouette
    ```
    Needs no number of attackers, and may stand a majority of them: the root set names the honest cluster. It sees attackers who
    are alike and unlike the rest (Min-Max, Fang's attacks, scaled label flips); it is blind to those who clamp themselves to
    the honest spread (LieBackdoor), and to an honest update that is boosted, which only makes the merged model more certain.
    One row of ten to a hundred times the others' length hides the other attackers, because the merged model and q follow it:
    put ClipToMedianNorm in front, in a pipeline. It fails where honest updates are mostly noise (a sign flip in late rounds),
    and where the model is at chance (label flips in a CNN's first rounds). A low `min_silhouette` costs honest clients, a high
    one finds fewer attackers; the default was chosen on HAR and Fashion-MNIST. Where the server's own mask stands alone, or
    in a cluster that is none, a split says nothing of the clients: then they are all kept, even if all are malicious; without
    that, biased clients were rejected by the dozen where nobody attacked. Between two tight clusters the server's mask counts
    as one of the nearer. Honest clients who really are of two kinds are told apart, and one kind is lost. The model is kept
    beside an update that is so long that the merged model has no finite loss (`screening.norm_cap`). Scores: the share of the
    parameters in which a client's binary mask differs from the server's. Memory: the masks, as much as the updates, and a
    backward pass over all root data at once. Time: `steps` such passes, and O(n d) for each.

    Raises: PreconditionError if the server's own update is not finite, or its samples are of one class; CapabilityError without
    root data or model.
    Reference: Yan et al., SkyMask: Attack-agnostic Robust Federated Learning with Fine-grained Learnable Masks, ECCV 2024
    (arXiv 2312.12484).
    Differs from the paper: its steps (a learning rate of 1e7 on gradients clamped to 1e-7, see OfficialSkyMask) saturate and
    keep only signs; with them, and with two clusters always, a fifth to a half of the honest clients are rejected where nobody
    attacks. It has no condition on the server's cluster (below 0.25 there is no structure to a cluster: Kaufman and Rousseeuw,
    Finding Groups in Data, 1990).
    >>> sorted(need.name for need in SkyMask().needs)
    ['INDIVIDUAL_UPDATES', 'MODEL', 'ROOT_DATA']
    """

    steps: MaskSteps = 20
    _: KW_ONLY
    quantile: Share = 0.99
    """The share of first gradients that are not clipped."""
    threshold: Threshold = 0.5
    """What sigmoid(mask) must exceed for a 1 in the binary mask."""
    min_silhouette: Silhouette = 0.57
    """Up to it there is one cluster: everyone is kept."""
    min_server_silhouette: Silhouette = 0.25
    """Up to it the server's own mask is among no clients: everyone is kept. −1: as in the paper, they may all be rejected."""

    needs: ClassVar[frozenset[Capability]] = SKYMASK_NEEDS

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        trained = trained_masks(updates, context, steps=self.steps, choose_step=quantile_step(self.quantile))
        if not trained.is_finite:
            return untrained(updates, trained), state
        gram = mask_gram(trained.masks, logit(self.threshold))
        points = principal_points(gram)
        found = two_clusters(points, context)
        benign = same_as_server(found, has_two=is_split(found, self.min_silhouette, self.min_server_silhouette))
        return verdict(updates, trained, gram, points, found, benign), state


def quantile_step(quantile: float) -> Callable[[Callable[[], Tensor]], MaskStep]:
    """The step that moves a mask by its gradient over this quantile of the first gradients' sizes, and by 1 at most."""

    def step(sizes: Callable[[], Tensor]) -> MaskStep:
        found = sizes()
        unit = quantile_of(found, quantile) or float(found.max())  # few parameters may have a gradient at all
        return MaskStep(1 / unit, unit) if unit else MaskStep(0, 0)

    return step


def trained_masks(
    updates: Updates,
    context: RoundContext,
    *,
    steps: int,
    choose_step: Callable[[Callable[[], Tensor]], MaskStep],
    stops: Callable[[list[float]], bool] = lambda losses: False,
) -> TrainedMasks:
    """Masks of the clients' and the server's own models, trained on the root data.

    Raises: PreconditionError if the server's own update is not finite.
    """
    assert context.root is not None  # what `needs` promises
    root = context.root.finite_update("SkyMask")
    with root_loss(context) as loss:
        candidates = Candidates(updates.matrix, root.to(updates.matrix))
        return train_masks(candidates, loss, steps=steps, choose_step=choose_step, stops=stops)


def untrained(updates: Updates, trained: TrainedMasks) -> Aggregate:
    """The model is kept where the merged one has no finite loss: nobody is known to be honest."""
    metrics = {"mask_steps": float(trained.steps), "root_loss": trained.losses[-1]}
    return Aggregate(None, influence=torch.zeros(len(updates), dtype=torch.float64), metrics=metrics)


def two_clusters(points: Points, context: RoundContext) -> Split:
    """What SkyMask's mixture makes of the points; whether there really are two clusters says `is_split`."""
    return split(points, mixture_seed(context), regularisation=1e-2, starts=3)


def is_split(found: Split, min_silhouette: float, min_server_silhouette: float) -> bool:
    """Whether there are two clusters, and that of the server's own mask, the last, is one."""
    has_two = found.delta_bic > 0 and found.silhouette > min_silhouette
    return has_two and found.silhouette_beside(-1) > min_server_silhouette


def same_as_server(found: Split, *, has_two: bool) -> Tensor:
    """The clients `[n]` in the cluster of the server's own mask; all of them if there is one cluster."""
    labels = found.labels
    return labels[:-1] == labels[-1] if has_two else torch.ones_like(labels[:-1])


def verdict(
    updates: Updates,
    trained: TrainedMasks,
    gram: Tensor,
    points: Points,
    found: Split,
    benign: Tensor,
    metrics: Mapping[str, float] | None = None,
) -> Aggregate:
    """The mean over the benign `[n]`, and what a round tells of it."""
    ones = gram.diagonal()
    scores = (ones[:-1] + ones[-1] - 2 * gram[:-1, -1]) / trained.masks.shape[1]
    influence = benign.to(gram.device).double() / max(int(benign.sum()), 1)
    told = {
        "clusters": 1.0 if benign.all() else 2.0,
        "silhouette": found.silhouette,
        "server_silhouette": found.silhouette_beside(-1),
        "delta_bic": found.delta_bic,
        "mask_steps": float(trained.steps),
        "root_loss": trained.losses[-1],
    }
    update = updates.weighted_sum(influence) if benign.any() else None
    embedding = torch.from_numpy(points[:-1] - points[-1])
    return Aggregate(update, influence=influence, scores=scores, embedding=embedding, metrics={**told, **(metrics or {})})


def mixture_seed(context: RoundContext) -> int:
    """The seed of a mixture's starts, from the round's own randomness."""
    return int(torch.randint(2**31, (), generator=context.generator("skymask mixture")))


def logit(share: float) -> float:
    """The mask whose sigmoid is `share`."""
    return log(share / (1 - share))
