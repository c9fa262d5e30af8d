"""How well a rule told attackers from honest clients. Ground truth is used here, afterwards, and nowhere in a rule."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Detection:
    """A round's detection rates; a rate over nobody is None.

    `tpr`: the share of malicious rows that were rejected; `fpr`: the share of honest rows that were; `precision`: the share
    of rejected rows that were malicious.
    """

    tpr: float | None
    fpr: float | None
    precision: float | None
    num_rejected: int


def detection(influence: Tensor, malicious: Tensor) -> Detection:
    """Detection rates from each row's weight in the aggregate `[n]` (rejected = exactly 0) and the truth `[n]` bool.

    >>> import torch
    >>> detection(torch.tensor([0.0, 0.0, 0.5, 0.5]), torch.tensor([True, False, True, False]))
    Detection(tpr=0.5, fpr=0.5, precision=0.5, num_rejected=2)
    """
    malicious = malicious.to(influence.device)
    rejected = influence == 0
    caught = int((rejected & malicious).sum())
    total, bad = int(rejected.sum()), int(malicious.sum())
    return Detection(
        tpr=_rate(caught, bad),
        fpr=_rate(total - caught, len(malicious) - bad),
        precision=_rate(caught, total),
        num_rejected=total,
    )


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
