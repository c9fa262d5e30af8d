"""Which class is too easy to reach: the outlier among the sizes of inverted triggers."""

from torch import Tensor

_CONSISTENT = 1.4826
"""Times the median absolute deviation, the standard deviation of normal values."""


def anomaly_index(sizes: Tensor) -> Tensor:
    """`(median − size) / (1.4826 · median |size − median|)` for each size `[K]`; above 2, a class is suspected to be a target.

    Of the classes of a model with a backdoor the target has a much smaller universal trigger. Sizes that are NaN (no trigger
    was found) take no part and stay NaN; equal sizes have index 0.

    Reference: Wang et al., Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks, IEEE S&P 2019,
    section IV. Differs from the paper: signed, so that only small sizes stand out.

    >>> import torch
    >>> anomaly_index(torch.tensor([30.0, 31.0, 29.0, 32.0, 5.0]))
    tensor([ 0.0000, -0.6745,  0.6745, -1.3490, 16.8623])
    """
    sizes = sizes if sizes.is_floating_point() else sizes.float()
    known = sizes[~sizes.isnan()]
    below = known.quantile(0.5) - sizes if len(known) else sizes
    spread = _CONSISTENT * below[~below.isnan()].abs().quantile(0.5) if len(known) else sizes
    return below.div(spread).masked_fill(below == 0, 0)
