"""RememberingSkyMask: SkyMask on the distances of masks over rounds, where noise averages out and attackers do not."""

from dataclasses import KW_ONLY
from typing import ClassVar

import torch
from torch import Tensor

from phalanx.aggregators.components import principal_points
from phalanx.aggregators.mask_clusters import mask_gram
from phalanx.aggregators.skymask import (
    SKYMASK_NEEDS,
    MaskSteps,
    Silhouette,
    Threshold,
    is_split,
    logit,
    quantile_step,
    same_as_server,
    trained_masks,
    two_clusters,
    untrained,
    verdict,
)
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.numbers import Share
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_SERVER = -1


class RememberingSkyMask(Aggregator, kind="remembering_skymask"):
    """SkyMask on the distances of masks over all rounds: who is unlike the server again and again is rejected.

    ```
    D_ij = the parameters in which the binary masks of i and j differ, over the mean of that in this round
    D̄_ij = Σ_k memory^k D_ij[k] / Σ_k memory^k, over the rounds in which both were there, k of them ago
    points = PCA from D̄ (classical scaling); two clusters as in SkyMask, if the server's own silhouette is above 0, too
    ```
    In one round an honest update is mostly noise, and so is its mask: a real group of attackers is too loose for two clusters
    (A Little Is Enough, sign flips, Fang's attack on Krum), and chance makes groups of honest clients. Over rounds chance
    averages out. Who attacks only now and then is averaged out, too: a round by itself still rejects, where its two clusters
    are as far apart as those of blunt attacks (`min_silhouette_alone`). Honest clients who differ for good (another language,
    another device) are a group that stays, and is lost if it is tight. A client that comes for the first time is judged by one
    round. `memory` is how much a round counts when the two meet again: 0.98 forgets in some fifty rounds. State: two numbers
    for each pair of clients ever seen, so not for millions of them. Everything else as in SkyMask.

    Raises: PreconditionError if the server's own update is not finite, or its samples are of one class; CapabilityError without
    root data, model or clients that are known again.
    Reference: Yan et al., SkyMask: Attack-agnostic Robust Federated Learning with Fine-grained Learnable Masks, ECCV 2024
    (arXiv 2312.12484). Differs from the paper: all that SkyMask differs in, and the memory, which is ours.
    >>> RememberingSkyMask().memory
    0.98
    """

    steps: MaskSteps = 20
    _: KW_ONLY
    memory: Share = 0.98
    """What a round counts when the same two clients meet again. 1: all rounds alike."""
    quantile: Share = 0.99
    """The share of first gradients that are not clipped."""
    threshold: Threshold = 0.5
    """What sigmoid(mask) must exceed for a 1 in the binary mask."""
    min_silhouette: Silhouette = 0.57
    """Over all rounds: up to it there is one cluster."""
    min_silhouette_alone: Silhouette = 0.67
    """In a round by itself: up to it there is one cluster. 1: no round counts by itself."""
    min_server_silhouette: Silhouette = 0.25
    """Up to it the server's own mask is among no clients, and there is one cluster."""

    needs: ClassVar[frozenset[Capability]] = SKYMASK_NEEDS | {Capability.STABLE_IDS}

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        step = quantile_step(self.quantile)
        trained = trained_masks(updates, context, steps=self.steps, choose_step=step)
        if not trained.is_finite:
            return untrained(updates, trained), state
        gram = mask_gram(trained.masks, logit(self.threshold))
        distances, state = self._remember(updates.ids, _distances(gram), state)
        points = principal_points(distances / -2)
        found, alone = (two_clusters(some, context) for some in (points, principal_points(gram)))
        has_two = is_split(found, self.min_silhouette, self.min_server_silhouette) and float(found.silhouettes[-1]) > 0
        benign = same_as_server(found, has_two=has_two)
        benign &= same_as_server(alone, has_two=is_split(alone, self.min_silhouette_alone, self.min_server_silhouette))
        metrics = {"silhouette_alone": alone.silhouette}
        return verdict(updates, trained, gram, points, found, benign, metrics), state

    def _remember(self, ids: Tensor, distances: Tensor, state: State) -> tuple[Tensor, State]:
        """The mean distances `[n + 1, n + 1]` of those who are here, the server last, and the state with this round."""
        present = torch.cat([ids.cpu(), torch.tensor([_SERVER])])
        known = state.get("ids", present[:0])
        everyone = torch.unique(torch.cat([known, present]))
        sums, weights = (torch.zeros(len(everyone), len(everyone), dtype=torch.float64) for _ in range(2))
        if len(known):
            before = _pairs(everyone, known)
            sums[before], weights[before] = state["sums"], state["weights"]
        here = _pairs(everyone, present)
        sums[here] = sums[here] * self.memory + distances
        weights[here] = weights[here] * self.memory + 1
        return sums[here] / weights[here], {"ids": everyone, "sums": sums, "weights": weights}


def _distances(gram: Tensor) -> Tensor:
    """In how many entries each two binary rows with this Gram matrix `[m, m]` differ, over the mean of all; on the CPU."""
    ones = gram.diagonal().cpu()
    differing = ones + ones[:, None] - 2 * gram.cpu()
    pairs = len(gram) * (len(gram) - 1)
    return differing * pairs / differing.sum().clamp(min=1)


def _pairs(everyone: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
    """The places of all pairs of `some` in a matrix over the sorted `everyone`."""
    places = torch.searchsorted(everyone, some)
    return places[:, None], places
