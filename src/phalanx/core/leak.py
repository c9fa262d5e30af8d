"""What an attacker on privacy has seen of a client, and what it makes of it."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol, Self

import torch
from torch import Tensor

from phalanx.core.errors import PreconditionError


@dataclass(frozen=True)
class LocalSteps:
    """How the client trained: `epochs` passes of plain SGD over its samples in their order, in batches of `batch_size` (None:
    all of them are one batch). The default is one step: what is seen is a gradient.
    """

    lr: float = 1.0
    batch_size: int | None = None
    epochs: int = 1

    def __post_init__(self) -> None:
        if not self.lr > 0 or self.epochs < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise PreconditionError(f"Local steps need lr > 0, batch_size >= 1 and epochs >= 1; got {self}.")


Watch = Callable[[int, int, float], None]
"""Told after each step of a search: how many steps are made, of how many at most, and the smallest loss of them all."""


class View(Protocol):
    """What a client may have done to each of its images before it trained on them, as far as an attacker knows: a family of
    maps of pixels, of which numbers `[P]` choose one. An attack searches them together with the images.
    """

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Numbers `[count, P]` to begin with."""

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """What becomes of pixels `[N, C, H, W]`, each with its own numbers `[N, P]`; with graph."""


@dataclass(frozen=True)
class Leak:
    """One client's `gradient` `[d]`, or the sum of its steps' gradients, with what the attacker knows besides.

    `shape` is `(B, C, H, W)`: how many images to look for, and their size. `labels` `[B]` are None where they are unknown.
    `mean` and `std`, shaped to broadcast against one image, are what the client standardises pixels in [0, 1] with. Where
    `known` `[d]` is False, the gradient's value says nothing; None: all values are what the client computed. `view` is what
    may have become of the images before the client trained on them; None: nothing.

    Raises: PreconditionError.
    """

    gradient: Tensor
    shape: tuple[int, int, int, int]
    labels: Tensor | None = None
    _: KW_ONLY
    mean: Tensor | None = None
    std: Tensor | None = None
    local: LocalSteps = LocalSteps()
    known: Tensor | None = None
    view: View | None = None

    @classmethod
    def of_update(
        cls,
        update: Tensor,
        shape: tuple[int, int, int, int],
        labels: Tensor | None = None,
        *,
        local: LocalSteps,
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ) -> Self:
        """What a server sees in a row of the update matrix, w_client − w_global, of a client that trained so."""
        return cls(update.detach().neg() / local.lr, shape, labels, mean=mean, std=std, local=local)

    def __post_init__(self) -> None:
        gradient, labels = self.gradient, self.labels
        if gradient.dim() != 1 or not gradient.dtype.is_floating_point or not gradient.isfinite().all():
            raise PreconditionError(
                f"A leak holds one finite floating-point gradient [d]; got {gradient.dtype} of shape {list(gradient.shape)}."
            )
        if len(self.shape) != 4 or min(self.shape) < 1:
            raise PreconditionError(f"A leak's shape is (B, C, H, W), each at least 1; got {self.shape}.")
        if labels is not None and (labels.shape != (self.shape[0],) or labels.dtype != torch.int64):
            raise PreconditionError(
                f"Labels are int64 [{self.shape[0]}], one an image; got {labels.dtype} of shape {list(labels.shape)}. "
                "Leave them out where they are unknown."
            )
        if self.known is not None and (self.known.shape != gradient.shape or self.known.dtype != torch.bool):
            raise PreconditionError(
                f"known is a mask of the gradient's {len(gradient)} values; "
                f"got {self.known.dtype} of shape {list(self.known.shape)}."
            )
        if (self.mean is None) != (self.std is None):
            raise PreconditionError("A leak has both mean and std, or neither; got one of them.")
        if self.mean is not None and self.std is not None:
            _check_standardisation(self.mean, self.std, self.shape[1:])

    @property
    def standardisation(self) -> tuple[tuple[float, ...], ...]:
        """Mean and standard deviation as numbers: equal for leaks of clients that standardise alike."""
        return tuple(tuple(tensor.flatten().tolist()) for tensor in (self.mean, self.std) if tensor is not None)

    def standardise(self, pixels: Tensor) -> Tensor:
        """What the model sees of pixels `[..., C, H, W]` in [0, 1]."""
        return pixels if self.mean is None or self.std is None else (pixels - self.mean) / self.std

    def raw(self, images: Tensor) -> Tensor:
        """The pixels of what the model sees, even those outside of [0, 1]."""
        return images if self.mean is None or self.std is None else images * self.std + self.mean

    def pixels(self, images: Tensor) -> Tensor:
        """The pixels of what the model sees; what lies outside of [0, 1] is cut off."""
        return self.raw(images).clamp(0, 1)


@dataclass(frozen=True)
class Reconstruction:
    """What an attacker found: `images` `[B, C, H, W]`, pixels in [0, 1], with the `labels` `[B]` it took them for.

    `losses` `[restarts]` are what each beginning reached of the attack's own loss, on which alone the choice among them rests.
    `transformed` `[B, C, H, W]`: what the client made of `images` before it trained, by the account of an attacker who looks
    for that, too; None: it takes them for the same. It is to be compared with what the client really trained on.
    """

    images: Tensor
    labels: Tensor
    losses: Tensor
    transformed: Tensor | None = field(default=None, kw_only=True)


def _check_standardisation(mean: Tensor, std: Tensor, image: tuple[int, ...]) -> None:
    for moment in (mean, std):
        if moment.dim() > 3 or any(mine not in (1, side) for mine, side in zip(moment.shape[::-1], image[::-1])):
            raise PreconditionError(
                f"mean and std are shaped to broadcast against one image {list(image)}; got {list(moment.shape)}."
            )
    if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
        raise PreconditionError("mean and std must be finite, and std above 0.")
