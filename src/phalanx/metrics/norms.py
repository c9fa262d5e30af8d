"""How large the updates of a round are, the attackers' beside the others'."""

from dataclasses import dataclass
from statistics import median

from torch import Tensor


@dataclass(frozen=True)
class NormSummary:
    """Median Euclidean norms of a round's rows; None where there are none."""

    honest: float | None
    malicious: float | None


def norm_summary(norms: Tensor, malicious: Tensor) -> NormSummary:
    """Medians of `norms` `[n]` over honest and over malicious rows (`malicious` `[n]` bool).

    >>> import torch
    >>> norm_summary(torch.tensor([1.0, 3.0, 50.0]), torch.tensor([False, False, True]))
    NormSummary(honest=2.0, malicious=50.0)
    """
    mask = malicious.to(norms.device)
    return NormSummary(honest=_median(norms[~mask]), malicious=_median(norms[mask]))


def _median(norms: Tensor) -> float | None:
    return median(norms.tolist()) if len(norms) else None
