"""`Guesses`: what points of a search say about images, labels and what was done to them, and the gradients of that."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from phalanx.core.errors import PreconditionError
from phalanx.core.leak import Leak, Reconstruction
from phalanx.inversion.client import Client
from phalanx.inversion.labels import infer_labels


class Guesses:
    """Points `[r, P]` about several leaks of one model; `owners` `[r]` says which leak each point is about.

    A point holds the images as the model sees them, logits of their labels if those are searched, and the view's numbers.

    Raises: PreconditionError if the leaks are not of one kind; what `Client` raises.
    """

    def __init__(self, leaks: Sequence[Leak], model: nn.Module, *, searches_labels: bool) -> None:
        _require_one_kind(leaks)
        self._leaks, first = leaks, leaks[0]
        self._client = Client(model, first)
        for leak in leaks[1:]:
            Client(model, leak)  # checks that they fit each other
        self._seen = torch.stack([leak.gradient if leak.known is None else leak.gradient * leak.known for leak in leaks])
        self._known = None if first.known is None else torch.stack([leak.known for leak in leaks if leak.known is not None])
        self._labels = [leak.labels for leak in leaks]
        if first.labels is None and not searches_labels:
            self._labels = [infer_labels(leak, model) for leak in leaks]
        given = [labels.to(first.gradient.device) for labels in self._labels if labels is not None]
        self._targets = torch.stack([self._client.one_hot(labels) for labels in given]) if given else None
        self.size = first.gradient.new_zeros(first.shape).numel()
        self._end = self.size + (0 if given else first.shape[0] * self._client.num_classes)

    def starts(self, restarts: int, generator: torch.Generator) -> Tensor:
        """Points to begin with for each leak in turn, `[len(leaks) · restarts, P]`."""
        return torch.cat([self._start(leak, restarts, generator) for leak in self._leaks])

    def images(self, points: Tensor) -> Tensor:
        """The images `[r, B, C, H, W]` that points take the truth for, as the model sees them."""
        return points[:, : self.size].view(-1, *self._leaks[0].shape)

    def shown(self, points: Tensor) -> Tensor:
        """What the model was shown of these images: the same, unless the leak has a view."""
        leak, images = self._leaks[0], self.images(points)
        if leak.view is None:
            return images
        numbers = points[:, self._end :].reshape(images.shape[0] * images.shape[1], -1)
        return leak.standardise(leak.view(leak.raw(images).flatten(0, 1), numbers).view(images.shape))

    def gradients(self, points: Tensor, shown: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients `[r, d]` of the guesses and those that were seen, 0 where nothing is known."""
        found, seen = self._client(shown, self._wanted(points, owners)), self._seen[owners]
        return (found if self._known is None else found * self._known[owners]), seen

    def reconstruction(self, point: Tensor, losses: Tensor, owner: int) -> Reconstruction:
        """What a point `[P]` says about a leak."""
        leak, labels = self._leaks[owner], self._labels[owner]
        if labels is None:
            labels = point[self.size : self._end].view(leak.shape[0], -1).argmax(1)
        images, shown = (leak.pixels(view(point[None])[0]) for view in (self.images, self.shown))
        return Reconstruction(images, labels, losses, transformed=None if leak.view is None else shown)

    def _start(self, leak: Leak, restarts: int, generator: torch.Generator) -> Tensor:
        points = torch.randn(restarts, self._end, generator=generator)
        if leak.view is not None:
            points = torch.cat([points, leak.view.start(restarts * leak.shape[0], generator).view(restarts, -1)], dim=1)
        return points.to(leak.gradient)

    def _wanted(self, points: Tensor, owners: Tensor) -> Tensor:
        if self._targets is not None:
            return self._targets[owners]
        return points[:, self.size : self._end].view(len(points), self._leaks[0].shape[0], -1).softmax(2)


def _require_one_kind(leaks: Sequence[Leak]) -> None:
    kinds = [
        (leak.shape, leak.local, leak.view, leak.labels is None, leak.known is None, leak.standardisation) for leak in leaks
    ]
    if any(kind != kinds[0] for kind in kinds):
        raise PreconditionError(
            "Leaks that are searched together have one shape, local steps, standardisation and view, and all or none of them "
            "have labels, or a mask; got different ones. Search them one by one."
        )
