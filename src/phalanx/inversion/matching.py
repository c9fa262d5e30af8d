"""`GradientMatching`: what every search shares that looks for images whose gradient is the one that was seen."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, replace
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import InversionAttack
from phalanx.core.leak import Leak, Reconstruction, Watch
from phalanx.inversion.descent import Descent
from phalanx.inversion.guesses import Guesses

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Prior = Callable[[Tensor], Tensor]
_PROGRESS = 0.999


class GradientMatching(InversionAttack, ABC):
    """Begin `restarts` times with noise, descend on the distance between gradients, keep the best point of each and the best
    of them all by the attack's own loss. `together` restarts, of one leak or of several, are one batch: on `sigmoid_cnn` 7
    times as fast, on `cnn` and `resnet20` 1.8 times, on `convnet8` no faster (`python benchmarks/inversion.py`).
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
        """`[R]`, of gradients `[R, d]` against those seen `[R, d]`, and of the images `[R, B, C, H, W]` themselves."""

    @abstractmethod
    def descent(self, leak: Leak, size: int) -> Descent:
        """How points `[R, P]` move; the first `size` numbers of each are images as the model sees them."""

    def prior(self, model: nn.Module) -> Prior | None:
        """What else is held against images `[R, B, C, H, W]` as the model is shown them, `[R]`, or None.

        Raises: ConfigError if the model has not what it takes.
        """
        return None

    def check(self, leak: Leak, model: nn.Module) -> None:
        # A step of two restarts shows what nothing else does: whether the gradient can be differentiated, and batched.
        replace(self, steps=1, restarts=min(self.restarts, 2)).reconstruct(leak, model, torch.Generator())

    def reconstruct(self, leak: Leak, model: nn.Module, generator: torch.Generator) -> Reconstruction:
        return self.reconstruct_all((leak,), model, generator)[0]

    def reconstruct_all(
        self, leaks: Sequence[Leak], model: nn.Module, generator: torch.Generator, *, watch: Watch | None = None
    ) -> list[Reconstruction]:
        if not leaks:
            return []
        guesses = Guesses(leaks, model, searches_labels=self.searches_labels)
        prior = self.prior(model)
        starts = guesses.starts(self.restarts, generator)
        owners = torch.arange(len(leaks), device=starts.device).repeat_interleave(self.restarts)

        def evaluate(points: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                points = points.detach().requires_grad_()
                shown = guesses.shown(points)
                losses = self.loss(*guesses.gradients(points, shown, owners), guesses.images(points))
                losses = losses if prior is None else losses + prior(shown)
                return losses.detach(), torch.autograd.grad(losses.sum(), points)[0]

        passes = -(-len(starts) // self.together) * (self.steps + 1)
        tried = _tried(evaluate, f"{self.kind} differentiates the gradient of {type(model).__name__}")
        told = tried if watch is None else _told(tried, watch, passes)
        blocks = [
            self._search(told, *block, self.descent(leaks[0], guesses.size))
            for block in zip(torch.split(starts, self.together), torch.split(owners, self.together))
        ]
        points, losses = (torch.cat(parts) for parts in zip(*blocks))
        points, losses = points.view(len(leaks), self.restarts, -1), losses.view(len(leaks), -1)
        return [
            guesses.reconstruction(points[owner, losses[owner].argmin()], losses[owner], owner) for owner in range(len(leaks))
        ]

    def _search(self, evaluate: Evaluate, points: Tensor, owners: Tensor, descent: Descent) -> tuple[Tensor, Tensor]:
        """The best point of each restart with its loss. One that diverged keeps what it had before."""
        best, lowest = points, torch.full_like(points[:, 0], torch.inf)
        milestone, waited = lowest, 0
        for step in range(self.steps + 1):
            losses, gradients = evaluate(points, owners)
            is_better = losses < lowest  # NaN is not
            best, lowest = torch.where(is_better[:, None], points, best), torch.where(is_better, losses, lowest)
            has_fallen = lowest < milestone * _PROGRESS
            milestone = torch.where(has_fallen, lowest, milestone)
            waited = 0 if has_fallen.any() else waited + 1
            if step == self.steps or not losses.isfinite().any() or (self.patience is not None and waited >= self.patience):
                break
            points = descent.step(points, gradients)
        return best, lowest


def _tried(evaluate: Evaluate, what: str) -> Evaluate:
    """The same, saying in a sentence what torch cannot do: second derivatives of some layers, batches of some models."""

    def try_to_evaluate(points: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return evaluate(points, owners)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"{what}, which torch cannot: {reason}") from error

    return try_to_evaluate


def _told(evaluate: Evaluate, watch: Watch, most: int) -> Evaluate:
    """The same, telling `watch` of each pass."""
    made, lowest = 0, torch.inf

    def evaluate_and_tell(points: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal made, lowest
        losses, gradients = evaluate(points, owners)
        made, lowest = made + 1, min(lowest, float(losses.nan_to_num(nan=torch.inf).min()))
        watch(made, most, lowest)
        return losses, gradients

    return evaluate_and_tell
