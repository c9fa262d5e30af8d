"""What FLIP and its universal-only control share: universal triggers, and batches with triggers on them."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.numbers import Share
from phalanx.core.types import RoundContext, Samples, State
from phalanx.training.hardening import Batches, Hardening
from phalanx.training.trigger_inversion import TriggerInversion, Triggers

_BATCHES = "batches"


class TriggerHardening(Hardening, ABC):
    """Hardening with stamped images that keep their true labels."""

    _: KW_ONLY
    universal: TriggerInversion = TriggerInversion(400)
    """The search for universal triggers, one to each class."""
    portion: Share = 0.5
    """The share of a batch's eligible images that are stamped, rounded down."""
    present_above: NonNegativeInt = 1
    """A class counts as present where there are more images of it than this."""
    images_per_class: PositiveInt = 1
    """Universal triggers are searched on so many images of each class that the client holds; 5 for CIFAR-10 in FLIP's code."""

    def check(self, model: nn.Module, samples: Samples) -> None:
        """The samples must be images of two classes or more, with pixels in [0, 1]. Raises: ConfigError."""
        super().check(model, samples)
        images = samples.images
        are_fractions = images.dtype == torch.uint8 or not len(images)  # bytes become fractions when they are read
        low, high = (0.0, 1.0) if are_fractions else map(float, images.aminmax())
        if images.dim() != 4 or not (low >= 0 and high <= 1):  # NaN fails, too
            got = f"shape {list(images.shape[1:])}, {low:.3g} to {high:.3g}"
            raise ConfigError(f"{type(self).__name__} needs images [C, H, W] with pixels in [0, 1]; got {got}.")
        if samples.num_classes < 2:
            raise ConfigError(f"{type(self).__name__} looks for marks that lead from one class to another; got a single class.")

    def tells(self, state: State, ids: Sequence[int], context: RoundContext) -> Mapping[str, float]:
        """`stamped`: the share of the batches that a trigger was stamped on."""
        counts = [state[name].tolist() for client in ids if (name := f"{client}.{_BATCHES}") in state]
        stamped, all_batches = (sum(part) for part in zip(*counts)) if counts else (0, 0)
        return {"stamped": stamped / all_batches} if all_batches else {}

    def invert_universal(self, batches: Batches, targets: Sequence[int], start: Triggers | None = None) -> Triggers:
        """A trigger from all classes that the client holds to each target, for the model as it is now."""
        client = batches.client
        labels = client.samples.labels[client.index]
        chosen = few_of_each(labels, self.present_above, self.images_per_class, batches.generator("universal images"))
        images, labels = client.samples.pixels(client.index[chosen])
        return self.universal.invert_all(
            batches.model,
            images,
            labels,
            [(None, target) for target in targets],
            start=start,
            normalize=client.samples.normalize,
            generators=[batches.generator(f"universal trigger to {target}") for target in targets],
        )

    def with_universal(
        self, images: Tensor, labels: Tensor, triggers: Triggers, target: int, generator: torch.Generator
    ) -> Tensor | None:
        """The batch with `portion` of its images of other classes stamped; None where that is no image, or no trigger."""
        place = triggers.pairs.index((None, target))
        chosen = some(labels != target, self.portion, generator)
        if not (triggers.found[place] and len(chosen)):
            return None
        return stamped(images, triggers, place, chosen)


def counted(were_stamped: Sequence[bool]) -> State:
    """What a client remembers for `tells`: how many batches of its last round were stamped, and how many there were."""
    return {_BATCHES: torch.tensor([sum(were_stamped), len(were_stamped)])}


def few_of_each(labels: Tensor, above: int, count: int, generator: torch.Generator) -> Tensor:
    """Where `count` random samples lie of each class with more than `above` of them (all, where there are fewer)."""
    shuffled = torch.randperm(len(labels), generator=generator).to(labels.device)
    present = (torch.bincount(labels) > above).nonzero().flatten().tolist()
    of_each = [shuffled[labels[shuffled] == label][:count] for label in present]
    return torch.cat([*of_each, shuffled[:0]])


def some(mask: Tensor, portion: float, generator: torch.Generator) -> Tensor:
    """Where a random `portion` of the true entries of `[B]` lie, rounded down."""
    places = mask.nonzero().flatten()
    order = torch.randperm(len(places), generator=generator)[: int(len(places) * portion)]
    return places[order.to(places.device)]


def stamped(images: Tensor, triggers: Triggers, place: int, chosen: Tensor) -> Tensor:
    """A copy of the images with a trigger on the chosen ones."""
    return images.index_copy(0, chosen, triggers.stamp(images[chosen], place))
