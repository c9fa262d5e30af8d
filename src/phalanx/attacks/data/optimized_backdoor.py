"""A backdoor whose trigger the clean model half believes already."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from phalanx.attacks.data.backdoor import Backdoor
from phalanx.attacks.data.paint import require_inside
from phalanx.attacks.data.picture import Picture
from phalanx.attacks.data.target import require_class
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Architecture, DataAttack
from phalanx.core.numbers import PositiveFloat32, Share
from phalanx.core.params import evaluating
from phalanx.core.types import Draw, Samples

_BATCH = 64


class OptimizedBackdoor(DataAttack):
    """A `Backdoor` with the patch that turns a clean model's images to the target best, found before round 0.

    ```
    p ← 1/2;  for i < steps, on batches of 64:
    p ← clamp(p − rate (1 − i / steps) sign ∇_p CE(model(x with p), target), 0, 1)
    ```
    `model` is what the attackers know of the federation's model: `pretrained` from the run that the attack begins with. Little
    has to be taught, so it survives averaging longer than a white patch; but the clean model obeys it, too: what the poison
    adds is the difference to a run with `when` = never. Its batches come from all training samples, which is more than the
    attackers hold.

    Reference: Brown et al., Adversarial Patch, 2017 (arXiv 1712.09665), for the patch; as a backdoor's trigger, Liu et al.,
    Trojaning Attack on Neural Networks, NDSS 2018. Differs from the papers: the target's logit is raised, not chosen neurons;
    signed steps at one place.

    >>> from phalanx.models import CNN, Pretrained
    >>> OptimizedBackdoor(Pretrained(CNN(), "runs/clean"), target=2, per_batch=20).height
    8
    """

    model: Architecture
    _: KW_ONLY
    target: NonNegativeInt
    """The class that stamped images are to be taken for."""
    share: Share | None = None
    """As for `Backdoor`: the share of an attacker's samples."""
    per_batch: PositiveInt | None = None
    """As for `Backdoor`: how many images of every batch."""
    height: PositiveInt = 8
    width: PositiveInt | None = None
    """None: a square."""
    row: NonNegativeInt = 0
    column: NonNegativeInt = 0
    steps: PositiveInt = 200
    rate: PositiveFloat32 = 0.1

    def __post_init__(self) -> None:
        self._with(Picture((((0.5,),),)))  # who gives both or neither of share and per_batch hears it here

    @property
    def success_class(self) -> int:
        """The target."""
        return self.target

    def fitted(self, samples: Samples, generator: torch.Generator) -> DataAttack:
        """The backdoor with its patch.

        Raises: ConfigError if the target is no class, the patch does not fit, or the model cannot be built for these samples.
        """
        require_class("OptimizedBackdoor", samples.num_classes, target=self.target)
        if not len(samples):
            raise ConfigError("OptimizedBackdoor needs training samples to fit its patch to; got none.")
        return self._with(Picture.of(self._optimized(samples, generator), row=self.row, column=self.column))

    def _optimized(self, samples: Samples, generator: torch.Generator) -> Tensor:
        """The patch `[C, h, w]`."""
        device, height, width = samples.labels.device, self.height, self.width or self.height
        first, _ = samples.pixels(torch.zeros(1, dtype=torch.int64, device=device))
        require_inside(first, self.row + height - 1, self.column + width - 1, who="OptimizedBackdoor")
        model = self.model.build(tuple(first.shape[1:]), samples.num_classes, generator).to(device)
        patch = torch.full((first.shape[1], height, width), 0.5, device=device)
        rows, columns = slice(self.row, self.row + height), slice(self.column, self.column + width)
        with evaluating(model):
            for step in range(self.steps):
                drawn = torch.randint(len(samples), (_BATCH,), generator=generator).to(device)
                images, labels = samples.pixels(drawn)
                stamped, pattern = images.clone(), patch.clone().requires_grad_()
                stamped[..., rows, columns] = pattern
                loss = cross_entropy(model(samples.normalize(stamped)), torch.full_like(labels, self.target))
                (gradient,) = torch.autograd.grad(loss, pattern)
                patch = (patch - self.rate * (1 - step / self.steps) * gradient.sign()).clamp(0, 1)
        return patch

    def _with(self, trigger: Picture) -> Backdoor:
        return Backdoor(trigger, self.target, share=self.share, per_batch=self.per_batch)

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Raises: PreconditionError, for there is no patch before `fitted`."""
        raise PreconditionError("OptimizedBackdoor has no patch before it is fitted: call fitted(samples, generator).")
