"""OfficialSkyMask: SkyMask with the raw steps and the unconditional split of its authors' implementation."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import ClassVar

from torch import Tensor

from phalanx.aggregators.components import principal_points
from phalanx.aggregators.mask_clusters import mask_gram, split
from phalanx.aggregators.mask_training import MaskStep
from phalanx.aggregators.skymask import (
    SKYMASK_NEEDS,
    MaskSteps,
    Threshold,
    logit,
    mixture_seed,
    same_as_server,
    trained_masks,
    untrained,
    verdict,
)
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_PATIENCE, _LEAST_FALL = 10, 0.01


class OfficialSkyMask(Aggregator, kind="official_skymask"):
    """SkyMask as published: `m −= lr · clamp(gradient, ±clamp)`, always two clusters, the server's own one is benign.

    To compare with papers; use SkyMask otherwise. The rate fits one model, one number of clients and one loss (1e7 for the CNN
    and logistic regression, 1e8 for ResNet-20): at its defaults nearly every step is ±1. Two clusters are found where there is
    one: 21 to 58 % of the honest clients are rejected without an attack. Training stops after 10 steps if the loss has fallen
    by less than 0.01. Time and memory are SkyMask's.

    Raises: PreconditionError if the server's own update is not finite, or its samples are of one class; CapabilityError without
    root data or model.
    Reference: Yan et al., SkyMask: Attack-agnostic Robust Federated Learning with Fine-grained Learnable Masks, ECCV 2024
    (arXiv 2312.12484).
    Differs from the authors' code: its candidates all get the head of the parameter vector, its softmax runs over the batch,
    its BatchNorm has mean 0 and variance 1, its mixture is not seeded; these faults are not repeated. It stops a step later.
    >>> OfficialSkyMask().lr
    10000000.0
    """

    lr: PositiveFloat32 = 1e7
    _: KW_ONLY
    clamp: PositiveFloat32 = 1e-7
    steps: MaskSteps = 20
    threshold: Threshold = 0.5

    needs: ClassVar[frozenset[Capability]] = SKYMASK_NEEDS

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        trained = trained_masks(updates, context, steps=self.steps, choose_step=self._step, stops=_has_stalled)
        if not trained.is_finite:
            return untrained(updates, trained), state
        gram = mask_gram(trained.masks, logit(self.threshold))
        points = principal_points(gram)
        found = split(points, mixture_seed(context), regularisation=1e-6, starts=1)
        benign = same_as_server(found, has_two=bool(found.labels.any()))
        return verdict(updates, trained, gram, points, found, benign), state

    def _step(self, sizes: Callable[[], Tensor]) -> MaskStep:
        return MaskStep(self.lr, self.clamp)


def _has_stalled(losses: list[float]) -> bool:
    return len(losses) == _PATIENCE + 1 and losses[0] - losses[-1] < _LEAST_FALL
