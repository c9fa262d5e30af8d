"""`GradientMatching`: what every search shares that looks for images whose gradient is the one that was seen."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from phalanx.core.families import InversionAttack
from phalanx.core.leak import Leak, Reconstruction
from phalanx.inversion.client import Client
from phalanx.inversion.descent import Descent
from phalanx.inversion.labels import infer_labels

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
_PROGRESS = 0.999


class GradientMatching(InversionAttack, ABC):
    """Begin `restarts` times with noise, descend on the distance between gradients, keep the best point of each and the best
    of them all by the attack's own loss. `together` restarts are one batch: on `sigmoid_cnn` 7 times as fast, on `cnn` and
    `resnet20` 1.8 times, on `convnet8` no faster (`python benchmarks/inversion.py`).
    """

    _: KW_ONLY
    steps: Annotated[PositiveInt, Field(le=10**6)]
    restarts: Annotated[PositiveInt, Field(le=10**4)] = 1
    together: Annotated[PositiveInt, Field(le=10**4)] = 16
    """Restarts in one batch; their memory adds up. 1 for models that are large for themselves."""
    patience: PositiveInt | None = None
    """End after so many steps in which no restart's loss has fallen by a thousandth; None: make all steps."""

    @property
    def searches_labels(self) -> bool:
        """Whether unknown labels are searched with the images; otherwise they are read off the last layer."""
        return False

    @abstractmethod
    def loss(self, found: Tensor, seen: Tensor, images: Tensor) -> Tensor:
        """`[R]`, of gradients `[R, d]` against the one seen `[d]`, and of the images `[R, B, C, H, W]` themselves."""

    @abstractmethod
    def descent(self, leak: Leak, size: int) -> Descent:
        """How points `[R, P]` move; the first `size` numbers of each are images as the model sees them."""

    def reconstruct(self, leak: Leak, model: nn.Module, generator: torch.Generator) -> Reconstruction:
        client = Client(model, leak)
        seen = leak.gradient if leak.known is None else leak.gradient * leak.known
        labels = leak.labels
        if labels is None and not self.searches_labels:
            labels = infer_labels(leak, model)
        count, size = leak.shape[0], leak.gradient.new_zeros(leak.shape).numel()
        width = size + (count * client.num_classes if labels is None else 0)
        starts = torch.randn(self.restarts, width, generator=generator).to(leak.gradient)
        targets = None if labels is None else client.one_hot(labels.to(leak.gradient.device))

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                points = points.detach().requires_grad_()
                images = points[:, :size].view(-1, *leak.shape)
                wanted = points[:, size:].view(-1, count, client.num_classes).softmax(2) if targets is None else targets
                found = client(images, wanted.expand(len(points), -1, -1))
                losses = self.loss(found, seen, images)
                return losses.detach(), torch.autograd.grad(losses.sum(), points)[0]

        blocks = [self._search(evaluate, block, self.descent(leak, size)) for block in torch.split(starts, self.together)]
        points, losses = torch.cat([block[0] for block in blocks]), torch.cat([block[1] for block in blocks])
        best = points[losses.argmin()]
        if labels is None:
            labels = best[size:].view(count, -1).argmax(1)
        return Reconstruction(leak.pixels(best[:size].view(leak.shape)), labels, losses)

    def _search(self, evaluate: Evaluate, points: Tensor, descent: Descent) -> tuple[Tensor, Tensor]:
        """The best point of each restart with its loss. One that diverged keeps what it had before."""
        best, lowest = points, torch.full_like(points[:, 0], torch.inf)
        milestone, waited = lowest, 0
        for step in range(self.steps + 1):
            losses, gradients = evaluate(points)
            is_better = losses < lowest  # NaN is not
            best, lowest = torch.where(is_better[:, None], points, best), torch.where(is_better, losses, lowest)
            has_fallen = lowest < milestone * _PROGRESS
            milestone = torch.where(has_fallen, lowest, milestone)
            waited = 0 if has_fallen.any() else waited + 1
            if step == self.steps or not losses.isfinite().any() or (self.patience is not None and waited >= self.patience):
                break
            points = descent.step(points, gradients)
        return best, lowest
