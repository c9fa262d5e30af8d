"""PolicyAware: an inversion attack that knows ATS's policies, and undoes them."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, replace
from itertools import product
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from phalanx.core.errors import PreconditionError
from phalanx.core.leak import Leak, Reconstruction, Watch
from phalanx.core.numbers import NonNegativeFloat32
from phalanx.core.pixels import require_pixels
from phalanx.data.augmentations import TRANSFORMATIONS
from phalanx.data.augmentations.ats import Policy
from phalanx.inversion.adaptive import AdaptiveAttack
from phalanx.inversion.descent import Adam
from phalanx.inversion.inverting_gradients import total_variation
from phalanx.inversion.smooth_transformations import has_sign, smooth

_FITS = 1e-3


class PolicyAware(AdaptiveAttack):
    """`attack` finds what the client trained on, T(x); then each image is traced back through every policy and sign of `ats`.

    ```
    x_c = argmin over x in [0, 1]:  mean |T_c(x) − found|² + tv · mean |neighbouring pixels' differences|,  for every T_c
    of those whose first term is at most 2 · smallest + 0.001: the x_c that varies most
    ```
    The attacker who knows the client's settings, as a server does that wrote them. What a gradient says of T(x), it says of x,
    except for what T destroys: pixels moved out of the picture, a histogram that was equalised. Signs of brightness, contrast …
    leave no trace of their own: a map that squeezes is the likelier one to have made an image that fits into what it can make.
    Works around every attack, `linear_recovery` too, and for batches, image by image. It adds `undo_steps` passes of a few
    image operations for each policy and combination of signs; the model is not asked again.

    >>> from phalanx.inversion import DLG
    >>> PolicyAware(DLG(restarts=4), ((3, 1, 7), (43, 18, 18))).policies[0]
    (3, 1, 7)
    """

    policies: Annotated[tuple[Policy, ...], Field(min_length=1)]
    _: KW_ONLY
    tv: NonNegativeFloat32 = 1e-3
    undo_steps: Annotated[PositiveInt, Field(le=10**5)] = 150

    def taken(self, leak: Leak) -> Leak:
        return leak

    def check(self, leak: Leak, model: nn.Module) -> None:
        _require_pictures(leak.shape)
        super().check(leak, model)

    def reconstruct_all(
        self, leaks: Sequence[Leak], model: nn.Module, generator: torch.Generator, *, watch: Watch | None = None
    ) -> list[Reconstruction]:
        found = super().reconstruct_all(leaks, model, generator, watch=watch)
        return [
            replace(one, images=self.undo(one.images), transformed=one.images if one.transformed is None else one.transformed)
            for one in found
        ]

    def undo(self, transformed: Tensor) -> Tensor:
        """What images `[B, C, H, W]` in [0, 1] were before one of the policies, each by itself.

        Raises: PreconditionError if they are no images, or neither grey nor in colour.
        """
        require_pixels(transformed)
        _require_pictures(transformed.shape)
        traced = [self._trace(policy, transformed) for policy in self.policies]
        origins, misfits = (torch.cat(parts, dim=1) for parts in zip(*traced))
        variation = total_variation(origins.flatten(0, 1)[:, None]).view(misfits.shape)
        fits = misfits <= 2 * misfits.amin(1, keepdim=True) + _FITS
        best = torch.where(fits, variation, -1).argmax(1)
        return origins[torch.arange(len(origins)), best]

    def _trace(self, policy: Policy, transformed: Tensor) -> tuple[Tensor, Tensor]:
        """For each image the origins `[B, n, C, H, W]` under the policy's n combinations of signs, and misfits `[B, n]`."""
        steps = [TRANSFORMATIONS[index] for index in policy]
        signs = torch.tensor(list(product(*[(1, -1) if has_sign(step) else (1,) for step in steps])), device=transformed.device)
        wanted, signs = transformed.repeat_interleave(len(signs), 0), signs.repeat(len(transformed), 1)
        box = (torch.zeros_like(wanted[0]).flatten(), torch.ones_like(wanted[0]).flatten())
        descent = Adam(0.05, self.undo_steps, decay=True, box=box)

        def misfit(images: Tensor) -> Tensor:
            for place, step in enumerate(steps):
                images = smooth(step, images, signs[:, place])
            return (images - wanted).square().flatten(1).mean(1)

        points = wanted.flatten(1)
        for _ in range(self.undo_steps):
            images = points.view(wanted.shape).detach().requires_grad_()
            with torch.enable_grad():
                loss = misfit(images) + self.tv * total_variation(images[:, None])
                gradients = torch.autograd.grad(loss.sum(), images)[0]
            points = descent.step(points, gradients.flatten(1))
        origins, count = points.view(wanted.shape), len(transformed)
        return origins.view(count, -1, *transformed.shape[1:]), misfit(origins).view(count, -1)


def _require_pictures(shape: Sequence[int]) -> None:
    if shape[1] not in (1, 3):
        raise PreconditionError(
            "PolicyAware undoes transformations of images [B, C, H, W], grey or in colour (C = 1 or 3); "
            f"got {list(shape)}. Take the attack inside it alone."
        )
