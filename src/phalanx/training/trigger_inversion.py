"""Trigger inversion: the smallest mark that turns a model to a class, found by descent; for hardening and for audits alike."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.core import rng
from phalanx.core.component import Component
from phalanx.core.errors import PreconditionError
from phalanx.core.numbers import Momentum, NonNegativeFloat32, Share
from phalanx.core.params import evaluating
from phalanx.training.adam import AdaptiveMoments
from phalanx.training.image_gradients import image_gradients
from phalanx.training.local import Count, LearningRate
from phalanx.training.search_schedule import CostSchedule, Progress

Pair: TypeAlias = tuple[int | None, int]
"""From which class to which; None: from all others, by a universal trigger."""

_GUARD = 2 - 1e-6
"""Times m − 1/2, so that atanh stays finite where m is 0 or 1."""


@dataclass(frozen=True)
class Triggers:
    """What was found for each of T pairs; where nothing was, the mask is 0 and stamping changes nothing.

    `masks` `[T, 1, H, W]`, `patterns` `[T, C, H, W]`, all in [0, 1]; `found` `[T]`; `success` `[T]`: the share of images that
    the trigger turns, or the highest that was seen where none was found (NaN without images).
    """

    pairs: tuple[Pair, ...]
    masks: Tensor
    patterns: Tensor
    found: Tensor
    success: Tensor

    @property
    def sizes(self) -> Tensor:
        """The masks' L1 norms `[T]`, NaN where no trigger was found."""
        return self.masks.sum(dim=(1, 2, 3)).masked_fill(~self.found, torch.nan)

    def stamp(self, images: Tensor, place: int = 0) -> Tensor:
        """Copies of images `[B, C, H, W]` with the trigger of `pairs[place]` on them."""
        return torch.lerp(images, self.patterns[place], self.masks[place]).clamp_(0, 1)


class TriggerInversion(Component):
    """Adam on `CE(model((1 − m) x + m p), target) + cost · ‖m‖₁` over a mask m `[1, H, W]` and a pattern p `[C, H, W]`.

    m = tanh(t) / 2 + 1/2, p likewise. After `patience` steps in a row with at least `threshold` success the cost rises by 1.5,
    after as many without it falls by 1.5^1.5. The smallest m that reached the threshold is kept, and the search goes on from
    it, moved by at most `jitter` in each pixel. A model with a backdoor gives it away by a universal trigger to its target that
    is much smaller than those to other classes (`phalanx.metrics.anomaly_index`). Marks that no mask of few pixels can imitate
    (warps, sinusoids) are not found so.

    All pairs are searched in the same passes, each with a random stream of its own: what is found for one does not depend on
    the others, up to the rounding of larger batches. `steps` forward and backward passes of Σ images, fewer with `stall`:
    benchmarks/flip.py says how many, and what they cost in size.

    Reference: Wang et al., Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks, IEEE S&P 2019;
    schedule and restarts as in Zhang et al., FLIP, ICLR 2023 (arXiv 2210.12873), official code.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> TriggerInversion(5).invert(model, torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64), 0, 1).masks.shape
    torch.Size([1, 1, 2, 2])
    """

    steps: Count = 400
    _: KW_ONLY
    lr: LearningRate = 0.1
    betas: tuple[Momentum, Momentum] = (0.5, 0.9)
    cost: NonNegativeFloat32 = 1e-3
    """Of a pixel of the mask, at first."""
    patience: PositiveInt = 10
    threshold: Share = 0.9
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.01
    loss: Literal["mean", "sum"] = "mean"
    """Of the cross-entropy over a pair's images; with the sum (official code, pairs) size counts less the more there are."""
    stall: PositiveInt | None = None
    """End a search whose trigger has not shrunk by a hundredth in so many steps; None: it makes all steps."""

    def invert(self, model: nn.Module, images: Tensor, labels: Tensor, source: int | None, target: int) -> Triggers:
        """`invert_all` for one pair."""
        return self.invert_all(model, images, labels, [(source, target)])

    def invert_all(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        pairs: Sequence[Pair],
        *,
        start: Triggers | None = None,
        normalize: Callable[[Tensor], Tensor] = lambda images: images,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Triggers:
        """A trigger for each pair, from the images of its source class (None: of all but the target).

        The model is used in eval mode and left as it was. A pair without images has no trigger; without any the model is not
        asked, not even for its classes.

        Args:
            images: `[B, C, H, W]` float in [0, 1], with their true `labels` `[B]`.
            start: triggers of these images' size to start from, as many as there are pairs; where none was found the start is
                random.
            normalize: what happens to stamped images before the model sees them.
            generators: one for each pair; by default the same every time.

        Raises: PreconditionError for images of another shape or range, a pair that the model has no classes for, starts of
            another size, or more or fewer generators or starts than pairs.
        """
        _check(images, labels, pairs, start, generators)
        members = [labels.ne(target) if source is None else labels.eq(source) for source, target in pairs]
        counts = torch.stack([mask.sum() for mask in members]) if pairs else labels.new_zeros(0)
        task = torch.repeat_interleave(torch.arange(len(pairs), device=labels.device), counts)
        streams = generators or [rng.generator(0, f"invert {source} to {target}") for source, target in pairs]
        search = _Search(self, pairs, images, streams, start)
        if len(task):
            chosen = torch.cat([images[mask] for mask in members])
            self._descend(search, _Model(model, normalize), chosen, task, counts)
        masks, patterns = _halves(search.best)
        return Triggers(tuple(pairs), masks, patterns, search.found, search.success)

    def _descend(self, search: "_Search", model: "_Model", images: Tensor, task: Tensor, counts: Tensor) -> None:
        highest = max(label for pair in search.pairs for label in pair if label is not None)
        targets = torch.tensor([target for _, target in search.pairs], device=images.device).index_select(0, task)
        scale = torch.ones_like(task) if self.loss == "sum" else counts.index_select(0, task)
        optimizer = AdaptiveMoments(self.lr, self.betas, eps=1e-8, weight_decay=0)
        with evaluating(model.module), image_gradients(model.module), torch.enable_grad():
            for _ in range(self.steps):
                marks = search.marks()
                sizes = marks[:, 0].sum(dim=(1, 2))
                mask, pattern = _halves(marks.index_select(0, task))
                logits = model(torch.lerp(images, pattern, mask))
                if highest >= logits.shape[1]:
                    raise PreconditionError(f"The model has {logits.shape[1]} classes, counted from 0; got class {highest}.")
                losses = cross_entropy(logits, targets, reduction="none") / scale
                total = losses.sum() + (search.costs.values * sizes).sum()
                gradients = torch.autograd.grad(total, search.variables)
                with torch.no_grad():
                    hits = (logits.argmax(1) == targets) & logits.isfinite().all(1)
                    success = torch.bincount(task, hits.to(images.dtype), minlength=len(counts)) / counts
                    optimizer.step(search.variables, gradients)
                    search.judge(marks.detach(), sizes.detach(), success)
                if search.progress.has_news:
                    goes_on = ~search.progress.ended.index_select(0, task)
                    images, task, targets, scale = images[goes_on], task[goes_on], targets[goes_on], scale[goes_on]
                    if not len(task):
                        return


class _Search:
    """Where T searches stand, and the best that each has seen."""

    def __init__(
        self,
        inversion: TriggerInversion,
        pairs: Sequence[Pair],
        images: Tensor,
        generators: Sequence[torch.Generator],
        start: Triggers | None,
    ) -> None:
        self.pairs, self._inversion, self._generators, count = pairs, inversion, generators, len(pairs)
        channels, *size = images.shape[1:]
        first = torch.zeros(count, 1 + channels, *size)  # the mask in front, the pattern's channels behind it
        for place, generator in enumerate(generators):
            first[place].uniform_(0, 1, generator=generator)
        first = first.to(images)
        if start is not None:
            known = start.found.to(first.device)
            first[known] = torch.cat([start.masks, start.patterns], dim=1).to(first)[known]
        self._point = _preimage(first).requires_grad_()
        self.costs = CostSchedule(inversion.cost, inversion.patience, count, first.device)
        self.progress = Progress(inversion.stall, count, first.device)
        self.best, self.best_sizes = torch.zeros_like(first), first.new_full((count,), torch.inf)
        self._success, self._highest = first.new_full((2, count), torch.nan)

    @property
    def found(self) -> Tensor:
        """Which searches have seen a trigger `[T]`."""
        return self.best_sizes.isfinite()

    @property
    def success(self) -> Tensor:
        """Of the best; the highest seen where there is none `[T]`."""
        return torch.where(self.found, self._success, self._highest)

    @property
    def variables(self) -> list[Tensor]:
        """What Adam moves."""
        return [self._point]

    def marks(self) -> Tensor:
        """Masks in front, the patterns' channels behind them `[T, 1 + C, H, W]`."""
        return torch.tanh(self._point) / 2 + 0.5

    def judge(self, marks: Tensor, sizes: Tensor, success: Tensor) -> None:
        """Keep what is smaller than the best and reaches the threshold, go on beside it, and set the costs."""
        is_success = success >= self._inversion.threshold
        is_better = is_success & (sizes < self.best_sizes)
        self._highest = self._highest.fmax(success)
        if is_better.any():
            self.best[is_better], self._success[is_better] = marks[is_better], success[is_better]
            self.best_sizes = torch.where(is_better, sizes, self.best_sizes)
            for place in is_better.nonzero().flatten().tolist():
                self._restart(place)
        self.costs.update(is_success)
        self.progress.update(self.best_sizes)

    def _restart(self, place: int) -> None:
        jitter, best = self._inversion.jitter, self.best[place]
        noise = torch.empty(best.shape).uniform_(-jitter, jitter, generator=self._generators[place])
        self._point[place] = _preimage((best + noise.to(best)).clamp_(0, 1))


class _Model:
    """The frozen model behind the normalisation, in the memory format that it is fast in."""

    def __init__(self, model: nn.Module, normalize: Callable[[Tensor], Tensor]) -> None:
        self.module, self._normalize = model, normalize
        self._is_channels_last = any(parameter.dim() == 4 for parameter in model.parameters())

    def __call__(self, images: Tensor) -> Tensor:
        images = self._normalize(images)
        logits: Tensor = self.module(images.to(memory_format=torch.channels_last) if self._is_channels_last else images)
        return logits


def _halves(marks: Tensor) -> tuple[Tensor, Tensor]:
    """Masks and patterns."""
    masks, patterns = torch.split_with_sizes(marks, [1, marks.shape[1] - 1], dim=1)
    return masks, patterns


def _preimage(image: Tensor) -> Tensor:
    return torch.atanh((image - 0.5) * _GUARD)


def _check(
    images: Tensor,
    labels: Tensor,
    pairs: Sequence[Pair],
    start: Triggers | None,
    generators: Sequence[torch.Generator] | None,
) -> None:
    if images.dim() != 4 or not images.dtype.is_floating_point or labels.shape != images.shape[:1]:
        raise PreconditionError(
            "TriggerInversion needs floating-point images [B, C, H, W] with labels [B]; "
            f"got {images.dtype} of shape {list(images.shape)} with labels {list(labels.shape)}."
        )
    if len(images) and not (images.min() >= 0 and images.max() <= 1):  # NaN fails, too
        low, high = float(images.min()), float(images.max())
        raise PreconditionError(
            f"TriggerInversion needs pixels in [0, 1]; got {low:.3g} to {high:.3g}. Give `normalize` what standardises them."
        )
    for source, target in pairs:
        if target < 0 or source == target or (source is not None and source < 0):
            raise PreconditionError(f"TriggerInversion leads from a class (None: all) to another; got {source} to {target}.")
    masks = None if start is None else start.masks
    for what, given in (("generators", generators), ("triggers to start from", masks)):
        if given is not None and len(given) != len(pairs):
            raise PreconditionError(f"TriggerInversion needs as many {what} as pairs, {len(pairs)}; got {len(given)}.")
    if start is not None and pairs and start.patterns.shape[1:] != images.shape[1:]:
        sizes = f"{list(images.shape[1:])}; got {list(start.patterns.shape[1:])}"
        raise PreconditionError(f"TriggerInversion needs triggers to start from of the images' size, {sizes}.")
