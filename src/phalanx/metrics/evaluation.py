"""Accuracy, loss and attack success of a model on test samples."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.core.errors import DataError
from phalanx.core.families import DataAttack
from phalanx.core.params import evaluating
from phalanx.core.types import Samples


@dataclass(frozen=True)
class Evaluation:
    """What a model does on test samples.

    `attack_success`: the share of the attack's eligible test samples (for a backdoor: those whose true class is not the
    target) that are predicted as its success class when presented as the attacker would, with the whole trigger. `base_rate`:
    the same model's share on the same samples unchanged, which no attack is needed for. Both are None without a targeted
    attack or without eligible samples.
    """

    accuracy: float
    loss: float
    attack_success: float | None
    base_rate: float | None
    num_eligible: int


def evaluate(model: nn.Module, samples: Samples, *, poison: DataAttack | None, batch_size: int = 1000) -> Evaluation:
    """Run `model` (in eval mode; its modes are restored) over all samples, and over the stamped eligible ones.

    A sample with a logit that is not finite counts as wrong, and as no success; the loss then is not finite either. At most
    two forward passes a sample.

    Raises: DataError without samples.
    """
    if not len(samples):
        raise DataError("There are no test samples to evaluate on. Check the data set, or switch evaluation off.")
    with evaluating(model), torch.no_grad():
        return _evaluate(model, samples, poison, batch_size)


def _evaluate(model: nn.Module, samples: Samples, poison: DataAttack | None, batch_size: int) -> Evaluation:
    device = samples.labels.device
    target = None if poison is None else poison.success_class
    loss = torch.zeros((), dtype=torch.float64, device=device)
    correct, eligible, success, base = torch.zeros(4, dtype=torch.int64, device=device)  # one read at the end, not per batch
    for index in torch.split(torch.arange(len(samples), device=device), batch_size):
        images, labels = samples.pixels(index)
        logits = model(samples.normalize(images))
        predicted = _predictions(logits)
        correct += (predicted == labels).sum()
        loss += cross_entropy(logits.double(), labels, reduction="sum")
        if poison is None or target is None:
            continue
        mask = poison.eligible(images, labels)
        eligible += mask.sum()
        before = predicted[mask]
        base += (before == target).sum()
        plain = images[mask]
        stamped = poison.stamp(plain)
        after = before if stamped is plain or not len(plain) else _predictions(model(samples.normalize(stamped)))
        success += (after == target).sum()
    count = int(eligible)
    return Evaluation(
        accuracy=int(correct) / len(samples),
        loss=float(loss) / len(samples),
        attack_success=int(success) / count if count else None,
        base_rate=int(base) / count if count else None,
        num_eligible=count,
    )


def _predictions(logits: Tensor) -> Tensor:
    """The predicted classes `[B]`, −1 (no class) where a logit is not finite."""
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)
