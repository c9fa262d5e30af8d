"""Leaks made of several: what an attacker has who sees a client more than once, or only the sum of a group."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch

from phalanx.core.errors import PreconditionError
from phalanx.core.leak import Leak, LocalSteps


def averaged_leak(leaks: Sequence[Leak]) -> Leak:
    """One client's leaks of several rounds, in which it trained the same model on the same batch: their mean.

    The adaptive attacker against noise, whether added (`noisy_update`) or made by stochastic rounding (`quantized_update`): its
    standard deviation falls by √rounds. A server gets such rounds by sending a client the same model again.

    Raises: PreconditionError if the leaks are not of one model, shape and training, or have different labels.

    >>> one, other = (Leak(torch.tensor([value]), (1, 1, 1, 1)) for value in (1.0, 2.0))
    >>> averaged_leak([one, other]).gradient
    tensor([1.5000])
    """
    _require_alike(leaks, [(leak.shape, None if leak.labels is None else tuple(leak.labels.tolist())) for leak in leaks])
    return replace(leaks[0], gradient=torch.stack([leak.gradient for leak in leaks]).mean(0))


def group_leak(leaks: Sequence[Leak]) -> Leak:
    """What secure aggregation shows of a group of clients: one batch that holds all their images.

    ```
    gradient = Σ B_i g_i / Σ B_i;  labels are those of all, if all are known
    ```
    Exact where every client makes one step, and BatchNorm is in evaluation mode.

    Raises: PreconditionError if a client makes several steps, or the leaks are not of one model and kind of image.

    >>> one, other = Leak(torch.tensor([1.0]), (1, 1, 1, 1)), Leak(torch.tensor([4.0]), (2, 1, 1, 1))
    >>> group_leak([one, other]).gradient, group_leak([one, other]).shape
    (tensor([3.]), (3, 1, 1, 1))
    """
    _require_alike(leaks, [leak.shape[1:] for leak in leaks])
    if any((leak.local.batch_size or leak.shape[0]) < leak.shape[0] or leak.local.epochs > 1 for leak in leaks):
        raise PreconditionError(
            "group_leak needs clients that make one step each; got several. Take epochs=1 and no batch_size."
        )
    sizes = leaks[0].gradient.new_tensor([leak.shape[0] for leak in leaks])
    gradient = (torch.stack([leak.gradient for leak in leaks]) * sizes[:, None]).sum(0) / sizes.sum()
    labels = [leak.labels for leak in leaks if leak.labels is not None]
    return replace(
        leaks[0],
        gradient=gradient,
        shape=(int(sizes.sum()), *leaks[0].shape[1:]),
        labels=torch.cat(labels) if len(labels) == len(leaks) else None,
        local=LocalSteps(leaks[0].local.lr),
    )


def _require_alike(leaks: Sequence[Leak], kinds: Sequence[Hashable]) -> None:
    alike = {(kind, len(leak.gradient), leak.local, leak.standardisation, leak.view) for kind, leak in zip(kinds, leaks)}
    if len(alike) != 1:
        raise PreconditionError("Leaks are combined if there is one at least, and all are of one model, shape and training.")
    if any(leak.known is not None for leak in leaks):
        raise PreconditionError("Leaks of which only a part is known are not combined: masks differ. Combine first, then mask.")
