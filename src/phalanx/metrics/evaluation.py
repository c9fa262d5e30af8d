"""Accuracy, loss and attack success of a model on test samples."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.core.errors import DataError
from phalanx.core.families import DataAttack
from phalanx.core.params import evaluating
from phalanx.core.types import Samples
from phalanx.metrics.success_bound import SuccessBound, success_bound
from phalanx.models.confidence_gate import confident_predictions, require_threshold

TAUS = (*(step / 20 for step in range(20)), 0.99, 1.0)
"""Where the curve over thresholds is measured: closer near 1, where answers of a sure model lie."""


@dataclass(frozen=True)
class Gated:
    """The same where an answer with a softmax below tau is refused: neither correct nor a success.

    `accuracies`, `successes`: at each of TAUS, the latter None without a targeted attack.
    """

    tau: float
    accuracy: float
    attack_success: float | None
    accuracies: tuple[float, ...]
    successes: tuple[float, ...] | None


@dataclass(frozen=True)
class Evaluation:
    """What a model does on test samples.

    `attack_success`: the share of the attack's eligible test samples (for a backdoor: those whose true class is not the
    target) that are predicted as its success class when presented as the attacker would, with the whole trigger. `base_rate`:
    the same model's share on the same samples unchanged, which no attack is needed for. Both are None without a targeted
    attack or without eligible samples. `gated`: where a threshold was asked for; `bound`: where there was an undefended model
    to compare with.
    """

    accuracy: float
    loss: float
    attack_success: float | None
    base_rate: float | None
    num_eligible: int
    gated: Gated | None = None
    bound: SuccessBound | None = None


def evaluate(
    model: nn.Module,
    samples: Samples,
    *,
    poison: DataAttack | None,
    batch_size: int = 1000,
    tau: float | None = None,
    undefended: nn.Module | None = None,
) -> Evaluation:
    """Run `model` over all samples, and over the stamped eligible ones; both models in eval mode, restored afterwards.

    A sample with a logit that is not finite counts as wrong, and as no success; the loss then is not finite either. At most
    two forward passes a sample, and one of the `undefended` model for its logits on the stamped ones.

    Raises: DataError without samples; ConfigError for a tau outside [0, 1].
    """
    if tau is not None:
        require_threshold(tau, "evaluate")
    if not len(samples):
        raise DataError("There are no test samples to evaluate on. Check the data set, or switch evaluation off.")
    with evaluating(model), nullcontext() if undefended is None else evaluating(undefended), torch.no_grad():
        return _evaluate(model, samples, poison, batch_size, tau, undefended)


def _evaluate(
    model: nn.Module,
    samples: Samples,
    poison: DataAttack | None,
    batch_size: int,
    tau: float | None,
    undefended: nn.Module | None,
) -> Evaluation:
    device = samples.labels.device
    target = None if poison is None else poison.success_class
    loss = torch.zeros((), dtype=torch.float64, device=device)
    correct, eligible, success, base = torch.zeros(4, dtype=torch.int64, device=device)  # one read at the end, not per batch
    right, reached = (_Accepted(tau, device) for _ in range(2))
    both: list[tuple[Tensor, Tensor]] = []
    for index in torch.split(torch.arange(len(samples), device=device), batch_size):
        images, labels = samples.pixels(index)
        logits = model(samples.normalize(images))
        predicted = _predictions(logits)
        correct += (predicted == labels).sum()
        right.add(logits, predicted == labels)
        loss += cross_entropy(logits.double(), labels, reduction="sum")
        if poison is None or target is None:
            continue
        mask = poison.eligible(images, labels)
        eligible += mask.sum()
        before = predicted[mask]
        base += (before == target).sum()
        plain = images[mask]
        stamped = poison.stamp(plain)
        shown = samples.normalize(stamped)
        answers = logits[mask] if stamped is plain or not len(plain) else model(shown)
        hits = _predictions(answers) == target
        success += hits.sum()
        reached.add(answers, hits)
        if undefended is not None and len(plain):
            both.append((undefended(shown), answers))
    count = int(eligible)
    return Evaluation(
        accuracy=int(correct) / len(samples),
        loss=float(loss) / len(samples),
        attack_success=int(success) / count if count else None,
        base_rate=int(base) / count if count else None,
        num_eligible=count,
        gated=None if tau is None else _gated(tau, right.shares(len(samples)), reached.shares(count)),
        bound=_bound(both, target, tau),
    )


class _Accepted:
    """How many answers, of those that count, are at least as sure as each of TAUS and then tau."""

    def __init__(self, tau: float | None, device: torch.device) -> None:
        self._taus = None if tau is None else torch.tensor([*TAUS, tau], dtype=torch.float64, device=device)
        self._counts = torch.zeros(len(TAUS) + 1, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, counts: Tensor) -> None:
        """The answers of a batch, and which of them count `[B]`."""
        if self._taus is not None:
            confidence, _ = confident_predictions(logits)
            self._counts += (confidence[counts, None] >= self._taus).sum(dim=0)

    def shares(self, whole: int) -> tuple[float, ...] | None:
        """Of `whole`, in the order of TAUS and then tau; None of nothing."""
        return tuple(count / whole for count in self._counts.tolist()) if whole else None


def _gated(tau: float, right: tuple[float, ...] | None, reached: tuple[float, ...] | None) -> Gated:
    assert right is not None  # there are samples
    return Gated(tau, right[-1], reached[-1] if reached else None, right[:-1], reached[:-1] if reached else None)


def _bound(both: list[tuple[Tensor, Tensor]], target: int | None, tau: float | None) -> SuccessBound | None:
    if not both or target is None:
        return None
    before, after = (torch.cat(logits) for logits in zip(*both))
    return success_bound(before, after, target=target, tau=tau or 0.0)


def _predictions(logits: Tensor) -> Tensor:
    """The predicted classes `[B]`, −1 (no class) where a logit is not finite."""
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)
